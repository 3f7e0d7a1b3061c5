"""From examples on disk to data sets: where they are kept in training, and how they are split."""

import hashlib
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxgan.data.array_file import ArrayFile, ChosenRows, fingerprint
from jaxgan.data.arrays import Images, PaddedImages, pad_images
from jaxgan.data.float_arrays import FloatArrays, Statistics, compute_statistics, describe_features
from jaxgan.data.mixtures import Mixture
from jaxgan.data.picture_set import PictureSet
from jaxgan.data.stacked import Stacked
from jaxgan.data_settings import DataSettings
from jaxgan.errors import UsageError
from jaxgan.memory import format_bytes, memory_of_device

Dataset = Images | FloatArrays | Mixture | Stacked
Rows = np.ndarray | ArrayFile | ChosenRows | PictureSet
PARTS = 5
"""Data without a test split are divided into this many parts; one of them is for testing."""
MEMORY_SHARE = 0.25
"""The part of a device's memory that the data of a run may take by default."""
MOST_MEMORY = 0.5
"""The part that they may take with `--data-in memory`: a CPU loads them by way of a copy."""
EVALUATION_BYTES = 2**30
"""About the most bytes of a split that an evaluation loads; of more, it loads random examples."""
MIN_EXAMPLES = 10_000
"""An evaluation loads at least this many examples, if there are as many."""


class Opened(NamedTuple):
    """A data set that was found and can be loaded.

    fingerprint: that of the data for training. remarks: what the user should know.
    load: function from "train", "used", "test" or None to a `Dataset`. None is for the data that a
    GAN is trained on. The splits are in memory, with images that are not padded; "used" is the part
    of "train" that a GAN is trained on. own_test: whether the data have a test split of their own.
    """

    fingerprint: str
    load: Callable[[str | None], Dataset]
    remarks: tuple[str, ...] = ()
    own_test: bool = False


class Source(NamedTuple):
    """Finite data for training, as they are on disk.

    examples: uint8 images `[n, h, w, c]`, or floating-point `[n, ...]`. labels: `[n]`, or None.
    statistics: those of floating-point data, else None. open_test: opens the test split, None if
    the data have none.
    """

    name: str
    examples: Rows
    fingerprint: str
    labels: np.ndarray | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    statistics: Statistics | None = None
    open_test: Callable[[], "Source"] | None = None


def open_source(source: Source, settings: DataSettings) -> Opened:
    """Returns a source, ready to be loaded with some settings.

    Raises `UsageError` for an `image_size` of data without images, and as `choose_indices` does.
    """
    if settings.image_size is not None and source.statistics is not None:
        raise UsageError(f"--image-size needs images, and {source.name} has none")
    used, chosen = source, None
    if settings.train_examples is not None:
        chosen = choose_indices(source, settings.train_examples)
        used = choose_examples(source, chosen)

    def load(split: str | None) -> Dataset:
        if split is None:
            return make_dataset(used, settings)
        return take_part(source, "train", chosen) if split == "used" else take_part(source, split)

    remarks = source.remarks
    if source.statistics is not None and not source.statistics.deviation.all():
        constant = describe_features(source.statistics.deviation == 0)
        remarks = (*remarks, f"the values are constant in {constant}, and so are those of samples")
    return Opened(used.fingerprint, load, remarks, source.open_test is not None)


def choose_indices(source: Source, count: int) -> np.ndarray:
    """Returns indices `[count]` of examples, chosen at random, always the same ones, ascending.

    Raises `UsageError` if there are fewer.
    """
    available = len(source.examples)
    if count > available:
        raise UsageError(
            f"--train-examples {count:,} is more than {source.name} has: {available:,}"
        )
    return np.sort(np.random.Generator(np.random.PCG64(2)).permutation(available)[:count])


def choose_examples(source: Source, chosen: np.ndarray) -> Source:
    """Returns a source with the examples at the indices that `choose_indices` returned."""
    labels = source.labels
    if len(chosen) == len(source.examples):
        return source
    known = hashlib.sha256(f"{source.fingerprint} {len(chosen)}".encode()).hexdigest()
    return source._replace(
        examples=take_rows(source.examples, chosen),
        labels=None if labels is None else labels[chosen],
        fingerprint=known,
    )


def take_rows(examples: Rows, indices: np.ndarray) -> Rows:
    """Returns the examples at indices `[k]`, which are not read yet if they lie on disk."""
    if isinstance(examples, PictureSet):
        kept, shape = examples.kept[indices], examples.shape[1:]
        return PictureSet(examples.encoded, kept, examples.how, shape)
    return ChosenRows(examples, indices) if isinstance(examples, ArrayFile) else examples[indices]


def from_rows(
    name: str,
    examples: Rows,
    labels: np.ndarray | None = None,
    class_names: tuple[str, ...] = (),
    known_fingerprint: str | None = None,
    statistics: Statistics | None = None,
) -> Source:
    """Returns the source of examples and labels.

    known_fingerprint, statistics: computed if they are not given.
    Raises `UsageError` for values that are not finite.
    """
    if examples.dtype != np.uint8 and statistics is None:
        statistics = compute_statistics(examples, name)
    num_classes = None if labels is None else int(np.max(labels)) + 1
    known = known_fingerprint or fingerprint(examples, labels)
    return Source(name, examples, known, labels, num_classes, class_names, (), statistics)


