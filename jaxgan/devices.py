"""Functions for steps whose batch is split over devices.

If a step runs under a mapped axis named `AXIS`, each device computes on its own rows of every
batch, and uses the functions of this file for values of the whole batch. Outside of such an axis,
the functions act as for a single device.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

AXIS = "devices"


def device_count() -> int:
    """Returns the number of devices that share the batch: 1 outside of `AXIS`."""
    try:
        return lax.axis_size(AXIS)
    except NameError:  # Raised by JAX if no axis of that name is mapped.
        return 1


def own_rows(whole: jax.Array) -> jax.Array:
    """Returns this device's rows `[n / device_count, ...]` of an array `[n, ...]`.

    A device has every `device_count`-th row. If `whole` consists of several equal parts, one after
    another, the device's rows thus consist of its rows of each part.
    """
    if (count := device_count()) == 1:
        return whole
    by_device = whole.reshape(-1, count, *whole.shape[1:])
    return lax.dynamic_index_in_dim(by_device, lax.axis_index(AXIS), axis=1, keepdims=False)


def draw_rows(draw: Callable, key: jax.Array, shape: tuple[int, ...], **settings) -> jax.Array:
    """Returns random numbers of shape `(n, ...)`, for this device's `n` rows of the batch.

    They are drawn for the whole batch, so they are the same on one device and on several.
    draw: a function such as `jax.random.normal`, called with the key, a shape and the settings.
    """
    return own_rows(draw(key, (device_count() * shape[0], *shape[1:]), **settings))


def gather_rows(rows: jax.Array) -> jax.Array:
    """Returns the rows of all devices, `[device_count * n, ...]`, of this device's `[n, ...]`."""
    return rows if device_count() == 1 else lax.all_gather(rows, AXIS, tiled=True)


def mean_over_devices(tree: Any) -> Any:
    """Returns the tree averaged over devices, so that means over rows become means of the batch."""
    return tree if device_count() == 1 else lax.pmean(tree, AXIS)
