"""Data sets by name. To add one, write its loader and enter it in `DATASETS`.

A data set is a pytree of arrays with `batch(key, step, size)`: what step number `step` trains on is
a pure function of the key and the step. It goes into compiled functions as an argument.
"""

import functools
from pathlib import Path

import jax.numpy as jnp

from jaxgan.data import cache, tfds
from jaxgan.data.arrays import Images
from jaxgan.data.digits import digits
from jaxgan.data.mixtures import Mixture, grid, ring
from jaxgan.errors import choose

Dataset = Images | Mixture


def _tfds_images(name: str, data_dir: str | Path | None) -> Images:
    images, _, fingerprint = tfds.arrays(name, data_dir)
    return Images(jnp.asarray(images), name, fingerprint)


def _bundled_digits(data_dir) -> Images:
    del data_dir
    images, labels = digits()
    return Images(jnp.asarray(images), "digits", cache.fingerprint(images, labels))


DATASETS = {
    **{name: functools.partial(_tfds_images, name) for name in tfds.BUILDERS},
    "digits": _bundled_digits,
    "ring": lambda data_dir: ring(),
    "grid": lambda data_dir: grid(),
}


def load(name: str | None = None, data_dir: str | Path | None = None) -> tuple[Dataset, str]:
    """Returns a data set and a remark, empty unless another was taken than the default.

    Without a name it is MNIST or, where that is neither on disk nor to be downloaded and no
    `data_dir` was given either, the bundled digits. A data set asked for by name is never replaced.
    Raises `UsageError` for an unknown name, `RunError` where the data cannot be had.
    """
    if name is not None:
        return choose("data set", DATASETS, name)(data_dir), ""
    try:
        return DATASETS["mnist"](data_dir), ""
    except tfds.Unavailable:
        if data_dir is not None:
            raise
        remark = "MNIST is neither on disk nor downloadable: training on scikit-learn's digits"
        return DATASETS["digits"](None), remark