def check_no_pictures(settings: DataSettings, what: str) -> None:
    """Raises `UsageError` if settings of pictures are given for other data.

    what: a clause that says what the data are, for the message.
    """
    given = {
        "--resize": settings.resize is not None,
        "--channels": settings.channels is not None,
        "--background": settings.background != "black",
        "--skip-broken": settings.skip_broken,
    }
    for flag, is_given in given.items():
        if is_given:
            hint = "; --image-size pads images" if flag == "--resize" else ""
            raise UsageError(f"{flag} is for pictures in files, and {what}: remove it{hint}")


def make_dataset(source: Source, settings: DataSettings) -> Images | FloatArrays:
    """Returns the data for training, in memory or on disk; raises as `lies_on_disk` does."""
    examples, size = source.examples, settings.image_size
    padded = examples.nbytes
    if size is not None:
        pad_images(np.zeros((1, *examples.shape[1:]), np.uint8), size)  # Is it large enough?
        padded = len(examples) * size**2 * examples.shape[-1]
    if not lies_on_disk(source.name, examples, padded, settings.data_in):
        # Without names for the parts, none of them is kept longer than the next one needs it.
        padded_images = _values(pad_images(read_all(examples), size))
        return _dataset(source, jnp.asarray(padded_images), on_device=True)
    return _dataset(source, examples if size is None else PaddedImages(examples, size))


def most_bytes(data_in: str) -> int:
    """Returns how many bytes of data may be in memory during training."""
    if data_in == "disk":
        return 0
    return int(memory_of_device() * (MOST_MEMORY if data_in == "memory" else MEMORY_SHARE))


def lies_on_disk(name: str, examples: Rows, nbytes: int, data_in: str) -> bool:
    """Returns whether data are read from disk during training.

    nbytes: their size in memory. data_in: "memory", "disk" or "auto".
    Raises `UsageError` for data that do not fit into memory, or that cannot be read row by row.
    """
    if nbytes <= most_bytes(data_in):
        return False
    by_rows = not isinstance(examples, np.ndarray)
    if data_in != "memory" and by_rows:
        return True
    if data_in == "disk":
        raise UsageError(
            f"{name} cannot be read from disk row by row: remove --data-in disk, or save the array "
            "with np.save, in C order and not compressed"
        )
    if nbytes > most_bytes("memory"):
        advice = "give --data-in disk" if by_rows else "save the array with np.save, in C order"
        raise UsageError(
            f"{name} needs {format_bytes(nbytes)}, more than half of the memory of "
            f"{format_bytes(memory_of_device())}: {advice}"
        )
    return False


def take_part(source: Source, split: str, among: np.ndarray | None = None) -> Images | FloatArrays:
    """Returns the training or the test split in memory or, of large data, a random part of it.

    among: indices of the source's examples, to which the training split is limited.
    Data without a test split are put in a fixed random order; every fifth example is for testing.
    Raises `UsageError` for data that cannot be split.
    """
    if source.open_test is not None:
        chosen = source if split == "train" else source.open_test()
        indices = np.arange(len(chosen.examples))
    else:
        chosen, count = source, len(source.examples)
        if count < 2:
            raise UsageError(f"{source.name} has only one example: it cannot be split for a test")
        order = np.random.Generator(np.random.PCG64(0)).permutation(count)
        test = np.arange(count) % PARTS == 0
        indices = order[test if split == "test" else ~test]
    if among is not None:
        indices = indices[np.isin(indices, among)]
    row_bytes = prod(chosen.examples.shape[1:]) * chosen.examples.dtype.itemsize
    limit = max(MIN_EXAMPLES, EVALUATION_BYTES // row_bytes)
    complete = len(indices) == len(chosen.examples) <= limit
    if len(indices) > limit:
        indices = np.random.Generator(np.random.PCG64(1)).permutation(indices)[:limit]
    examples = read_all(chosen.examples) if complete else chosen.examples[indices]
    labels = None if chosen.labels is None else chosen.labels[indices]
    known = chosen.fingerprint if complete else fingerprint(examples, labels)
    part = chosen._replace(
        labels=labels,
        fingerprint=known,
        num_classes=source.num_classes,  # A part may lack a class.
        statistics=source.statistics,
    )
    return _dataset(part, jnp.asarray(_values(examples)), on_device=True)


def read_all(examples: Rows) -> np.ndarray:
    """Returns all examples in memory."""
    return examples if isinstance(examples, np.ndarray) else examples.read()


def _values(examples: np.ndarray) -> np.ndarray:
    """Returns images as they are, and other values as float32."""
    return examples if examples.dtype == np.uint8 else examples.astype(np.float32, copy=False)


def _dataset(source: Source, examples: Any, on_device: bool = False) -> Images | FloatArrays:
    labels = source.labels
    if labels is not None and on_device:
        labels = jnp.asarray(labels)
    about = {
        "labels": labels,
        "num_classes": source.num_classes,
        "class_names": source.class_names,
    }
    if source.statistics is None:
        return Images(examples, source.name, source.fingerprint, **about)
    statistics = map(jnp.asarray, source.statistics) if on_device else source.statistics
    return FloatArrays(examples, source.name, source.fingerprint, *statistics, **about)
