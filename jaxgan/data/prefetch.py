"""Batches of a data set on disk, read before they are needed by the threads of Grain.

The batch of a step is a function of the key and the step, so there is no iterator to save: reading
starts at any step.
"""

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.data.arrays import Batch, Examples
from jaxgan.data.order import Order, make_order
from jaxgan.errors import ReadError, first_line
from jaxgan.memory import count_cores

BYTES_AT_ONCE = 2**27
"""The most bytes of the rows of one chunk of steps, and of the rows that are read ahead."""
DECODED_AT_ONCE = 2000
"""The most pictures to decode for one chunk: about as many as one core decodes in a second."""
BYTES_PER_READ = 2**23
STEPS_PER_READ = 16
"""The most steps, and about the most bytes, whose rows one thread reads at a time."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prefetched:
    """The batches of consecutive steps: a data set for these steps alone.

    rows: as they are on disk, `[steps, size, ...]`. first: the number of the first step.
    dataset: the data set that they are from, without its examples.
    """

    rows: Batch
    first: jax.Array
    dataset: Any

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the examples of a step, as `Examples.batch` does.

        Outside of these steps they are NaN, so that a seed that has diverged stays frozen.
        """
        del key, size
        at = step - self.first
        own = jax.tree.map(
            lambda each: lax.dynamic_index_in_dim(each, at, keepdims=False), self.rows
        )
        batch = self.dataset.convert(own)
        known = (at >= 0) & (at < len(self.rows.images))
        return batch._replace(images=jnp.where(known, batch.images, jnp.nan))


class Share(NamedTuple):
    """A part of a batch: every `count`-th row from the row `index` on.

    order: that of the seed. A device has the rows that `jaxgan.devices.own_rows` gives it.
    """

    order: Order
    index: int = 0
    count: int = 1


class Reads(NamedTuple):
    """The rows of consecutive steps, a few steps at a time, as a sequence that Grain reads from.

    shares: the parts of the batches, which are stacked. steps: those to read. at_once: the
    number of steps in one element.
    """

    examples: Any
    labels: np.ndarray | None
    shares: tuple[Share, ...]
    steps: range
    at_once: int

    @property
    def dtype(self) -> np.dtype:
        """The type of the rows: uint8 for images, and float32 for other data."""
        return np.dtype(np.uint8 if self.examples.dtype == np.uint8 else np.float32)

    def read(self, i: int) -> Batch:
        """Returns element `i`: arrays `[shares, steps, rows, ...]`."""
        steps = self.steps[i * self.at_once : (i + 1) * self.at_once]
        indices = [order.indices(steps)[:, index::count] for order, index, count in self.shares]
        flat = np.concatenate([each.reshape(-1) for each in indices])
        lead = (len(self.shares), len(steps), indices[0].shape[1])
        images = (
            self.examples[flat]
            .astype(self.dtype, copy=False)
            .reshape(*lead, *self.examples.shape[1:])
        )
        labels = None if self.labels is None else self.labels[flat].astype(np.int32).reshape(lead)
        return Batch(images, labels)


