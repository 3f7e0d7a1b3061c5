"""Metrics of classes: the accuracy of a conditional generator, and divergences of frequencies."""

import numpy as np

from jaxgan.errors import UsageError


def class_accuracy(classes: np.ndarray, requested: np.ndarray) -> float:
    """Returns the fraction of samples classified, `[n]`, as the class requested, `[n]`.

    Raises `UsageError` for arrays of different shapes.
    """
    classes, requested = np.asarray(classes), np.asarray(requested)
    if classes.shape != requested.shape or classes.ndim != 1 or not len(classes):
        raise UsageError(
            f"classes of shape {classes.shape} cannot be compared with requested classes of shape "
            f"{requested.shape}"
        )
    return float((classes == requested).mean())


def class_kl(classes: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Returns the KL divergence of the frequencies of samples' classes from those of the data.

    classes: `[n]`, what samples were classified as. labels: `[m]`, those of the data.
    """
    counts, expected = (count_classes(each, num_classes) for each in (classes, labels))
    return kl_divergence(counts, expected)


def count_classes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the number of labels `[n]` in each class, int64 `[num_classes]`.

    Raises `UsageError` if there are no labels, or some outside of the classes.
    """
    labels = np.asarray(labels)
    if labels.size == 0 or not 0 <= labels.min() <= labels.max() < num_classes:
        raise UsageError(f"there must be labels, each at least 0 and below {num_classes}")
    return np.bincount(labels, minlength=num_classes)


def kl_divergence(counts: np.ndarray, expected: np.ndarray | None = None) -> float:
    """Returns the KL divergence, in nats, of the frequencies of classes from expected ones.

    counts: `[classes]`. expected: frequencies or counts `[classes]`, uniform by default. The
    divergence is infinite if a class has samples but is not expected.
    """
    p = np.asarray(counts, np.float64) / np.sum(counts)
    q = np.full(len(p), 1.0) if expected is None else np.asarray(expected, np.float64)
    q = q / q.sum()
    some = p > 0
    with np.errstate(divide="ignore"):
        return float((p[some] * np.log(p[some] / q[some])).sum())


def corrected_kl_divergence(counts: np.ndarray, expected: np.ndarray | None = None) -> float:
    """Returns the KL divergence minus the bias of estimating it from a finite sample.

    To first order, a perfect model scores (classes seen - 1) / (2 n), because the entropy of a
    sample is too small on average (Miller 1955, Madow 1948). The result may be negative.
    """
    counts = np.asarray(counts)
    bias = (np.count_nonzero(counts) - 1) / (2 * counts.sum())
    return kl_divergence(counts, expected) - float(bias)
