"""The Wasserstein distances of single features, for data whose values have a meaning each."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import check_features


class Wasserstein(NamedTuple):
    """The metrics of `wasserstein`.

    wasserstein, wasserstein_worst: mean and largest of the distances. by_feature: `[d]`, all.
    """

    wasserstein: float
    wasserstein_worst: float
    by_feature: np.ndarray


def wasserstein(real: np.ndarray, fake: np.ndarray) -> Wasserstein:
    """Returns the Wasserstein-1 distance of each feature of samples `[n, d]` and `[n, d]`.

    For equally many samples, it is the mean distance between the sorted values of the two (Peyre
    and Cuturi 2019, "Computational optimal transport", remark 2.28). Of standardized features, a
    distance of 1 is one standard deviation.
    """
    real, fake = (
        np.sort(check_features(each, what, 1), axis=0)
        for each, what in ((real, "real samples"), (fake, "generated samples"))
    )
    distances = np.abs(real - fake).mean(axis=0, dtype=np.float64)
    return Wasserstein(float(distances.mean()), float(distances.max()), distances)
