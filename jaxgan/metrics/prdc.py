"""Precision, recall, density and coverage: who lies in whose neighbourhood.

Distances are computed in blocks, compiled: the memory is that of the features, of a copy of one of
the sets, and of `BLOCK` rows of distances.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.metrics.features import check_features

BLOCK = 500
PRECISION_K = 3
DENSITY_K = 5


class PRDC(NamedTuple):
    """precision, recall: Kynkaanniemi et al. 2019, k = 3. density, coverage: Naeem et al. 2020,
    k = 5.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> PRDC:
    """Returns how much of each set of features `[n, d]`, `[m, d]` lies near the other.

    precision, recall: share of one set within the distance from some example of the other to the
        k-th neighbour of its own kind.
    density: how many real neighbourhoods hold a generated example, on average, over k; may exceed
        one. coverage: share of real neighbourhoods that hold at least one.
    A neighbourhood includes its border, in all four: where examples are repeated it is a point.
    Raises `UsageError` for features that cannot be judged, as where there are too few for k.
    """
    at_least = max(precision_k, density_k) + 1
    real = check_features(real, "real samples", at_least)
    fake = check_features(fake, "generated samples", at_least)
    real, fake = (np.asarray(x, np.float32) for x in (real, fake))
    # Around the mean, less is lost to rounding where distances are differences of large squares.
    mean = real.mean(axis=0, dtype=np.float64).astype(np.float32)
    fake_radii = nearest(jax.device_put(fake - mean), precision_k)[:, -1]
    whole = jax.device_put(real - mean)
    near_real = nearest(whole, at_least - 1)
    radii = jnp.asarray(near_real[:, [precision_k - 1, density_k - 1]].T)
    precise, surrounding = np.empty(len(fake), bool), np.empty(len(fake), np.int64)
    recalled, covered = np.zeros((2, len(real)), bool)
    for rows in _blocks(len(fake)):
        found = _meetings(fake[rows] - mean, fake_radii[rows], whole, *radii)
        precise[rows], surrounding[rows] = found[:2]
        recalled |= found[2]
        covered |= found[3]
    return PRDC(
        precision=float(precise.mean()),
        recall=float(recalled.mean()),
        density=float(surrounding.sum() / (density_k * len(fake))),
        coverage=float(covered.mean()),
    )


def nearest(x: jax.Array, k: int) -> np.ndarray:
    """Returns the squared distances `[n, k]` of each row to the nearest of the others, in order."""
    distances = np.empty((len(x), k), np.float32)
    for rows in _blocks(len(x)):
        distances[rows] = _nearest(x[rows], rows.start, x, k)
    return distances


@partial(jax.jit, static_argnames="k")
def _nearest(rows: jax.Array, start: int, others: jax.Array, k: int) -> jax.Array:
    """Returns the distances of rows to the nearest of others, in which they begin at `start`."""
    itself = (start + jnp.arange(len(rows)))[:, None] == jnp.arange(len(others))
    distances = jnp.where(itself, jnp.inf, _squared_distances(rows, others))
    return -lax.top_k(-distances, k)[0]


@jax.jit
def _meetings(rows, radii, real, precision_radii, density_radii) -> tuple:
    """Returns who lies where, of a block of generated examples and all real ones.

    Of each generated example whether it lies in a real neighbourhood, and in how many; of each real
    one whether it lies in a generated neighbourhood, and whether a generated one lies in its own.
    All radii are squared.
    """
    distances = _squared_distances(rows, real)
    within = distances <= density_radii
    precise = (distances <= precision_radii).any(axis=1)
    recalled = (distances <= radii[:, None]).any(axis=0)
    return precise, within.sum(axis=1), recalled, within.any(axis=0)


def _blocks(count: int) -> Iterator[slice]:
    """Yields blocks of rows, all of one size; the last may overlap the one before."""
    size = min(BLOCK, count)
    for start in range(0, count, size):
        start = min(start, count - size)
        yield slice(start, start + size)


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns those of few rows `[m, d]` to many `[n, d]`, `[m, n]`.

    What lies below `tolerance` of the squared norms is 0, so that equal rows are at no distance.
    """
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)
    # A CPU needs half the time with the larger matrix on the left, where XLA would not put it.
    products = lax.optimization_barrier(jnp.matmul(y, x.T, precision="highest")).T
    distances = squares - 2 * products
    return jnp.where(distances > tolerance(x.shape[1]) * squares, distances, 0)


def tolerance(size: int) -> float:
    """Returns which share of |x|^2 + |y|^2 the rounding of |x|^2 + |y|^2 - 2 x.y reaches.

    size: of the features. Each of the three sums of `size` float32 products is off by a random walk
    of roundings, about sqrt(size) eps / 4 together where it was measured, at 16 to 2,048 features:
    twice sqrt(size) eps is safe, and below it a difference says nothing.
    """
    return 2 * size**0.5 * float(np.finfo(np.float32).eps)
