"""A small convolutional classifier, whose features samples are compared by."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxgan.augment import translation
from jaxgan.data.arrays import Images, to_float
from jaxgan.keys import stream
from jaxgan.networks.conv import Conv

WIDTHS = (32, 64, 96, 128)
EPOCHS = 6
MIN_STEPS = 400
"""The defaults of training: so many epochs, or more for a data set with few images."""
BATCH_SIZE = 128
LEARNING_RATE = 4e-3
BLACK = -1.0
PRECISION = "highest"
"""An accelerator's default has fewer bits, and the features would depend on the device."""
BATCH = 1000
"""The number of images that features are extracted of at a time."""


class Classifier(nn.Module):
    """Four convolutions with batch norm, the mean over pixels, and a linear layer.

    widths: of the convolutions; the last one is the number of features.
    """

    num_classes: int
    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns features `[n, widths[-1]]` and logits `[n, num_classes]`."""
        x = images
        for width, size, strides in zip(self.widths, (4, 3, 4, 3), (2, 1, 2, 1), strict=True):
            x = Conv(width, size, strides, use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        features = x.mean(axis=(1, 2))
        return features, nn.Dense(self.num_classes)(features)


def has_classes(dataset: Images) -> bool:
    """Whether there are images of two classes or more, so that they can be learned."""
    return dataset.labels is not None and np.count_nonzero(dataset.class_frequencies) > 1


def train(
    dataset: Images,
    key: jax.Array,
    epochs: int | None = None,
    report: Callable = lambda *_: None,
) -> dict:
    """Returns the variables of a classifier trained on labelled images.

    They are moved by up to an eighth of their size; Adam, its rate warmed up and then decayed to
    zero, as in one cycle (Smith and Topin 2018).
    epochs: by default those of `default_epochs`.
    report: called with `(epochs done, epochs)`.
    """
    epochs = epochs or default_epochs(len(dataset.images))
    state, epoch, steps = training(dataset, key, epochs)
    for done in range(epochs):
        state = epoch(state, jnp.int32(done * steps), dataset)
        jax.block_until_ready(state)
        report(done + 1, epochs)
    return {"params": state[0], **state[1]}


def default_epochs(num_images: int) -> int:
    """Returns how often each image is seen: `EPOCHS` times, of few images in `MIN_STEPS` steps.

    Within a handful of steps neither the weights nor the running statistics of batch norm, which
    keep nine tenths in each, get far from where they begin.
    """
    return max(EPOCHS, -(-MIN_STEPS // steps_per_epoch(num_images)))


def steps_per_epoch(num_images: int) -> int:
    """Returns how many steps an epoch has."""
    return -(-num_images // min(BATCH_SIZE, num_images))


class Training(NamedTuple):
    """How a classifier is trained.

    state: before the first step. epoch: `(state, number of the first step, dataset) -> state`,
    compiled. steps: how many an epoch has.
    """

    state: tuple
    epoch: Callable
    steps: int


def training(dataset: Images, key: jax.Array, epochs: int) -> Training:
    """Returns how a classifier of a data set is trained for so many epochs."""
    module = Classifier(dataset.num_classes)
    size, steps = min(BATCH_SIZE, len(dataset.images)), steps_per_epoch(len(dataset.images))
    schedule = optax.cosine_onecycle_schedule(epochs * steps, LEARNING_RATE, pct_start=0.2)
    tx = optax.adam(schedule)

    def loss(params, stats, images, labels):
        (_, logits), stats = module.apply(
            {"params": params, **stats}, images, train=True, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), stats

    @partial(jax.jit, donate_argnums=0)
    def epoch(state, first, dataset):
        def step(state, t):
            params, stats, opt_state = state
            batch = dataset.batch(key, t, size)
            shift_key = jax.random.fold_in(stream(key, "shifts"), t)
            images = translation(shift_key, batch.images, fill=BLACK)
            grads, stats = jax.grad(loss, has_aux=True)(params, stats, images, batch.labels)
            updates, opt_state = tx.update(grads, opt_state)
            return (optax.apply_updates(params, updates), stats, opt_state), None

        with jax.default_matmul_precision(PRECISION):
            return lax.scan(step, state, first + jnp.arange(steps))[0]

    variables = module.init(stream(key, "init"), jnp.zeros((1, *dataset.shape)))
    params = variables["params"]
    state = params, {"batch_stats": variables["batch_stats"]}, tx.init(params)
    return Training(state, epoch, steps)


def extract_features(variables: dict, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features `[n, d]` and logits `[n, classes]` of uint8 images `[n, h, w, c]`."""
    starts = range(0, len(images), BATCH)
    parts = [jax.device_get(_apply(variables, images[i : i + BATCH])) for i in starts]
    features, logits = (
        np.concatenate([np.asarray(x) for x in each]) for each in zip(*parts, strict=True)
    )
    return features, logits


@jax.jit
def _apply(variables: dict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    num_classes = variables["params"]["Dense_0"]["bias"].shape[0]
    with jax.default_matmul_precision(PRECISION):
        return Classifier(num_classes).apply(variables, to_float(images))


def accuracy(variables: dict, dataset: Images) -> float:
    """Returns the share of labelled images that the classifier puts into their class."""
    _, logits = extract_features(variables, np.asarray(dataset.images))
    return float((logits.argmax(axis=1) == np.asarray(dataset.labels)).mean())
