"""Precision, recall, density and coverage: who lies in whose neighbourhood.

Distances are computed in blocks, compiled: the memory is that of the features and of `BLOCK` rows
of distances, whatever the counts.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.metrics.features import checked

BLOCK = 500
PRECISION_K = 3
DENSITY_K = 5


class Neighbours(NamedTuple):
    """precision, recall: Kynkaanniemi et al. 2019, k = 3. density, coverage: Naeem et al. 2020,
    k = 5.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> Neighbours:
    """Returns how much of each set of features `[n, d]`, `[m, d]` lies near the other.

    precision, recall: share of one set within the distance from some example of the other to the
        k-th neighbour of its own kind.
    density: how many real neighbourhoods hold a generated example, on average, over k; may exceed
        one. coverage: share of real neighbourhoods that hold at least one.
    Raises `UsageError` for features that cannot be judged, as where there are too few for k.
    """
    at_least = max(precision_k, density_k) + 1
    real = checked(real, "real samples", at_least)
    fake = checked(fake, "generated samples", at_least)
    # Around their mean, less is lost to rounding where distances are differences of large squares.
    mean = real.mean(axis=0, dtype=np.float64)
    real, fake = (jnp.asarray((x - mean).astype(np.float32)) for x in (real, fake))
    near_real, near_fake = _nearest(real, at_least - 1), _nearest(fake, precision_k)
    radii = near_real[:, precision_k - 1], near_real[:, density_k - 1], near_fake[:, -1]
    precise, surrounding, recalled, covered = map(np.asarray, _meetings(real, fake, *radii))
    return Neighbours(
        precision=float(precise.mean()),
        recall=float(recalled.mean()),
        density=float(surrounding.sum(dtype=np.int64) / (density_k * len(fake))),
        coverage=float(covered.mean()),
    )


@partial(jax.jit, static_argnames="k")
def _nearest(x: jax.Array, k: int) -> jax.Array:
    """Returns the squared distances `[n, k]` of each row to the nearest of the others, in order."""

    def nearest(_, block):
        rows, numbers = block
        itself = numbers[:, None] == jnp.arange(len(x))
        distances = jnp.where(itself, jnp.inf, _squared_distances(rows, x))
        # All k are handed out: XLA sorts whole rows for a single one of them.
        return None, -lax.top_k(-distances, k)[0]

    _, distances = lax.scan(nearest, None, _blocks(x, jnp.arange(len(x))))
    return distances.reshape(-1, k)[: len(x)]


@jax.jit
def _meetings(real, fake, real_precision, real_density, fake_precision) -> tuple:
    """Returns who lies where, all radii being squared.

    Of each generated example whether it lies in a real neighbourhood, and in how many; of each real
    one whether it lies in a generated neighbourhood, and whether a generated one lies in its own.
    """

    def meet(seen, block):
        rows, radius, exists = block
        distances = jnp.where(exists[:, None], _squared_distances(rows, real), jnp.inf)
        within = distances < real_density
        recalled, covered = seen
        recalled |= (distances <= radius[:, None]).any(axis=0)
        covered |= within.any(axis=0)
        precise = (distances <= real_precision).any(axis=1)
        return (recalled, covered), (precise, within.sum(axis=1))

    none = jnp.zeros(len(real), bool)
    blocks = _blocks(fake, fake_precision, jnp.ones(len(fake), bool))
    (recalled, covered), rows = lax.scan(meet, (none, none), blocks)
    precise, surrounding = (each.reshape(-1)[: len(fake)] for each in rows)
    return precise, surrounding, recalled, covered


def _blocks(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns arrays `[n, ...]` as `[blocks, BLOCK, ...]`, zeros at the end."""
    missing = -len(arrays[0]) % BLOCK
    return tuple(
        jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, BLOCK, *x.shape[1:])
        for x in arrays
    )


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)
    return jnp.maximum(squares - 2 * jnp.matmul(x, y.T, precision="highest"), 0)
