"""What a classifier says of samples: the Inception score, classes asked for, how many of each."""

import numpy as np

from jaxgan.errors import UsageError
from jaxgan.metrics.features import checked, log_softmax


def classifier_score(logits: np.ndarray) -> float:
    """Returns exp of the mean KL divergence of p(class | sample) from p(class), of logits `[n, c]`.

    The Inception score (Salimans et al. 2016) where they are Inception's; of all samples at once,
    not of ten parts. From 1 to the number of classes.
    """
    log_p = log_softmax(checked(logits, "generated samples"))
    p = np.exp(log_p)
    log_marginal = np.log(np.maximum(p.mean(axis=0), np.finfo(float).tiny))
    return float(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))


def asked_accuracy(classes: np.ndarray, asked: np.ndarray) -> float:
    """Returns the share of samples whose classes `[n]` are those that were asked for, `[n]`."""
    classes, asked = np.asarray(classes), np.asarray(asked)
    if classes.shape != asked.shape or classes.ndim != 1 or not len(classes):
        raise UsageError(f"classes of shape {classes.shape}, asked for were {asked.shape}")
    return float((classes == asked).mean())


def histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many of labels `[n]` are of each class, int64 `[num_classes]`.

    Raises `UsageError` where there are none, or some outside of the classes.
    """
    labels = np.asarray(labels)
    if labels.size == 0 or not 0 <= labels.min() <= labels.max() < num_classes:
        raise UsageError(f"there must be labels, at least 0 and below {num_classes}")
    return np.bincount(labels, minlength=num_classes)


def kl_divergence(counts: np.ndarray, expected: np.ndarray | None = None) -> float:
    """Returns the KL divergence, in nats, of the frequencies of classes from expected ones.

    counts: `[classes]`. expected: frequencies or counts `[classes]`, uniform unless given; a class
    that has samples but is not expected makes it infinite.
    """
    p = np.asarray(counts, np.float64) / np.sum(counts)
    q = np.full(len(p), 1.0) if expected is None else np.asarray(expected, np.float64)
    q = q / q.sum()
    some = p > 0
    with np.errstate(divide="ignore"):
        return float((p[some] * np.log(p[some] / q[some])).sum())


def corrected_kl_divergence(counts: np.ndarray, expected: np.ndarray | None = None) -> float:
    """Returns the KL divergence less the bias of estimating it from so many samples.

    To first order a perfect model scores (classes seen - 1) / (2 n), for the entropy of few samples
    is too small (Miller 1955, Madow 1948). May be below zero.
    """
    counts = np.asarray(counts)
    bias = (np.count_nonzero(counts) - 1) / (2 * counts.sum())
    return kl_divergence(counts, expected) - float(bias)
