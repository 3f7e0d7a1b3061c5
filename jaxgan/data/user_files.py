"""The user's own data: folders of pictures, arrays, and records."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from jaxgan import store
from jaxgan.data import image_folder, records
from jaxgan.data.array_file import Array, ArrayFile, fingerprint, open_npy, open_npz
from jaxgan.data.float_arrays import Statistics
from jaxgan.data.image_folder import list_folder
from jaxgan.data.picture_set import Encoded, open_pictures
from jaxgan.data.pictures import Decoding, check_background
from jaxgan.data.source import Source, check_no_pictures, from_rows, lies_on_disk, most_bytes
from jaxgan.data_settings import DataSettings
from jaxgan.errors import UsageError
from jaxgan.files import given_path, user_cache

CHANNELS = (1, 3)
LARGE = 2**28
"""Fingerprint and statistics of arrays of at least this many bytes are kept in the user's cache."""
EXAMPLES = ("images", "values")
"""The names that the array of examples may have in an .npz file."""
LABELS = "labels"
"""The name that the array of labels must have in an .npz file."""


def open_file(settings: DataSettings) -> Source:
    """Returns the source of `data_file`, see `SourceSettings`.

    Raises `UsageError` for a file or a folder that cannot be used.
    """
    path = given_path(settings.data_file)
    name = _name_of_file(path)
    if path.is_dir():
        if files := records.list_records(path):
            return _open_records(files, name, settings)
        folder = list_folder(path)
        listing = folder.files.listing()
        found = open_source_of_pictures(name, folder.files, folder.labels, listing, settings)
        return name_classes(found, folder.class_names, folder.remarks)
    if not path.is_file():
        raise UsageError(
            f"--data-file {path} does not exist: give a folder of pictures, or a .npy, .npz or "
            ".array_record file"
        )
    if records.is_records(path):
        return _open_records([path], name, settings)
    check_no_pictures(settings, f"--data-file {path} holds arrays")
    return _open_arrays(path, name, settings)


def open_source_of_pictures(
    name: str, encoded: Encoded, labels: np.ndarray | None, listing: str, settings: DataSettings
) -> Source:
    """Returns the source of encoded pictures. listing: see `picture_set.open_pictures`."""
    how = Decoding(settings.resize, settings.channels, check_background(settings.background))
    pictures, known = open_pictures(
        encoded, labels, how, settings.skip_broken, listing, most_bytes(settings.data_in)
    )
    labels = None if labels is None else np.delete(labels, known.broken).astype(np.int32)
    classes = None if labels is None else int(labels.max()) + 1
    remarks = tuple(known.remarks)
    return Source(name, pictures, known.fingerprint, labels, classes, remarks=remarks)


def name_classes(
    source: Source, class_names: tuple[str, ...], remarks: tuple[str, ...] = ()
) -> Source:
    """Returns a source with the names of its classes, and a remark on those without examples.

    remarks: those to put before its own.
    """
    if source.labels is None or not class_names:
        return source._replace(remarks=(*remarks, *source.remarks))
    present = {*np.unique(source.labels).tolist()}
    empty = [name for k, name in enumerate(class_names) if k not in present]
    left = (f"no examples are left of the classes {', '.join(empty)}",) if empty else ()
    return source._replace(
        num_classes=len(class_names),
        class_names=class_names,
        remarks=(*remarks, *source.remarks, *left),
    )


def _open_records(files: list[Path], name: str, settings: DataSettings) -> Source:
    encoded = records.Records(files)
    listing = image_folder.Files(files[0].parent, [file.name for file in files]).listing()
    return open_source_of_pictures(name, encoded, None, listing, settings)


