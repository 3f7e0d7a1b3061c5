"""The Wasserstein distance of each feature, for data whose features have a meaning of their own."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import check_features


class Wasserstein(NamedTuple):
    """The metrics of `wasserstein`.

    wasserstein, wasserstein_worst: the mean and the largest distance. by_feature: float64 `[d]`,
    the distance of each feature.
    """

    wasserstein: float
    wasserstein_worst: float
    by_feature: np.ndarray


def wasserstein(real: np.ndarray, fake: np.ndarray) -> Wasserstein:
    """Returns the Wasserstein-1 distance between real and generated samples, for each feature.

    real, fake: `[n, d]` and `[m, d]`. The distance is the mean difference between the quantiles
    (Peyre and Cuturi 2019, "Computational optimal transport", remark 2.30), that is, for equally
    many samples, between the sorted values. For standardized features, a distance of 1 is one
    standard deviation.
    Raises `UsageError` as `check_features` does.
    """
    real, fake = (
        np.sort(check_features(each, what, 1), axis=0)
        for each, what in ((real, "real samples"), (fake, "generated samples"))
    )
    if len(real) == len(fake):
        distances = np.abs(real - fake).mean(axis=0, dtype=np.float64)
    else:
        # Between two of these levels, counted in units of 1 / (n m), both quantiles are constant.
        n, m = len(real), len(fake)
        levels = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
        differences = np.abs(real[levels[:-1] // m] - fake[levels[:-1] // n])
        distances = np.average(differences, axis=0, weights=np.diff(levels)).astype(np.float64)
    return Wasserstein(float(distances.mean()), float(distances.max()), distances)
