"""MNIST and its relatives and CIFAR-10, by TensorFlow Datasets without TensorFlow.

To add one, describe it in `SOURCES`.
"""

import functools
import gzip
import hashlib
import importlib
import io
import os
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data import cache
from jaxgan.errors import RunError, UsageError

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
"""Of MNIST and its relatives."""
PROBE_SECONDS = 4.0
DECODED_AT_ONCE = 1000


class Source(NamedTuple):
    """A data set of TFDS: its builder, the shape of its images, and how to read what it downloads.

    builder: the module in `tensorflow_datasets.image_classification` and the class in it.
    changes: attributes of the class, in the place of those that need TensorFlow.
    url: what is downloaded from, of a builder.
    """

    builder: tuple[str, str]
    shape: tuple[int, int, int]
    changes: dict
    url: Callable[[Any], str]


class Unavailable(RunError):
    """The data set is neither on disk nor can it be downloaded."""


def arrays(
    name: str, data_dir: str | Path | None = None, split: str = "train"
) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns images uint8 `[n, h, w, c]`, labels uint8 `[n]` and their fingerprint.

    Decoded arrays are kept beside the prepared files, or in the user's cache where those are
    read-only, under a name that holds the digest of the files they come from.
    data_dir: TFDS's; `TFDS_DATA_DIR`, else `~/tensorflow_datasets`, unless given.
    Raises `Unavailable`, `RunError` where files are damaged, `UsageError` for a missing `data_dir`.
    """
    root = data_root(data_dir)
    if data_dir is not None and not root.is_dir():
        raise UsageError(f"--data-dir {data_dir} is not a folder; name the one that holds {name}/")
    directory = _prepared(root, name)
    if directory is None:
        directory = _decoded_only(root, name, split)
        if directory is not None:
            return cache.load(directory)
        directory = prepare(name, root)
    files = sorted(directory.glob(f"*-{split}.array_record*"))
    if not files:
        raise RunError(_damaged(directory, f"it has no *-{split}.array_record files"))
    about = [directory / "dataset_info.json", directory / "features.json"]
    folder = f"jaxgan-{split}-{_digest([*files, *(path for path in about if path.exists())])}"
    places = [directory / folder, cache.user_directory() / name / folder]
    for place in places:
        try:
            found = cache.load(place)
        except RunError:  # The prepared files are at hand: decode them again.
            shutil.rmtree(place, ignore_errors=True)
            continue
        if found is not None:
            return found
    images, labels = decode(directory, split, SOURCES[name].shape)
    _keep(places if _writable(directory) else places[1:], images, labels)
    return images, labels, cache.fingerprint(images, labels)


def data_root(data_dir: str | Path | None) -> Path:
    """Returns the folder that holds TFDS's data sets."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir or default).expanduser()


def decode(directory: Path, split: str, shape) -> tuple[np.ndarray, np.ndarray]:
    """Returns images `[n, *shape]` and labels of a data set that TFDS has prepared in `directory`.

    Raises `RunError` where a file is damaged.
    """
    from array_record.python.array_record_module import ArrayRecordReader
    from tqdm import tqdm

    tfds = _tfds()
    files = directory.glob(f"*-{split}.array_record*")
    try:
        source = tfds.builder_from_directory(directory).as_data_source(split=split)
        count = source.dataset_info.splits[split].num_examples
        stored = sum(ArrayRecordReader(str(file)).num_records() for file in files)
        if not count == len(source) == stored:
            raise ValueError(f"{stored} examples in its files, {count} by dataset_info.json")
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.uint8)
        chunks = range(0, count, DECODED_AT_ONCE)
        for start in tqdm(chunks, f"decoding {split} once", disable=None, leave=False):
            indices = range(start, min(start + DECODED_AT_ONCE, count))
            for i, example in zip(indices, source.__getitems__(list(indices)), strict=True):
                if example["image"].shape != shape:
                    raise ValueError(f"an image of shape {example['image'].shape}")
                images[i], labels[i] = example["image"], example["label"]
    except Exception as error:  # What TFDS, its readers and decoders raise has no common type.
        raise RunError(_damaged(directory, _first_line(error))) from error
    return images, labels


def prepare(name: str, root: Path) -> Path:
    """Downloads and prepares a data set and returns its folder. Raises `Unavailable`."""
    tfds = _tfds()
    builder = tensorflow_free(name)(data_dir=root, file_format="array_record")
    url = SOURCES[name].url(builder)
    looked = (
        f"{name} is not prepared in {builder.data_dir} (dataset_info.json, features.json, "
        f"{name}-train.array_record-*)"
    )
    advice = "put them there, name another --data-dir, or use --dataset digits (no download)"
    if not _reachable(url):
        raise Unavailable(f"{looked} and cannot be downloaded from {url}: {advice}")
    print(f"jaxgan: downloading {name} from {url} to {root}", file=sys.stderr)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(force_checksums_validation=True)
        )
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise Unavailable(f"{looked} and its download failed ({reason}): {advice}") from error
    return Path(builder.data_dir)


@functools.cache
def tensorflow_free(name: str):
    """Returns TFDS's builder of `name`, under the same name and version, without TensorFlow.

    TFDS's own opens the archives and encodes the images with TensorFlow; this one reads them with
    Python's own modules and hands over PNG files. Download, checksums, features and files remain
    TFDS's.
    """
    _tfds()
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
            # A label, and then the pixels, channel by channel.
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
    """Returns the array of a gzipped IDX file (LeCun's format: type, rank, sizes, bytes)."""
    data = gzip.decompress(Path(path).read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _tfds():
    """Returns the package, told to be quiet."""
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    return tfds


def _prepared(root: Path, name: str) -> Path | None:
    """Returns the newest version that TFDS has prepared."""
    found = (root / name).glob("*/dataset_info.json")
    return max((path.parent for path in found), key=_version, default=None)


def _decoded_only(root: Path, name: str, split: str) -> Path | None:
    """Returns decoded arrays that were brought here without the files they come from."""
    found = (root / name).glob(f"*/jaxgan-{split}-*/fingerprint.json")
    return max((path.parent for path in found), key=lambda p: _version(p.parent), default=None)


def _version(path: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.name.split(".")]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _writable(directory: Path) -> bool:
    """Whether files may be added; a folder without any write bit is left alone, by root too."""
    return os.access(directory, os.W_OK) and bool(directory.stat().st_mode & 0o222)


def _keep(places: list[Path], images: np.ndarray, labels: np.ndarray) -> None:
    for place in places:
        try:
            return cache.save(place, images, labels)
        except OSError as error:
            print(f"jaxgan: decoded images not kept in {place.parent}: {error}", file=sys.stderr)


def _reachable(url: str) -> bool:
    """Whether a host answers within seconds, whatever becomes of the packets sent to it."""
    import requests

    answered = threading.Event()

    def ask():
        try:
            requests.head(url, timeout=PROBE_SECONDS)
        except requests.RequestException:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _damaged(directory: Path, reason: str) -> str:
    return (
        f"the data in {directory} is damaged ({reason}): delete that folder and prepare it anew, "
        "or copy it again"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
