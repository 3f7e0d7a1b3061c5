"""The Inception score: how clearly samples are classified, and into how many classes."""

import itertools

import numpy as np

from jaxgan.metrics.features import check_features

PARTS = 10


def inception_score(logits: np.ndarray) -> float:
    """Returns exp of the mean KL divergence of p(class | sample) from p(class).

    Salimans et al. 2016, where the classifier is Inception; here it may be another one. Computed
    of all samples at once. Between 1 and the number of classes.
    logits: `[n, classes]`. Raises `UsageError` for logits that are not finite or all the same.
    """
    return _score(log_softmax(check_features(logits, "generated samples")))


def score_of_parts(logits: np.ndarray, parts: int = PARTS) -> float:
    """Returns the mean of the Inception scores of consecutive parts of the samples.

    Published scores are means over ten parts, as in the code of Salimans et al. 2016. They are
    smaller than the score of all samples. NaN for fewer than two samples a part.
    logits: `[n, classes]`. Raises `UsageError` as `inception_score` does.
    """
    log_p = log_softmax(check_features(logits, "generated samples"))
    if len(log_p) < 2 * parts:
        return float("nan")
    edges = [i * len(log_p) // parts for i in range(parts + 1)]
    scores = [_score(log_p[a:b]) for a, b in itertools.pairwise(edges)]
    return float(np.mean(scores))


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    log_marginal = np.log(np.maximum(p.mean(axis=0), np.finfo(float).tiny))
    return float(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of class probabilities, float64 `[n, classes]`."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
