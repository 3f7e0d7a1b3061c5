"""What all metrics of features require of them."""

import numpy as np

from jaxgan.errors import UsageError


def check_features(features: np.ndarray, what: str, at_least: int = 2) -> np.ndarray:
    """Returns features `[n, d]` unchanged.

    Raises `UsageError` if a metric of them would be meaningless: another shape, NaN or infinity,
    fewer rows than `at_least`, or rows that are all the same. what: names the samples.
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise UsageError(f"features of {what} must be [n, d] and are of shape {features.shape}")
    if len(features) < at_least:
        raise UsageError(f"{len(features)} {what} are too few: at least {at_least} are needed")
    if not np.isfinite(features).all():
        raise UsageError(f"the features of {what} contain NaN or infinity: they have no metrics")
    if (features == features[0]).all():
        raise UsageError(f"the features of all {what} are the same: they have no metrics")
    return features
