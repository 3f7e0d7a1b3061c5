"""TFDS builders for CIFAR-10 and for MNIST and its variants, without TensorFlow.

To add a builder, add an entry to `SOURCES`.
"""

import functools
import gzip
import importlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import RunError, first_line

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
"""The files of MNIST, Fashion-MNIST and KMNIST, images and labels of each split."""


class Source(NamedTuple):
    """A data set of TFDS, and how to read its downloads without TensorFlow.

    builder: names of the module in `tensorflow_datasets.image_classification` and of its class.
    shape: shape of an image.
    changes: replacements for the attributes of the class that need TensorFlow.
    url: function from a builder to the address that it downloads from.
    """

    builder: tuple[str, str]
    shape: tuple[int, int, int]
    changes: dict
    url: Callable[[Any], str]


class Unavailable(RunError):
    """The data set is not available. `why` completes a sentence that begins with "MNIST is"."""

    why = "neither on disk nor downloadable"


class Unreadable(Unavailable):
    """A package that is needed to read TFDS's files is not installed."""

    why = "not readable without the packages tensorflow-datasets and array-record"


def import_tfds():
    """Returns TFDS with its progress bars and warnings off.

    Raises `Unreadable` if it, or array-record, cannot be imported.
    """
    import_array_record()
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise _unreadable(error) from error
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    return tfds


def import_array_record():
    """Returns the module of array-record that reads files. Raises `Unreadable` without it."""
    try:
        from array_record.python import array_record_data_source
    except ImportError as error:
        raise _unreadable(error) from error
    return array_record_data_source


def _unreadable(error: ImportError) -> Unreadable:
    return Unreadable(
        "this data set needs the packages tensorflow-datasets and array-record, which cannot be "
        f"imported ({first_line(error)}): install them (array-record does not support Windows), or "
        "use --dataset digits, ring or grid, or your own pictures or arrays by --data-file"
    )


@functools.cache
def make_builder(name: str):
    """Returns the TFDS builder class of `name`, with its name and version, without TensorFlow.

    TFDS's own class opens the archives and encodes the images with TensorFlow. The returned class
    opens them with Python's standard library and passes PNG files to TFDS. Downloads, checksums,
    features and prepared files are the same.
    """
    import_tfds()
    from tensorflow_datasets.core import registered

    module, class_name = SOURCES[name].builder
    package = "tensorflow_datasets.image_classification"
    stock = getattr(importlib.import_module(f"{package}.{module}"), class_name)
    changes = {
        "url_infos": stock.url_infos,
        "pkg_dir_path": stock._get_pkg_dir_path(),
        **SOURCES[name].changes,
    }
    with registered.skip_registration():
        return type(stock.__name__, (stock,), changes)


def _mnist_splits(self, dl_manager):
    urls = {split: [self.URL + file for file in files] for split, files in FILES.items()}
    return {
        split: self._generate_examples(*paths) for split, paths in dl_manager.download(urls).items()
    }


def _mnist_examples(self, images_path, labels_path):
    images, labels = _idx(images_path), _idx(labels_path)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield i, {"image": _png(image), "label": int(label)}


def _cifar_splits(self, dl_manager):
    known = self._cifar_info
    archive = dl_manager.download(known.url)
    with tarfile.open(archive) as tar:
        names = tar.extractfile(known.prefix + known.label_files[0]).read().decode().split()
    self.info.features["label"].names = names
    return {
        "train": self._generate_examples("train_", archive, known.train_files),
        "test": self._generate_examples("test_", archive, known.test_files),
    }


def _cifar_examples(self, prefix, archive, files):
    height, width, channels = SOURCES["cifar10"].shape
    index = 0
    with tarfile.open(archive) as tar:
        for file in files:
            data = tar.extractfile(self._cifar_info.prefix + file).read()
            # Each record is a label, followed by the pixels, channel by channel.
            for record in np.frombuffer(data, np.uint8).reshape(-1, 1 + height * width * channels):
                image = record[1:].reshape(channels, height, width).transpose(1, 2, 0)
                example = {"image": _png(image), "label": int(record[0])}
                yield index, {"id": f"{prefix}{index:05d}", **example}
                index += 1


def _png(image: np.ndarray) -> io.BytesIO:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return io.BytesIO(png.getvalue())


def _mnist(class_name: str) -> Source:
    changes = {"_split_generators": _mnist_splits, "_generate_examples": _mnist_examples}
    return Source(("mnist", class_name), (28, 28, 1), changes, lambda builder: builder.URL)


SOURCES = {
    "mnist": _mnist("MNIST"),
    "fashion_mnist": _mnist("FashionMNIST"),
    "kmnist": _mnist("KMNIST"),
    "cifar10": Source(
        ("cifar", "Cifar10"),
        (32, 32, 3),
        {"_split_generators": _cifar_splits, "_generate_examples": _cifar_examples},
        lambda builder: builder._cifar_info.url,
    ),
}


def _idx(path) -> np.ndarray:
    """Returns the array in a gzipped IDX file (LeCun's format: type, rank, shape, bytes)."""
    data = gzip.decompress(Path(path).read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
