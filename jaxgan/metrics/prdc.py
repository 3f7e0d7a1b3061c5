"""Precision, recall, density and coverage, from the neighborhoods of real and generated samples.

Distances are computed by compiled functions, in blocks: the memory needed is that of the features,
of a copy of one of the two sets, and of `BLOCK` rows of distances.
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
    """The metrics of `prdc`.

    precision, recall: Kynkaanniemi et al. 2019, k = 3.
    density, coverage: Naeem et al. 2020, k = 5.
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
    """Returns how well generated features `[m, d]` match real features `[n, d]`.

    The neighborhood of an example is the ball whose radius is the distance to the k-th nearest
    neighbor in its own set. It includes its border, and may be a point if examples are repeated.
    precision: fraction of generated examples that lie in a neighborhood of a real one.
    recall: fraction of real examples that lie in a neighborhood of a generated one.
    density: number of real neighborhoods that contain a generated example, averaged over the
        generated examples and divided by k; it may exceed one.
    coverage: fraction of real neighborhoods that contain a generated example.
    Raises `UsageError` for features that are not valid, or too few for k.
    """
    at_least = max(precision_k, density_k) + 1
    real = check_features(real, "real samples", at_least)
    fake = check_features(fake, "generated samples", at_least)
    real, fake = (np.asarray(x, np.float32) for x in (real, fake))
    # Distances are differences of large squares; centered features reduce their rounding errors.
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
    """Returns the squared distances `[n, k]` of each row to its k nearest others, ascending."""
    distances = np.empty((len(x), k), np.float32)
    for rows in _blocks(len(x)):
        distances[rows] = _nearest(x[rows], rows.start, x, k)
    return distances


def nearest_in(x: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each row of `[m, d]` the row of `[n, d]` that is nearest to it.

    Returns the Euclidean distances, float32 `[m]`, and the indices of the nearest rows, `[m]`.
    """
    x, others = (np.asarray(each, np.float32) for each in (x, others))
    mean = others.mean(axis=0, dtype=np.float64).astype(np.float32)
    whole = jax.device_put(others - mean)
    squares, indices = np.empty(len(x), np.float32), np.empty(len(x), np.int64)
    for rows in _blocks(len(x)):
        squares[rows], indices[rows] = _nearest_in(x[rows] - mean, whole)
    return np.sqrt(squares), indices


@jax.jit
def _nearest_in(rows: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
    distances = _squared_distances(rows, others)
    return distances.min(axis=1), distances.argmin(axis=1)


@partial(jax.jit, static_argnames="k")
def _nearest(rows: jax.Array, start: int, others: jax.Array, k: int) -> jax.Array:
    """Returns the distances of `nearest` for some rows of `others`, beginning with `start`."""
    itself = (start + jnp.arange(len(rows)))[:, None] == jnp.arange(len(others))
    distances = jnp.where(itself, jnp.inf, _squared_distances(rows, others))
    return -lax.top_k(-distances, k)[0]


@jax.jit
def _meetings(rows, radii, real, precision_radii, density_radii) -> tuple:
    """Returns the memberships in neighborhoods of a block of generated examples and all real ones.

    For each generated example: whether it lies in a real neighborhood, and in how many. For each
    real example: whether it lies in a generated neighborhood, and whether a generated example lies
    in its own neighborhood. All radii are squared.
    """
    distances = _squared_distances(rows, real)
    within = distances <= density_radii
    precise = (distances <= precision_radii).any(axis=1)
    recalled = (distances <= radii[:, None]).any(axis=0)
    return precise, within.sum(axis=1), recalled, within.any(axis=0)


def _blocks(count: int) -> Iterator[slice]:
    """Yields blocks of rows, all of the same size; the last one may overlap the one before."""
    size = min(BLOCK, count)
    for start in range(0, count, size):
        start = min(start, count - size)
        yield slice(start, start + size)


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the squared distances `[m, n]` of few rows `[m, d]` to many rows `[n, d]`.

    Distances below `tolerance` times the squared norms are set to 0, as they are for equal rows.
    """
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)
    # A CPU needs half the time with the larger matrix on the left; the barrier keeps XLA from
    # swapping the two.
    products = lax.optimization_barrier(jnp.matmul(y, x.T, precision="highest")).T
    distances = squares - 2 * products
    return jnp.where(distances > tolerance(x.shape[1]) * squares, distances, 0)


def tolerance(size: int) -> float:
    """Returns the rounding error of |x|^2 + |y|^2 - 2 x.y as a fraction of |x|^2 + |y|^2.

    size: number of features. The error of each of the three sums of `size` float32 products is a
    random walk of rounding errors. Together they were measured as about sqrt(size) eps / 4, for 16
    to 2,048 features. The limit is 2 sqrt(size) eps; differences below it are not significant.
    """
    return 2 * size**0.5 * float(np.finfo(np.float32).eps)
