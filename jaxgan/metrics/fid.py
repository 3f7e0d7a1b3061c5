"""The Frechet distance of two sets of features: FID, if they are those of Inception."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import check_features


class Gaussian(NamedTuple):
    """A mean, float64 `[d]`, and a sample covariance (n - 1), float64 `[d, d]`."""

    mean: np.ndarray
    covariance: np.ndarray


def fit_gaussian(features: np.ndarray, what: str = "samples") -> Gaussian:
    """Returns the mean and covariance of features `[n, d]`, computed in float64.

    Raises `UsageError` unless `n` exceeds `d`, since the covariance would be singular and the
    distance mostly bias, and for features that are not finite or all the same.
    """
    features = np.asarray(features)
    at_least = features.shape[-1] + 1 if features.ndim == 2 else 2
    return _moments(check_features(features, what, at_least))


def _moments(features: np.ndarray) -> Gaussian:
    features = features.astype(np.float64)
    return Gaussian(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Returns |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, section 3).

    The trace of (C_a C_b)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric
    matrix C_a^(1/2) C_b C_a^(1/2). This avoids the square root of a general matrix and its
    imaginary parts.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace_of_root = np.sqrt(np.maximum(product, 0)).sum()
    difference = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(difference @ difference + traces - 2 * trace_of_root)


def fid(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns the Frechet distance of features `[n, d]` and `[m, d]`.

    It is biased upwards for small samples: compare distances of equally many samples only.
    """
    return fid_from_statistics(fit_gaussian(real, "real samples"), fake)


def fid_from_statistics(real: Gaussian, fake: np.ndarray) -> float:
    """Returns the Frechet distance of features `[n, d]` from the Gaussian of real samples.

    Raises `UsageError` as `fit_gaussian` does.
    """
    return frechet_distance(real, fit_gaussian(fake, "generated samples"))


def intra_fid(
    real: np.ndarray, real_labels: np.ndarray, fake: np.ndarray, requested: np.ndarray
) -> float:
    """Returns the mean over classes of the Frechet distance within a class.

    Intra FID of Miyato and Koyama 2018, section 4.1: the samples that were requested as a class are
    compared with the real samples of that class.
    real, fake: features `[n, d]` and `[m, d]`. real_labels: `[n]`. requested: `[m]`.
    NaN if a class that is in either set has no more samples than features in one of them.
    """
    real, fake, distances = np.asarray(real), np.asarray(fake), []
    for label in np.union1d(real_labels, requested):
        own = real[real_labels == label], fake[requested == label]
        if min(map(len, own)) <= real.shape[1]:
            return float("nan")
        distances.append(frechet_distance(*map(_moments, own)))
    return float(np.mean(distances))