class Reader:
    """Reads the rows of the steps of a run in order, ahead of their use.

    keys: one for each seed. steps: those to read. size: the number of examples of a step.
    parts: for each device of this process, its index among all devices and their number.
    With several seeds or devices, the arrays have a leading axis with one entry for each.
    """

    def __init__(
        self,
        dataset: Examples,
        keys: list[jax.Array],
        steps: range,
        size: int,
        parts: list[tuple[int, int]] | None = None,
    ):
        self._dataset = dataset.without_examples()
        orders = [make_order(key, steps, size, len(dataset.examples)) for key in keys]
        shares = [Share(order, *part) for order in orders for part in parts or [(0, 1)]]
        self.alone = len(keys) == 1 and parts is None
        bytes_per_step = size * prod(dataset.shape) * dataset.examples.dtype.itemsize * len(keys)
        self.steps_at_once = max(1, BYTES_AT_ONCE // bytes_per_step)
        if getattr(dataset.examples, "decodes", False):
            self.steps_at_once = min(self.steps_at_once, max(1, DECODED_AT_ONCE // size))
        self._size = size
        labels = None if dataset.labels is None else np.asarray(dataset.labels)
        few = min(STEPS_PER_READ, BYTES_PER_READ // bytes_per_step, self.steps_at_once)
        at_once = max(1, few)
        self._reads = Reads(dataset.examples, labels, tuple(shares), steps, at_once)
        self._next = steps.start
        self._elements: Iterator[Batch] | None = None
        self._rest: list[Batch] = []

    def read(self, first: int, last: int) -> Prefetched:
        """Returns the rows of `range(first, last)`, the steps after those of the last call.

        Raises `ReadError` if they cannot be read, and `ValueError` for other steps.
        """
        if first != self._next:
            raise ValueError(f"step {first} does not follow step {self._next - 1}")
        if self._elements is None:
            self._elements = iterate(self._reads, self.steps_at_once)
        parts, missing = self._rest, last - first - sum(map(_steps, self._rest))
        while missing > 0:
            parts.append(_next(self._elements))
            missing -= _steps(parts[-1])
        rows = jax.tree.map(lambda *each: np.concatenate(each, axis=1), *parts)
        self._rest = [jax.tree.map(lambda each: each[:, last - first :], rows)] if missing else []
        self._next = last
        rows = jax.tree.map(lambda each: each[:, : last - first], rows)
        shares = len(self._reads.shares)
        if self.alone:
            return Prefetched(
                jax.tree.map(lambda each: each[0], rows), np.int32(first), self._dataset
            )
        repeat = lambda leaf: np.broadcast_to(leaf, (shares, *np.shape(leaf)))
        return Prefetched(rows, repeat(np.int32(first)), jax.tree.map(repeat, self._dataset))

    def close(self) -> None:
        """Ends the threads and the worker processes that read."""
        if self._elements is not None:
            self._elements.close()
            self._elements = None

    def example(self, seeds: int | None) -> Prefetched:
        """Returns shapes and types of the rows of one step; several seeds add a leading axis."""
        lead = (1, self._size) if seeds is None else (seeds, 1, self._size)
        shaped = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype)
        examples, labels = self._reads.examples, self._reads.labels
        rows = Batch(
            shaped((*lead, *examples.shape[1:]), self._reads.dtype),
            None if labels is None else shaped(lead, np.int32),
        )
        of_seeds = lead[:-2]
        rest = jax.tree.map(
            lambda leaf: shaped((*of_seeds, *np.shape(leaf)), leaf.dtype), self._dataset
        )
        return Prefetched(rows, shaped(of_seeds, np.int32), rest)


def iterate(reads: Reads, steps_ahead: int) -> Iterator[Batch]:
    """Yields the elements, read in threads and, if they must be decoded, in worker processes.

    steps_ahead: the number of steps to read ahead, rounded down to whole elements, at least one.
    """
    import grain
    from absl import flags

    class Source:
        def __len__(self) -> int:
            return -(-len(reads.steps) // reads.at_once)

        def __getitem__(self, i: int) -> Batch:
            return reads.read(i)

    ahead, cores = max(1, steps_ahead // reads.at_once), count_cores()
    options = grain.ReadOptions(num_threads=cores, prefetch_buffer_size=ahead)
    elements = grain.MapDataset.source(Source()).to_iter_dataset(options)
    if getattr(reads.examples, "decodes", False) and cores > 1:
        if not flags.FLAGS.is_parsed():  # Grain looks up flags that no command of jaxgan has.
            flags.FLAGS.mark_as_parsed()
        each = max(1, ahead // (4 * cores))  # Containers often have only 64 MB of shared memory.
        workers = grain.MultiprocessingOptions(cores, per_worker_buffer_size=each)
        elements = elements.mp_prefetch(workers, _follow_parent)
    return iter(elements)


def _follow_parent(worker: int, count: int) -> None:
    """Makes a worker ignore Ctrl-C, and end as soon as its parent process has ended."""
    del worker, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _next(elements: Iterator[Batch]) -> Batch:
    try:
        return next(elements)
    except MemoryError:
        raise
    except Exception as error:  # Grain and its worker processes raise errors of many types.
        raise ReadError(first_line(error, length=300)) from error


def _steps(part: Batch) -> int:
    return part.images.shape[1]