def _open_arrays(path: Path, name: str, settings: DataSettings) -> Source:
    """Returns the source of an array, or of arrays with labels."""
    what, labels, remarks, class_names = f"--data-file {path}", None, (), ()
    if path.suffix.lower() != ".npz":
        examples = open_npy(path)
    else:
        arrays, others = open_npz(path, {*EXAMPLES, LABELS})
        given = [key for key in EXAMPLES if key in arrays]
        if len(given) != 1:
            names = ", ".join([*arrays, *others]) or "no arrays"
            raise UsageError(
                f"{what} must have an array named images or one named values, and it has {names}"
            )
        examples = arrays.pop(given[0])
        if (labels := arrays.pop(LABELS, None)) is not None:
            labels = labels if isinstance(labels, np.ndarray) else labels.read()
        if others:
            remarks = (f"passed over the arrays {', '.join(others)} in {path}",)
    examples = check_examples(examples, what)
    if labels is not None:
        labels, class_names = check_labels(labels, len(examples), what)
    lies_on_disk(what, examples, examples.nbytes, settings.data_in)  # Is it too large?
    known, statistics = _known(path, examples, labels)
    found = from_rows(name, examples, labels, class_names, known, statistics)
    _remember(path, found)
    return found._replace(remarks=remarks)


def check_examples(examples: Array, what: str) -> Array:
    """Returns images as `[n, h, w, c]`, and floating-point arrays as they are, `[n, ...]`.

    what: the name of the array in messages. Raises `UsageError` for another type or shape.
    """
    images = examples.dtype == np.uint8
    if not images and examples.dtype.kind != "f":
        raise UsageError(
            f"{what} has type {examples.dtype}: images must be uint8, 0 to 255, and other data "
            "floating-point numbers"
        )
    shape = examples.shape
    if (images and len(shape) == 3) or (not images and len(shape) == 1):
        shape = (*shape, 1)
        examples = examples.reshape(shape)
    if 0 in shape:
        raise UsageError(f"{what} has shape {shape}: it has no examples")
    if images and (len(shape) != 4 or shape[-1] not in CHANNELS):
        raise UsageError(
            f"{what} has shape {shape} and must be [n, h, w] or [n, h, w, c] with c 1 or 3; data "
            "other than images must be floating-point numbers"
        )
    return examples


def check_labels(
    labels: np.ndarray, count: int, what: str = ""
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns labels, int32 `[count]`, and the names of the classes, if the labels are strings.

    what: the name of the data in messages. Raises `UsageError` for labels that do not match.
    """
    where = f" in {what}" if what else ""
    if labels.shape != (count,):
        raise UsageError(
            f"there must be {count:,} labels{where}, one for each example, and their shape is "
            f"{labels.shape}"
        )
    if labels.dtype.kind == "U":
        names = sorted({*labels.tolist()}, key=image_folder.natural)
        numbers = {name: k for k, name in enumerate(names)}
        return np.array([numbers[name] for name in labels.tolist()], np.int32), tuple(names)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= 2**31 - 1:
        raise UsageError(f"the labels{where} must be integers from 0 on, or names")
    return labels.astype(np.int32), ()


def _known(path: Path, examples: Array, labels) -> tuple[str | None, Statistics | None]:
    """Returns the fingerprint and the statistics of a large array that was opened before."""
    if not isinstance(examples, ArrayFile) or examples.nbytes < LARGE:
        return None, None
    with contextlib.suppress(OSError, ValueError, KeyError):
        arrays, about, _ = store.load(_place(path, examples, labels))
        statistics = arrays.get("statistics")
        return about["fingerprint"], statistics and Statistics(**statistics)
    return None, None


def _remember(path: Path, source: Source) -> None:
    if isinstance(source.examples, ArrayFile) and source.examples.nbytes >= LARGE:
        arrays = {} if source.statistics is None else {"statistics": source.statistics._asdict()}
        with contextlib.suppress(OSError):
            place = _place(path, source.examples, source.labels)
            if not place.exists():
                store.save(place, arrays, {"fingerprint": source.fingerprint})


def _place(path: Path, examples: ArrayFile, labels: np.ndarray | None) -> Path:
    of_labels = fingerprint(np.zeros(0, np.uint8), labels)
    about = f"{path.resolve()} {examples.stamp} {examples.shape} {examples.offset} {of_labels}"
    return user_cache() / "arrays" / f"{hashlib.sha256(about.encode()).hexdigest()}.safetensors"


def _name_of_file(file: Path) -> str:
    """Returns the name of a data set: that of a folder, or of a file without its suffix.

    `.` and `..` have the name of the folder that they stand for.
    """
    path = file.resolve()
    return (path.name if path.is_dir() else path.stem) or "images"
