"""What the metrics ask of features, and of probabilities of classes."""

import numpy as np

from jaxgan.errors import UsageError


def checked(features: np.ndarray, what: str, at_least: int = 2) -> np.ndarray:
    """Returns features `[n, d]` as they are.

    Raises `UsageError` where a metric of them would be a number that means nothing: other shapes,
    NaN or infinity, fewer rows than `at_least`, or rows that are all the same.
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise UsageError(f"features of {what} must be [n, d] and are of shape {features.shape}")
    if len(features) < at_least:
        raise UsageError(f"{len(features)} {what} are too few: this needs {at_least} or more")
    if not np.isfinite(features).all():
        raise UsageError(f"the features of {what} hold NaN or infinity: they cannot be judged")
    if (features == features[0]).all():
        raise UsageError(f"the features of all {what} are the same: they cannot be judged")
    return features


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the probabilities of classes, float64 `[n, classes]`."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
