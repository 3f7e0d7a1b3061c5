"""The Frechet distance of two sets of features, FID where they are Inception's."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.features import checked


class Gaussian(NamedTuple):
    """mean: float64 `[d]`. covariance: float64 `[d, d]`, that of a sample (n - 1)."""

    mean: np.ndarray
    covariance: np.ndarray


def gaussian(features: np.ndarray, what: str = "samples") -> Gaussian:
    """Returns the mean and covariance of features `[n, d]`, computed in float64.

    Raises `UsageError` where `n` is not above `d`, for then the covariance is singular and the
    distance mostly bias, and for features that are not finite or all the same.
    """
    features = np.asarray(features)
    at_least = features.shape[-1] + 1 if features.ndim == 2 else 2
    features = checked(features, what, at_least).astype(np.float64)
    return Gaussian(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Returns |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, section 3).

    The trace of the root is the sum of the roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2),
    which is symmetric: no root of a general matrix, and no imaginary parts to drop.
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

    It is biased upwards at small counts: compare only what was computed of equally many.
    """
    return frechet_distance(gaussian(real, "real samples"), gaussian(fake, "generated samples"))
