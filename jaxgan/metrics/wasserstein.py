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

    real, fake: `[n, d]`, equally many. The distance is then the mean difference between the sorted
    values (Peyre and Cuturi 2019, "Computational optimal transport", remark 2.28). For standardized
    features, a distance of 1 is one standard deviation.
    Raises `UsageError` as `check_features` does.
    """
    real, fake = (
        np.sort(check_features(each, what, 1), axis=0)
        for each, what in ((real, "real samples"), (fake, "generated samples"))
    )
    distances = np.abs(real - fake).mean(axis=0, dtype=np.float64)
    return Wasserstein(float(distances.mean()), float(distances.max()), distances)
