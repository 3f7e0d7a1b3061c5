"""MNIST and its relatives, prepared and read by TensorFlow Datasets without TensorFlow."""

import functools
import gzip
import hashlib
import io
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np

from jaxgan.data import cache
from jaxgan.errors import RunError, UsageError

BUILDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SHAPE = (28, 28, 1)
PROBE_SECONDS = 4.0
DECODED_AT_ONCE = 1000


class Unavailable(RunError):
    """The data set is neither on disk nor can it be downloaded."""


def arrays(
    name: str, data_dir: str | Path | None = None, split: str = "train"
) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns images uint8 `[n, 28, 28, 1]`, labels uint8 `[n]` and their fingerprint.

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
    images, labels = decode(directory, split)
    _keep(places if _writable(directory) else places[1:], images, labels)
    return images, labels, cache.fingerprint(images, labels)


def data_root(data_dir: str | Path | None) -> Path:
    """Returns the folder that holds TFDS's data sets."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir or default).expanduser()


def decode(directory: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels of a data set that TFDS has prepared in `directory`.

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
        images, labels = np.empty((count, *SHAPE), np.uint8), np.empty(count, np.uint8)
        chunks = range(0, count, DECODED_AT_ONCE)
        for start in tqdm(chunks, f"decoding {split} once", disable=None, leave=False):
            indices = range(start, min(start + DECODED_AT_ONCE, count))
            for i, example in zip(indices, source.__getitems__(list(indices)), strict=True):
                if example["image"].shape != SHAPE:
                    raise ValueError(f"an image of shape {example['image'].shape}")
                images[i], labels[i] = example["image"], example["label"]
    except Exception as error:  # What TFDS, its readers and decoders raise has no common type.
        raise RunError(_damaged(directory, _first_line(error))) from error
    return images, labels


def prepare(name: str, root: Path) -> Path:
    """Downloads and prepares a data set and returns its folder. Raises `Unavailable`."""
    tfds = _tfds()
    builder = tensorflow_free(name)(data_dir=root, file_format="array_record")
    looked = (
        f"{name} is not prepared in {builder.data_dir} (dataset_info.json, features.json, "
        f"{name}-train.array_record-*)"
    )
    advice = "put them there, name another --data-dir, or use --dataset digits (no download)"
    if not _reachable(builder.URL):
        raise Unavailable(f"{looked} and cannot be downloaded from {builder.URL}: {advice}")
    print(f"jaxgan: downloading {name} from {builder.URL} to {root}", file=sys.stderr)
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
    gzip and hands over PNG files. Download, checksums, features and files remain TFDS's.
    """
    _tfds()
    from tensorflow_datasets.core import registered
    from tensorflow_datasets.image_classification import mnist

    stock = getattr(mnist, BUILDERS[name])
    changed = {
        "url_infos": stock.url_infos,
        "pkg_dir_path": stock._get_pkg_dir_path(),
        "_split_generators": _split_generators,
        "_generate_examples": _generate_examples,
    }
    with registered.skip_registration():
        return type(stock.__name__, (stock,), changed)


def _split_generators(self, dl_manager):
    urls = {split: [self.URL + file for file in files] for split, files in FILES.items()}
    return {
        split: self._generate_examples(*paths) for split, paths in dl_manager.download(urls).items()
    }


def _generate_examples(self, images_path, labels_path):
    from PIL import Image

    images, labels = _idx(images_path), _idx(labels_path)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        yield i, {"image": io.BytesIO(png.getvalue()), "label": int(label)}


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
