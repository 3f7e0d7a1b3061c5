"""The kernel distance of two sets of features: KID, if they are those of Inception."""

import math
from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import check_features

SUBSETS = 100
SUBSET_SIZE = 1000
"""The defaults of torch-fidelity and clean-fid."""


class KID(NamedTuple):
    """The mean over subsets, and their standard deviation: NaN for a single subset."""

    kid: float
    std: float


def kid(
    real: np.ndarray,
    fake: np.ndarray,
    rng: np.random.Generator,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
) -> KID:
    """Returns the mean unbiased squared MMD of random subsets of features (Binkowski et al. 2018).

    It may be negative. Subsets are drawn without replacement; a set no larger than a subset is used
    whole, and if both sets are, there is a single estimate. The fewer features, the larger the
    error. Raises `UsageError` for features that are not finite or all the same.
    """
    real, fake = check_features(real, "real samples"), check_features(fake, "generated samples")
    if max(len(real), len(fake)) <= subset_size:
        return KID(squared_mmd(real, fake), math.nan)

    def subset(x: np.ndarray) -> np.ndarray:
        return x[rng.choice(len(x), min(subset_size, len(x)), replace=False)]

    values = [squared_mmd(subset(real), subset(fake)) for _ in range(subsets)]
    return KID(float(np.mean(values)), float(np.std(values)))


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
