"""Functions for steps whose batch is split over devices, or into parts.

If a step runs under a mapped axis named `AXIS`, each device computes on its own rows of every
batch, and uses the functions of this file for values of the whole batch. Outside of such an axis,
the functions act as for a single device. In `part_of_batch`, they act on a part of the device's
rows.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

AXIS = "devices"
_PART: ContextVar[tuple[int, Any]] = ContextVar("part", default=(1, 0))
"""The number of parts of a device's rows, and the one that is traced now."""


def device_count() -> int:
    """Returns the number of devices that share the batch: 1 outside of `AXIS`."""
    try:
        return lax.axis_size(AXIS)
    except NameError:  # Raised by JAX if no axis of that name is mapped.
        return 1


def share_count() -> int:
    """Returns the number of equal shares of the batch: devices, times parts on each of them."""
    return device_count() * _PART.get()[0]


@contextlib.contextmanager
def part_of_batch(count: int, index: jax.Array | int) -> Iterator[None]:
    """Lets `own_rows` and `draw_rows` act on one of `count` equal parts of this device's rows."""
    token = _PART.set((count, index))
    try:
        yield
    finally:
        _PART.reset(token)


def own_rows(whole: jax.Array) -> jax.Array:
    """Returns this device's rows `[n / share_count, ...]` of an array `[n, ...]`.

    A device has every `device_count`-th row. If `whole` consists of several equal parts, one after
    another, the device's rows thus consist of its rows of each part.
    """
    if (count := share_count()) == 1:
        return whole
    devices, (_, part) = device_count(), _PART.get()
    index = devices * part + (lax.axis_index(AXIS) if devices > 1 else 0)
    by_share = whole.reshape(-1, count, *whole.shape[1:])
    return lax.dynamic_index_in_dim(by_share, index, axis=1, keepdims=False)


def accumulate(count: int, function: Callable, rows: Any) -> tuple:
    """Returns what a function returns, computed for one part of this device's rows at a time.

    function: from rows, a tree of arrays `[n, ...]`, to three trees: values that are means over the
        rows, arrays `[n, ...]`, and values that are the same for all rows.
    count: number of parts; 1 to call the function once.
    """
    if count == 1:
        return function(rows)
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), rows)

    def add_part(total: Any, inputs: tuple) -> tuple:
        index, own = inputs
        with part_of_batch(count, index):
            means, each, same = function(own)
        return jax.tree.map(jnp.add, total, means), (each, same)

    def means_of(own: Any) -> Any:
        with part_of_batch(count, 0):
            return function(own)[0]

    shapes = jax.eval_shape(means_of, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, (each, same) = lax.scan(add_part, zeros, (jnp.arange(count), parts))
    means = jax.tree.map(lambda x: x / count, total)
    each = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), each)
    return means, each, jax.tree.map(lambda x: x[0], same)


def draw_rows(draw: Callable, key: jax.Array, shape: tuple[int, ...], **settings) -> jax.Array:
    """Returns random numbers of shape `(n, ...)`, for this device's `n` rows of the batch.

    They are drawn for the whole batch, so they are the same on one device and on several.
    draw: a function such as `jax.random.normal`, called with the key, a shape and the settings.
    """
    return own_rows(draw(key, (share_count() * shape[0], *shape[1:]), **settings))


def gather_rows(rows: jax.Array) -> jax.Array:
    """Returns the rows of all devices, `[device_count * n, ...]`, of this device's `[n, ...]`."""
    return rows if device_count() == 1 else lax.all_gather(rows, AXIS, tiled=True)


def mean_over_devices(tree: Any) -> Any:
    """Returns the tree averaged over devices, so that means over rows become means of the batch."""
    return tree if device_count() == 1 else lax.pmean(tree, AXIS)
