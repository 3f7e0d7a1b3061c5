"""Data sets by name. To add one, write its loader in a file and add it to `DATASETS`.

A data set is a pytree of arrays with a function `batch(key, step, size)`: the batch of a step is a
pure function of the key and the step. Compiled functions take the data set as an argument.
"""

import dataclasses
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgan.data import tfds
from jaxgan.data.arrays import Batch as Batch
from jaxgan.data.arrays import Images, fingerprint, pad_images
from jaxgan.data.digits import digits
from jaxgan.data.image_folder import check_images, read_images
from jaxgan.data.mixtures import Mixture, grid, ring
from jaxgan.data.stacked import Stacked, stack_digits
from jaxgan.errors import UsageError, choose
from jaxgan.files import given_path

Dataset = Images | Mixture | Stacked
PARTS = 5
"""A data set without a test split is divided into so many parts; one of them is for testing."""


def _load_tfds(name: str, data_dir, image_size: int | None, split: str | None) -> Images:
    images, labels, known = tfds.load_arrays(name, data_dir, split or "train")
    return _make_images(images, labels, name, known, image_size)


def _load_digits(data_dir, image_size: int | None, split: str | None) -> Images:
    del data_dir
    images, labels = digits()
    if split is not None:
        return from_arrays(images, labels, "digits", image_size, split)
    return _make_images(images, labels, "digits", fingerprint(images, labels), image_size)


def _load_stacked_mnist(data_dir, image_size: int | None, split: str | None) -> Stacked:
    return stack_digits(_load_tfds("mnist", data_dir, image_size, split))


DATASETS = {
    **{name: partial(_load_tfds, name) for name in tfds.SOURCES},
    "digits": _load_digits,
    "stacked_mnist": _load_stacked_mnist,
    "ring": lambda *_: ring(),
    "grid": lambda *_: grid(),
}
"""By name: functions of a data directory, an image size and a split, each of which may be None."""


def load(
    name: str | None = None,
    data_dir: str | Path | None = None,
    *,
    data_file: str | Path | None = None,
    image_size: int | None = None,
    stacked_images: int | None = None,
    split: str | None = None,
) -> tuple[Dataset, str]:
    """Returns a data set, and a remark if it is not the default one.

    name: by default MNIST or, if that is neither on disk nor downloadable and there is no
        `data_dir`, scikit-learn's digits. A data set with a name is never replaced by another.
    data_file: an array or a folder of pictures instead of a name, see `image_folder.read_images`.
    image_size: height and width to which images are padded with black.
    stacked_images: the number of images of a fixed set of stacked MNIST; by default every step has
        new ones.
    split: "train" or "test", for evaluation. By default all that a GAN may be trained on: the
        training split or, without splits, all examples, of which a fifth are the test split.
    Raises `UsageError` for settings that cannot be used, and `RunError` if the data cannot be had.
    """
    if name is not None and data_file is not None:
        raise UsageError("--dataset and --data-file exclude each other: give one of them")
    if stacked_images is not None and name != "stacked_mnist":
        raise UsageError("--stacked-images needs --dataset stacked_mnist")
    if data_file is not None:
        file = given_path(data_file)
        return from_arrays(*read_images(file), _name_of_file(file), image_size, split), ""
    if name is not None:
        dataset = choose("data set", DATASETS, name)(data_dir, image_size, split)
        if stacked_images is not None:
            dataset = stack_digits(dataset.digits, stacked_images)
        if image_size is not None and len(dataset.shape) != 3:
            raise UsageError(f"--image-size needs images, and {name} has none")
        return dataset, ""
    try:
        return DATASETS["mnist"](data_dir, image_size, split), ""
    except tfds.Unavailable as error:
        if data_dir is not None:
            raise
        remark = f"MNIST is {error.why}: training on scikit-learn's digits"
        return DATASETS["digits"](None, image_size, split), remark


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    name: str = "array",
    image_size: int | None = None,
    split: str | None = None,
) -> Images:
    """Returns the data set of images, uint8 `[n, h, w]` or `[n, h, w, c]`, and labels `[n]`.

    split: "test" for every fifth image in a fixed random order, "train" for the others.
    Raises `UsageError` for images of another type or shape, and labels that do not match them.
    """
    images = check_images(np.asarray(images), name)
    if labels is not None:
        labels = np.asarray(labels)
        integers = np.issubdtype(labels.dtype, np.integer)
        if labels.shape != images.shape[:1] or not integers or labels.min() < 0:
            raise UsageError(f"there must be {len(images)} labels, integers from 0 on")
        labels = labels.astype(np.int32)
    num_classes = _count_classes(labels)
    if split is not None:
        if len(images) < 2:
            raise UsageError(f"{name} has only one image: it cannot be split for a test")
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(images))
        test = np.arange(len(images)) % PARTS == 0
        chosen = order[test if split == "test" else ~test]
        images, labels = images[chosen], None if labels is None else labels[chosen]
    known = fingerprint(images, labels)
    dataset = _make_images(images, labels, name, known, image_size)
    return dataclasses.replace(dataset, num_classes=num_classes)  # A split may lack a class.


def _make_images(images, labels, name: str, known: str, image_size: int | None) -> Images:
    """Returns a data set of arrays, padded to a size. known: the fingerprint of the arrays."""
    images = jnp.asarray(pad_images(images, image_size))
    num_classes = _count_classes(labels)
    labels = None if labels is None else jnp.asarray(labels)
    return Images(images, name, known, labels, num_classes)


def _count_classes(labels) -> int | None:
    return None if labels is None else int(np.max(labels)) + 1


def _name_of_file(file: Path) -> str:
    """Returns the name of a data set: that of a folder, or of a file without its suffix.

    `.` and `..` have the name of the folder that they stand for.
    """
    path = file.resolve()
    return (path.name if path.is_dir() else path.stem) or "images"
