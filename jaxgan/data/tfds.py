"""Data sets that TensorFlow Datasets has prepared, decoded once and saved as arrays."""

import contextlib
import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan import store
from jaxgan.data.array_file import fingerprint, open_safetensors
from jaxgan.data.builders import SOURCES, Unavailable, import_tfds, make_builder
from jaxgan.data.source import Source, check_no_pictures, from_rows, most_bytes
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError, first_line
from jaxgan.files import given_path, user_cache

PROBE_SECONDS = 4.0
DECODED_AT_ONCE = 1000


class Arrays(NamedTuple):
    """The decoded examples of a split.

    images: uint8 `[n, h, w, c]`. labels: uint8 `[n]`. fingerprint: of both. file: where they are
    saved, None if they could not be.
    """

    images: np.ndarray
    labels: np.ndarray
    fingerprint: str
    file: Path | None


def open_known(name: str, settings: DataSettings) -> Source:
    """Returns the source of a data set of `SOURCES`; raises as `load_arrays` does."""
    check_no_pictures(settings, f"{name} has images of one size")
    return _open_split(name, settings, "train")


def _open_split(name: str, settings: DataSettings, split: str) -> Source:
    images, labels, known, file = load_arrays(name, settings.data_dir, split)
    if file is not None and images.nbytes > most_bytes(settings.data_in):
        images = open_safetensors(file)["images"]
    source = from_rows(name, images, labels, known_fingerprint=known)
    if split == "test":
        return source
    return source._replace(open_test=lambda: _open_split(name, settings, "test"))


def load_arrays(name: str, data_dir: str | Path | None = None, split: str = "train") -> Arrays:
    """Returns the decoded examples of a split.

    The decoded arrays are saved next to the prepared files or, if these are read-only, in the
    user's cache. The name of the file includes a digest of the prepared files.
    data_dir: the directory of TFDS; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
    Raises `Unavailable` if the data set is not available, `RunError` for files that are damaged or
    cannot be read, and `UsageError` for a `data_dir` that is not a directory.
    """
    root = data_root(data_dir)
    if data_dir is not None and not root.is_dir():
        raise UsageError(f"--data-dir {data_dir} is not a folder: give the folder with {name}/")
    directory = find_version(root, name)
    if directory is None:
        if (file := _decoded_only(root, name, split)) is not None:
            try:
                return _load_decoded(file)
            except ValueError as error:
                raise RunError(f"the arrays in {file} are damaged: delete that file") from error
        directory = prepare(name, root)
    files = sorted(directory.glob(f"*-{split}.array_record*"))
    if not files:
        raise RunError(_damaged(directory, f"it has no *-{split}.array_record files"))
    about = [directory / "dataset_info.json", directory / "features.json"]
    digest = _digest([*files, *(path for path in about if path.exists())])
    decoded = f"jaxgan-{split}-{digest}.safetensors"
    places = [directory / decoded, user_cache() / name / decoded]
    for place in places:
        with contextlib.suppress(FileNotFoundError, ValueError):  # If damaged, decode again.
            return _load_decoded(place)
    images, labels = decode(directory, split, SOURCES[name].shape)
    place = _save_decoded(places if _writable(directory) else places[1:], images, labels)
    return Arrays(images, labels, fingerprint(images, labels), place)


def _load_decoded(file: Path) -> Arrays:
    arrays = store.load(file).arrays
    known = fingerprint(arrays["images"], arrays["labels"])
    return Arrays(arrays["images"], arrays["labels"], known, file)


def data_root(data_dir: str | Path | None) -> Path:
    """Returns the folder of TFDS's data sets: `data_dir`, `TFDS_DATA_DIR` or a default.

    The default is in the home directory or, if the user has none, in the user's cache.
    Raises `UsageError` for a path that cannot be used.
    """
    if named := data_dir or os.environ.get("TFDS_DATA_DIR"):
        return given_path(named)
    try:
        return Path.home() / "tensorflow_datasets"
    except RuntimeError:
        return user_cache() / "tensorflow_datasets"


