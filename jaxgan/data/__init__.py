"""Data sets by name. To add one, write its loader and enter it in `DATASETS`.

A data set is a pytree of arrays with `batch(key, step, size)`: what step number `step` trains on is
a pure function of the key and the step. It goes into compiled functions as an argument.
"""

from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgan.data import cache, files, tfds
from jaxgan.data.arrays import Batch as Batch
from jaxgan.data.arrays import Images, padded
from jaxgan.data.digits import digits
from jaxgan.data.mixtures import Mixture, grid, ring
from jaxgan.data.stacked import Stacked, stacked
from jaxgan.errors import UsageError, choose
from jaxgan.files import given_path

Dataset = Images | Mixture | Stacked
PARTS = 5
"""Of a set without splits, one of which is for testing."""


def _tfds_images(name: str, data_dir, image_size: int | None, split: str | None) -> Images:
    images, labels, fingerprint = tfds.arrays(name, data_dir, split or "train")
    return _images(images, labels, name, fingerprint, image_size, _count(labels))


def _bundled_digits(data_dir, image_size: int | None, split: str | None) -> Images:
    del data_dir
    if split is not None:
        return own(*digits(), "digits", image_size, split)
    images, labels = digits()
    known = cache.fingerprint(images, labels)
    return _images(images, labels, "digits", known, image_size, _count(labels))


def _stacked_mnist(data_dir, image_size: int | None, split: str | None) -> Stacked:
    return stacked(_tfds_images("mnist", data_dir, image_size, split))


def _count(labels) -> int | None:
    return None if labels is None else int(np.max(labels)) + 1


def _images(
    images, labels, name: str, fingerprint: str, image_size: int | None, num_classes: int | None
) -> Images:
    """Returns a data set of arrays, padded to a size."""
    images = jnp.asarray(padded(images, image_size))
    labels = None if labels is None else jnp.asarray(labels)
    return Images(images, name, fingerprint, labels, num_classes)


DATASETS = {
    **{name: partial(_tfds_images, name) for name in tfds.SOURCES},
    "digits": _bundled_digits,
    "stacked_mnist": _stacked_mnist,
    "ring": lambda *_: ring(),
    "grid": lambda *_: grid(),
}
"""By name: functions of a folder of data, a size of images and a split, each of which may be None.
"""


def load(
    name: str | None = None,
    data_dir: str | Path | None = None,
    *,
    data_file: str | Path | None = None,
    image_size: int | None = None,
    stacked_images: int | None = None,
    split: str | None = None,
) -> tuple[Dataset, str]:
    """Returns a data set and a remark, empty unless another was taken than the default.

    Without a name it is MNIST or, where that is neither on disk nor to be downloaded and no
    `data_dir` was given either, the bundled digits. A data set asked for by name is never replaced.
    data_file: an array or a folder of pictures in the place of a named set, see `files.arrays`.
    image_size: pixels, in both directions, to which a black border enlarges images.
    stacked_images: how many triples of stacked MNIST are a fixed set; by default they are fresh.
    split: "train" or "test", to judge by; unless given, all that a GAN may be trained on: the
        training split, of a set that has no such splits everything. There a fifth is for testing.
    Raises `UsageError` for an unknown name or another unusable setting, `RunError` where the data
    cannot be had.
    """
    if name is not None and data_file is not None:
        raise UsageError("--dataset and --data-file do not go together: name one of them")
    if stacked_images is not None and name != "stacked_mnist":
        raise UsageError("--stacked-images is for --dataset stacked_mnist")
    if data_file is not None:
        file = given_path(data_file)
        return own(*files.arrays(file), name_of(file), image_size, split), ""
    if name is not None:
        dataset = choose("data set", DATASETS, name)(data_dir, image_size, split)
        if stacked_images is not None:
            dataset = stacked(dataset.digits, stacked_images)
        if image_size is not None and len(dataset.shape) != 3:
            raise UsageError(f"--image-size is for images, and {name} has none")
        return dataset, ""
    try:
        return DATASETS["mnist"](data_dir, image_size, split), ""
    except tfds.Unavailable as error:
        if data_dir is not None:
            raise
        remark = f"MNIST is {error.why}: training on scikit-learn's digits"
        return DATASETS["digits"](None, image_size, split), remark


def own(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    name: str = "array",
    image_size: int | None = None,
    split: str | None = None,
) -> Images:
    """Returns the data set of arrays: uint8 `[n, h, w]` or `[n, h, w, c]` and labels `[n]`.

    split: "test" for every fifth of them in an order drawn once, "train" for the others.
    Raises `UsageError` for images of another type or shape, or labels that do not go with them.
    """
    images = files.checked(np.asarray(images), name)
    if labels is not None:
        labels = np.asarray(labels)
        whole = np.issubdtype(labels.dtype, np.integer)
        if labels.shape != images.shape[:1] or not whole or labels.min() < 0:
            raise UsageError(f"labels must be {len(images)} whole numbers from 0 on, one an image")
        labels = labels.astype(np.int32)
    num_classes = _count(labels)
    if split is not None:
        if len(images) < 2:
            raise UsageError(f"{name} holds one image only, which cannot be split for a test")
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(images))
        test = np.arange(len(images)) % PARTS == 0
        chosen = order[test if split == "test" else ~test]
        images, labels = images[chosen], None if labels is None else labels[chosen]
    known = cache.fingerprint(images, np.zeros(0, np.int32) if labels is None else labels)
    return _images(images, labels, name, known, image_size, num_classes)


def name_of(file: Path) -> str:
    """Returns what a data set is called: the name of a folder, of a file that without its ending.

    Also of a folder that is given as `.` or `..`.
    """
    whole = file.resolve()
    return (whole.name if whole.is_dir() else whole.stem) or "images"
