"""Data of any domain: floating-point arrays, such as tables, signals and spectrograms."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxgan.data.array_file import ArrayFile
from jaxgan.data.arrays import Batch, Examples
from jaxgan.errors import UsageError

ROWS_AT_ONCE = 2**24
"""About how many values are read at a time to compute statistics."""
PARTS_SHOWN = 20
"""Reading at least this many parts shows a progress bar."""
SHOWN = 5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FloatArrays(Examples):
    """A set of floating-point arrays of one shape, standardized in the compiled step.

    values: `[num_examples, ...]`, in the units of the data; float32 unless they are on disk.
    mean, deviation: float32 `[...]`, the mean and the standard deviation of each feature in the
    training data. Networks take `(values - mean) / deviation`, and 0 for a feature that is
    constant, whose deviation is 0. labels, num_classes, class_names: as in `Images`.
    """

    values: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    mean: jax.Array
    deviation: jax.Array
    labels: jax.Array | None = None
    num_classes: int | None = dataclasses.field(default=None, metadata={"static": True})
    class_names: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})
    bounded = False

    @property
    def examples(self):
        """The values, `[num_examples, ...]`, in the units of the data."""
        return self.values

    def without_examples(self) -> "FloatArrays":
        """Returns the data set without its values and labels."""
        return dataclasses.replace(self, values=None, labels=None)

    def convert(self, rows: Batch) -> Batch:
        """Returns standardized values."""
        return Batch(standardize(rows.images, self.mean, self.deviation), rows.labels)

    def describe(self) -> str:
        """Returns a short description of the data set."""
        classes = f" in {self.num_classes:,} classes" if self.num_classes else ""
        return f"{len(self.values):,} examples of {'x'.join(map(str, self.shape))} values{classes}"


class Statistics(NamedTuple):
    """The mean and the standard deviation of every feature, float32 `[...]`."""

    mean: np.ndarray
    deviation: np.ndarray


def standardize(values, mean, deviation):
    """Returns values `[n, ...]` with mean 0 and deviation 1; constant features become 0.

    mean, deviation: `[...]`, see `FloatArrays`.
    """
    xp = values.__array_namespace__()
    return xp.where(deviation > 0, (values - mean) / xp.where(deviation > 0, deviation, 1), 0)


def to_units(standardized, mean, deviation):
    """Returns standardized values `[n, ...]` in the units of the data."""
    return standardized * deviation + mean


def compute_statistics(values: np.ndarray | ArrayFile, what: str) -> Statistics:
    """Returns the mean and the deviation of examples `[n, ...]`, which are read in parts.

    what: the name of the data in messages. Raises `UsageError` for values that are not finite.
    """
    count = max(1, ROWS_AT_ONCE // max(1, int(np.prod(values.shape[1:]))))
    starts = range(0, len(values), count)
    quiet = True if len(starts) < PARTS_SHOWN else None
    parts = lambda: (
        values[np.arange(i, min(i + count, len(values)))].astype(np.float64)
        for i in tqdm(starts, "computing statistics", disable=quiet, leave=False)
    )
    total, bad = np.zeros(values.shape[1:]), np.zeros(values.shape[1:], np.int64)
    low, high = np.full(values.shape[1:], np.inf), np.full(values.shape[1:], -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in parts():
            total += part.sum(axis=0)
            bad += (~np.isfinite(part.astype(np.float32))).sum(axis=0)
            low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
    if bad.any():
        raise UsageError(
            f"{what} has values that are not finite as 32-bit numbers, in "
            f"{describe_features(bad > 0)} ({bad.sum():,} values): remove these examples, or "
            "replace the values"
        )
    mean = total / len(values)
    squares = sum(np.square(part - mean).sum(axis=0) for part in parts())
    deviation = np.where(low < high, np.sqrt(squares / len(values)), 0)
    return Statistics(mean.astype(np.float32), deviation.astype(np.float32))


def describe_features(chosen: np.ndarray) -> str:
    """Returns a text with the number of true entries of `[...]` and the indices of the first."""
    indices = [", ".join(map(str, index)) for index in np.argwhere(chosen)[:SHOWN]]
    count = int(chosen.sum())
    more = " and more" if count > SHOWN else ""
    return f"{count:,} of {chosen.size:,} features (index {'; '.join(indices)}{more})"
