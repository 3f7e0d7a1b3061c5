"""The kernel distance of two sets of features, KID where they are Inception's."""

import math
from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import checked

SUBSETS = 100
SUBSET_SIZE = 1000
"""As torch-fidelity and clean-fid have them."""


class Kernel(NamedTuple):
    """mean: over the subsets. std: their standard deviation, NaN where the one is the whole set."""

    mean: float
    std: float


def kid(
    real: np.ndarray,
    fake: np.ndarray,
    rng: np.random.Generator,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
) -> Kernel:
    """Returns the unbiased squared MMD of random subsets of features (Binkowski et al. 2018).

    It may be negative. Subsets are drawn without replacement, of a set that is no larger than a
    subset all of it; where both are, there is one estimate, and no deviation. The fewer features,
    the larger its error. Raises `UsageError` for features that cannot be judged.
    """
    real, fake = checked(real, "real samples"), checked(fake, "generated samples")
    if max(len(real), len(fake)) <= subset_size:
        return Kernel(squared_mmd(real, fake), math.nan)

    def subset(x: np.ndarray) -> np.ndarray:
        return x[rng.choice(len(x), min(subset_size, len(x)), replace=False)]

    values = [squared_mmd(subset(real), subset(fake)) for _ in range(subsets)]
    return Kernel(float(np.mean(values)), float(np.std(values)))


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the unbiased squared MMD of features `[m, d]` and `[n, d]` in float64.

    With the kernel (x . y / d + 1)^3 of Binkowski et al. 2018, section 4.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    m, n = len(x), len(y)
    xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    within_x = (xx.sum() - np.trace(xx)) / (m * (m - 1))
    within_y = (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(within_x + within_y - 2 * xy.mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base
