"""A small convolutional classifier: the features that samples are judged by, without a download.

MNIST's comes with the package, so that numbers of different people are of the same features; for
other data `python -m jaxgan.classify` trains one.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jax import lax

from jaxgan.augment import translation
from jaxgan.checkpoint import sha256
from jaxgan.data.arrays import Images, unit
from jaxgan.data.cache import user_directory
from jaxgan.errors import RunError
from jaxgan.files import replacing
from jaxgan.keys import stream
from jaxgan.networks.conv import Conv

MNIST = Path(__file__).parent / "mnist.safetensors"
WIDTHS = (32, 64, 96, 128)
RECIPE = 2
"""Of the training: what another one made of the user's data is left alone, and not used."""
EPOCHS = 6
LEAST_STEPS = 400
"""Of training, unless a number of epochs is asked for."""
BATCH_SIZE = 128
LEARNING_RATE = 4e-3
TURNING = "turns"
BLACK = -1.0
PRECISION = "highest"
"""An accelerator's own choice is of fewer bits, and the features would depend on the device."""
BATCH = 1000
"""Images that are looked at in one go, where nothing is trained."""


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


class Trained(NamedTuple):
    """A trained classifier.

    variables: Flax's. digest: SHA-256 of them. about: what is known of its making.
    """

    variables: dict
    digest: str
    about: dict

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart."""
        return self.variables["params"]["Dense_0"]["bias"].shape[0]

    @property
    def tells_turns(self) -> bool:
        """Whether its classes are turns, see `jaxgan.metrics.rotations`."""
        return self.about.get("task") == TURNING


def place(dataset: Images) -> Path:
    """Returns where the user's own classifier of a data set is, or would be, kept."""
    name = f"{dataset.fingerprint[:32]}-{RECIPE}.safetensors"
    return user_directory() / "classifiers" / name


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
    epochs: by default those of `epochs_for`.
    report: called with `(epochs done, epochs)`.
    """
    epochs = epochs or epochs_for(len(dataset.images))
    state, epoch, steps = training(dataset, key, epochs)
    for done in range(epochs):
        state = epoch(state, jnp.int32(done * steps), dataset)
        jax.block_until_ready(state)
        report(done + 1, epochs)
    return {"params": state[0], **state[1]}


def epochs_for(num_images: int) -> int:
    """Returns how often each image is seen: `EPOCHS` times, of few images in `LEAST_STEPS` steps.

    Within a handful of steps neither the weights nor the running statistics of batch norm, which
    keep nine tenths in each, get far from where they begin.
    """
    return max(EPOCHS, -(-LEAST_STEPS // steps_of(num_images)))


def steps_of(num_images: int) -> int:
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
    size, steps = min(BATCH_SIZE, len(dataset.images)), steps_of(len(dataset.images))
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


def save(path: Path, variables: dict, about: dict) -> None:
    """Writes a classifier as a safetensors file, with its digest and what JSON can hold."""
    from safetensors.numpy import save_file

    flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, variables), sep=".")
    header = {"sha256": sha256(variables), "about": json.dumps(about)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(flat, temporary, metadata=header)


def load(path: Path) -> Trained:
    """Returns a saved classifier. Raises `RunError` where the file is missing or damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata()
            flat = {name: file.get_tensor(name) for name in list(file.keys())}
        variables = traverse_util.unflatten_dict(flat, sep=".")
        about, digest = json.loads(header["about"]), sha256(variables)
        if digest != header["sha256"]:
            raise ValueError("its digest does not match")
    except Exception as error:  # A damaged file raises errors of many types.
        raise RunError(
            f"no classifier can be loaded from {path} ({error}): delete that file, and it is "
            "trained again, or install the package again"
        ) from error
    return Trained(variables, digest, about)


def looked_at(variables: dict, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features `[n, d]` and logits `[n, classes]` of uint8 images `[n, h, w, c]`."""
    starts = range(0, len(images), BATCH)
    parts = [jax.device_get(_look(variables, images[i : i + BATCH])) for i in starts]
    features, logits = (
        np.concatenate([np.asarray(x) for x in each]) for each in zip(*parts, strict=True)
    )
    return features, logits


@jax.jit
def _look(variables: dict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    num_classes = variables["params"]["Dense_0"]["bias"].shape[0]
    with jax.default_matmul_precision(PRECISION):
        return Classifier(num_classes).apply(variables, unit(images))


def accuracy(variables: dict, dataset: Images) -> float:
    """Returns the share of labelled images that the classifier puts into their class."""
    _, logits = looked_at(variables, np.asarray(dataset.images))
    return float((logits.argmax(axis=1) == np.asarray(dataset.labels)).mean())
