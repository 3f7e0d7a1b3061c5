"""A batch that is split over devices, seen from inside the step.

Where the step runs under a mapped axis called `AXIS`, each device computes on its own rows of every
batch; what concerns the whole batch goes through this file. Elsewhere nothing here does anything.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

AXIS = "devices"


def device_count() -> int:
    """Returns over how many devices the batch is split: 1 outside of `AXIS`."""
    try:
        return lax.axis_size(AXIS)
    except NameError:  # JAX's answer where no axis of that name is mapped.
        return 1


def own_rows(whole: jax.Array) -> jax.Array:
    """Returns this device's rows `[n / device_count, ...]` of an array `[n, ...]`.

    Every `device_count`-th row is its own, so that the device's part of several equal parts of
    `whole`, one after another, is its part of each of them.
    """
    if (count := device_count()) == 1:
        return whole
    by_device = whole.reshape(-1, count, *whole.shape[1:])
    return lax.dynamic_index_in_dim(by_device, lax.axis_index(AXIS), axis=1, keepdims=False)


def draw_rows(draw: Callable, key: jax.Array, shape: tuple[int, ...], **settings) -> jax.Array:
    """Returns random numbers of a shape `(n, ...)`, for this device's `n` rows of the batch.

    They are drawn for the whole batch, so that a batch gets the same numbers on one device and on
    several. draw: `jax.random.normal`, `uniform` or the like, called with the key, a shape and the
    settings.
    """
    return own_rows(draw(key, (device_count() * shape[0], *shape[1:]), **settings))


def mean_over_devices(tree: Any) -> Any:
    """Returns a tree of the means over devices: of means over their rows, those over the batch."""
    return tree if device_count() == 1 else lax.pmean(tree, AXIS)
