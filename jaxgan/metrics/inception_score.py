"""The Inception score: how clearly samples are classified, and into how many classes."""

import numpy as np

from jaxgan.metrics.features import check_features


def inception_score(logits: np.ndarray) -> float:
    """Returns exp of the mean KL divergence of p(class | sample) from p(class).

    Salimans et al. 2016, where the classifier is Inception; here it may be another one. Computed
    of all samples at once, not in ten parts. Between 1 and the number of classes.
    logits: `[n, classes]`. Raises `UsageError` for logits that are not finite or all the same.
    """
    log_p = log_softmax(check_features(logits, "generated samples"))
    p = np.exp(log_p)
    log_marginal = np.log(np.maximum(p.mean(axis=0), np.finfo(float).tiny))
    return float(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of class probabilities, float64 `[n, classes]`."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
