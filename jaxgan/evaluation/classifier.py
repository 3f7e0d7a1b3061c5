"""A small convolutional classifier, whose features are used to compare samples with data."""

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
"""Default length of training: `EPOCHS`, or more epochs so that there are `MIN_STEPS` steps."""
BATCH_SIZE = 128
LEARNING_RATE = 4e-3
BLACK = -1.0
PRECISION = "highest"
"""Accelerators use fewer bits by default, so features would depend on the device."""
BATCH = 1000
"""Number of images whose features are extracted at a time."""


class Classifier(nn.Module):
    """Four convolutions with batch norm, the mean over pixels, and a linear layer.

    widths: channels of the convolutions; the last one is the number of features.
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
    """Returns whether a classifier can be trained: whether two or more classes have images."""
    return dataset.labels is not None and np.count_nonzero(dataset.class_frequencies) > 1


def train(
    dataset: Images,
    key: jax.Array,
    epochs: int | None = None,
    report: Callable = lambda *_: None,
) -> dict:
    """Returns the variables of a classifier trained on labeled images.

    Images are shifted by up to 1/8 of their size. The optimizer is Adam, with a learning rate that
    is warmed up and then decayed to zero, as in the one-cycle policy (Smith and Topin 2018).
    epochs: `default_epochs` by default.
    report: called with `(epochs done, epochs)` after each epoch.
    """
    epochs = epochs or default_epochs(len(dataset.images))
    state, epoch, steps = training(dataset, key, epochs)
    for done in range(epochs):
        state = epoch(state, jnp.int32(done * steps), dataset)
        jax.block_until_ready(state)
        report(done + 1, epochs)
    return {"params": state[0], **state[1]}


def default_epochs(num_images: int) -> int:
    """Returns the default number of epochs: `EPOCHS`, or more to reach `MIN_STEPS` steps.

    In few steps, neither the weights nor the running statistics of batch norm, with a momentum of
    0.9, move far from their initial values.
    """
    return max(EPOCHS, -(-MIN_STEPS // steps_per_epoch(num_images)))


def steps_per_epoch(num_images: int) -> int:
    """Returns the number of steps in an epoch."""
    return -(-num_images // min(BATCH_SIZE, num_images))


class Training(NamedTuple):
    """The initial state and the compiled epoch of a classifier's training.

    state: state before the first step. epoch: `(state, index of its first step, dataset) -> state`.
    steps: number of steps in an epoch.
    """

    state: tuple
    epoch: Callable
    steps: int


def training(dataset: Images, key: jax.Array, epochs: int) -> Training:
    """Returns the training of a classifier of a data set, with a schedule of `epochs` epochs."""
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
    """Returns the fraction of labeled images that are classified correctly."""
    _, logits = extract_features(variables, np.asarray(dataset.images))
    return float((logits.argmax(axis=1) == np.asarray(dataset.labels)).mean())
