"""Data sets by name, and the user's own. To add one, write a function and add it to `DATASETS`.

A data set is a pytree of arrays with a function `batch(key, step, size)`: the batch of a step is a
pure function of the key and the step. Compiled functions take the data set as an argument. Data
that are too large for memory stay on disk; `jaxgan.data.prefetch` reads the batches ahead of time.
"""

import dataclasses
from functools import partial

import numpy as np

from jaxgan.data import prepared, tfds
from jaxgan.data.arrays import Batch as Batch
from jaxgan.data.arrays import Images as Images
from jaxgan.data.digits import digits
from jaxgan.data.float_arrays import FloatArrays as FloatArrays
from jaxgan.data.mixtures import Mixture, grid, ring
from jaxgan.data.source import Dataset as Dataset
from jaxgan.data.source import (
    Opened,
    check_no_pictures,
    from_rows,
    make_dataset,
    open_source,
    take_part,
)
from jaxgan.data.stacked import Stacked as Stacked
from jaxgan.data.stacked import stack_digits
from jaxgan.data.user_files import check_examples, check_labels, open_file
from jaxgan.data_settings import DataSettings
from jaxgan.errors import UsageError, choose


def _open_tfds(name: str, settings: DataSettings) -> Opened:
    return open_source(tfds.open_known(name, settings), settings)


def _open_digits(settings: DataSettings) -> Opened:
    check_no_pictures(settings, "digits has images of one size")
    if settings.data_in == "disk":
        raise UsageError("--data-in disk is not for digits, which fit in memory")
    images, labels = digits()
    return open_source(from_rows("digits", images, labels), settings)


def _open_stacked_mnist(settings: DataSettings) -> Opened:
    check_no_pictures(settings, "stacked_mnist has images of one size")
    if settings.data_in == "disk":
        raise UsageError("--data-in disk is not for stacked_mnist, whose digits fit in memory")
    mnist = _open_tfds("mnist", dataclasses.replace(settings, data_in="memory"))

    def load(split: str | None):
        count = settings.stacked_images if split is None else None
        return stack_digits(mnist.load(split), count)

    return mnist._replace(fingerprint=load(None).fingerprint, load=load)


def _open_mixture(mixture: Mixture, settings: DataSettings) -> Opened:
    check_no_pictures(settings, f"{mixture.name} has none")
    if settings.image_size is not None:
        raise UsageError(f"--image-size needs images, and {mixture.name} has none")
    if settings.data_in == "disk":
        raise UsageError(f"--data-in disk needs data on disk, and {mixture.name} has none")
    if settings.train_examples is not None:
        raise UsageError(
            f"--train-examples needs a finite data set: the points of {mixture.name} are drawn "
            "anew in each step"
        )
    return Opened(mixture.fingerprint, lambda split: mixture)


DATASETS = {
    **{name: partial(_open_tfds, name) for name in tfds.SOURCES},
    "digits": _open_digits,
    "stacked_mnist": _open_stacked_mnist,
    "ring": lambda settings: _open_mixture(ring(), settings),
    "grid": lambda settings: _open_mixture(grid(), settings),
}
"""Functions by the name of the data set, each from `DataSettings` to an `Opened` data set."""


def open_data(settings: DataSettings) -> Opened:
    """Returns the data set that the settings select; its examples are loaded by `Opened.load`.

    By default it is MNIST or, if that is neither on disk nor downloadable and there is no
    `data_dir`, scikit-learn's digits. A data set with a name is never replaced by another.
    Raises `UsageError` for settings that cannot be used, and `RunError` for data that are not
    available or cannot be read.
    """
    name = settings.dataset
    if name is not None and settings.data_file is not None:
        raise UsageError("--dataset and --data-file exclude each other: give one of them")
    if settings.stacked_images is not None and name != "stacked_mnist":
        raise UsageError("--stacked-images needs --dataset stacked_mnist")
    if settings.data_file is not None:
        return open_source(open_file(settings), settings)
    if name is not None and name.startswith(prepared.PREFIX):
        return open_source(prepared.open_prepared(settings), settings)
    if name is not None:
        return choose("data set", DATASETS, name)(settings)
    try:
        return DATASETS["mnist"](settings)
    except tfds.Unavailable as error:
        if settings.data_dir is not None:
            raise
        remark = f"MNIST is {error.why}: training on scikit-learn's digits"
        return DATASETS["digits"](settings)._replace(remarks=(remark,))


def load(
    dataset: str | None = None, data_dir=None, *, split: str | None = None, **settings
) -> tuple[Dataset, tuple[str, ...]]:
    """Returns a data set, and remarks on it for the user.

    dataset, data_dir, settings: the fields of `jaxgan.data_settings.DataSettings`.
    split: "train" or "test", for evaluation; by default, the data that a GAN is trained on. If the
    data have no test split, these are all examples, "test" is a random fifth of them and "train"
    the rest.
    Raises as `open_data` does.
    """
    opened = open_data(DataSettings(dataset=dataset, data_dir=data_dir, **settings))
    return opened.load(split), opened.remarks


def from_arrays(
    examples: np.ndarray,
    labels: np.ndarray | None = None,
    name: str = "array",
    image_size: int | None = None,
    split: str | None = None,
) -> Images | FloatArrays:
    """Returns a data set of examples in memory: `Images` of uint8, else `FloatArrays`.

    examples: images, uint8 `[n, h, w]` or `[n, h, w, c]`, or floating-point numbers `[n, ...]`.
    labels: `[n]`, integers from 0 on or names of classes. image_size, split: see `load`.
    Raises `UsageError` for examples of another type or shape or with values that are not finite,
    and for labels that do not match them.
    """
    class_names: tuple[str, ...] = ()
    examples = check_examples(np.asarray(examples), name)
    if labels is not None:
        labels, class_names = check_labels(np.asarray(labels), len(examples))
    source = from_rows(name, examples, labels, class_names)
    if split is not None:
        return take_part(source, split)
    return make_dataset(source, DataSettings(image_size=image_size))