def decode(directory: Path, split: str, shape) -> tuple[np.ndarray, np.ndarray]:
    """Returns images `[n, *shape]` and labels of a data set that TFDS has prepared in `directory`.

    Raises `RunError` if a file is damaged or cannot be read, and `Unreadable` if a package is
    missing.
    """
    tfds = import_tfds()
    from array_record.python.array_record_module import ArrayRecordReader
    from tqdm import tqdm

    files = directory.glob(f"*-{split}.array_record*")
    try:
        source = tfds.builder_from_directory(directory).as_data_source(split=split)
        count = source.dataset_info.splits[split].num_examples
        stored = sum(ArrayRecordReader(str(file)).num_records() for file in files)
        if not count == len(source) == stored:
            raise ValueError(f"{stored} examples in its files, {count} in dataset_info.json")
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.uint8)
        chunks = range(0, count, DECODED_AT_ONCE)
        for start in tqdm(chunks, f"decoding {split} once", disable=None, leave=False):
            indices = range(start, min(start + DECODED_AT_ONCE, count))
            for i, example in zip(indices, source.__getitems__(list(indices)), strict=True):
                if example["image"].shape != shape:
                    raise ValueError(f"an image of shape {example['image'].shape}")
                images[i], labels[i] = example["image"], example["label"]
    except MemoryError:
        raise
    except Exception as error:  # The errors of TFDS, its readers and decoders have no common type.
        raise RunError(_why_not_decoded(directory, error)) from error
    return images, labels


def prepare(name: str, root: Path) -> Path:
    """Downloads and prepares a data set and returns its folder.

    Raises `Unavailable` if it cannot be downloaded.
    """
    tfds = import_tfds()
    builder = make_builder(name)(data_dir=root, file_format="array_record")
    url = SOURCES[name].url(builder)
    looked = (
        f"{name} is not prepared in {builder.data_dir} (dataset_info.json, features.json, "
        f"{name}-train.array_record-*)"
    )
    advice = "put these files there, give another --data-dir, or use --dataset digits (no download)"
    if not _reachable(url):
        raise Unavailable(f"{looked} and cannot be downloaded from {url}: {advice}")
    print(f"jaxgan: downloading {name} from {url} to {root}", file=sys.stderr)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(force_checksums_validation=True)
        )
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise Unavailable(f"{looked} and its download failed ({reason}): {advice}") from error
    return Path(builder.data_dir)


def find_version(root: Path, name: str) -> Path | None:
    """Returns the folder of the newest version that TFDS has prepared, or None."""
    found = (root / name).glob("*/dataset_info.json")
    return max((path.parent for path in found), key=_version, default=None)


def _decoded_only(root: Path, name: str, split: str) -> Path | None:
    """Returns a file of decoded arrays that was copied without the prepared files, or None."""
    found = (root / name).glob(f"*/jaxgan-{split}-*.safetensors")
    return max(found, key=lambda path: _version(path.parent), default=None)


def _version(path: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.name.split(".")]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _writable(directory: Path) -> bool:
    """Returns whether files may be added: not if the folder has no write bit, even for root."""
    return os.access(directory, os.W_OK) and bool(directory.stat().st_mode & 0o222)


def _save_decoded(places: list[Path], images: np.ndarray, labels: np.ndarray) -> Path | None:
    """Saves decoded arrays in the first of the places that can be written, and returns it."""
    for place in places:
        try:
            store.save(place, {"images": images, "labels": labels})
            return place
        except OSError as error:
            print(f"jaxgan: decoded images not saved in {place.parent}: {error}", file=sys.stderr)
    return None


def _reachable(url: str) -> bool:
    """Returns whether the host answers within `PROBE_SECONDS`, even if its packets are dropped."""
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
        f"the data in {directory} is damaged ({reason}): delete that folder and prepare it again, "
        "or copy it again"
    )


def _why_not_decoded(directory: Path, error: Exception) -> str:
    """Returns the message for a decoding error, which does not always mean damaged files."""
    reason = first_line(error)
    if isinstance(error, OSError) and error.errno:  # A system error; Pillow's have no number.
        return f"{directory} cannot be read ({reason}): fix that and run the same command again"
    if isinstance(error, AttributeError | ImportError | TypeError):
        return (
            f"tensorflow-datasets fails on {directory} ({type(error).__name__}: {reason}): upgrade "
            "it; if that does not help, delete that folder and prepare it again"
        )
    return _damaged(directory, reason)
