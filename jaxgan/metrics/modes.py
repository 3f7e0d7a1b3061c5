"""Which modes of the data samples reach: of mixtures of Gaussians, and of stacked MNIST."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.classes import corrected_kl_divergence, count_classes, kl_divergence
from jaxgan.metrics.features import check_features

DEVIATIONS = 3.0
"""Within so many standard deviations of a mean a sample is of high quality."""


class MixtureModes(NamedTuple):
    """modes: Gaussians with at least one sample of high quality. high_quality: share of samples
    that are; of the data themselves 1 - exp(-9/2), 98.9 %: more is too concentrated.
    reverse_kl: divergence, in nats, of the samples' frequencies from the data's, each counted for
    the nearest Gaussian. covariance_ratio: the variance of a Gaussian's samples of high quality
    over that of the data, mean over the modes; below one is too concentrated.
    """

    modes: int
    high_quality: float
    reverse_kl: float
    covariance_ratio: float


def mixture_modes(points: np.ndarray, means: np.ndarray, scale: float) -> MixtureModes:
    """Returns how points `[n, 2]` fall on Gaussians of equal weight at `[modes, 2]`.

    scale: their standard deviation. Distances are Euclidean (Srivastava et al. 2017, VEEGAN; Lin
    et al. 2018, PacGAN). Raises `UsageError` for points that are not finite, or all the same.
    """
    points = check_features(points, "generated samples").astype(np.float64)
    means = np.asarray(means, np.float64)
    distances = np.linalg.norm(points[:, None] - means, axis=-1)
    nearest = distances.argmin(axis=1)
    good = distances.min(axis=1) < DEVIATIONS * scale
    counts = count_classes(nearest, len(means))
    captured = np.unique(nearest[good])
    groups = (points[good & (nearest == mode)] for mode in captured)
    spreads = [own.var(axis=0, ddof=1).mean() for own in groups if len(own) > 1]
    ratio = np.mean(spreads) / (scale**2 * _variance_within(DEVIATIONS)) if spreads else np.nan
    return MixtureModes(
        modes=len(captured),
        high_quality=float(good.mean()),
        reverse_kl=kl_divergence(counts),
        covariance_ratio=float(ratio),
    )


def _variance_within(deviations: float) -> float:
    """Returns the variance in each direction of a standard normal in the plane, cut off there."""
    half = deviations**2 / 2
    return 1 - half * np.exp(-half) / -np.expm1(-half)


class StackedModes(NamedTuple):
    """modes: of 1,000, that samples were classified as. kl_uniform: divergence of their frequencies
    from uniform ones, as published tables have it (at 26,000 samples). kl_data: from those of the
    data. kl_corrected: that, less the bias of the count. floor: what a perfect model would score as
    kl_uniform with so many samples.
    """

    modes: int
    kl_uniform: float
    kl_data: float
    kl_corrected: float
    floor: float


def stacked_modes(labels: np.ndarray, frequencies: np.ndarray) -> StackedModes:
    """Returns how classified triples `[n]` are spread over the modes.

    frequencies: of the modes in the data, `[1000]`, none of them zero.
    """
    counts = count_classes(labels, len(frequencies))
    floor = kl_divergence(frequencies) + (len(frequencies) - 1) / (2 * counts.sum())
    return StackedModes(
        modes=int(np.count_nonzero(counts)),
        kl_uniform=kl_divergence(counts),
        kl_data=kl_divergence(counts, frequencies),
        kl_corrected=corrected_kl_divergence(counts, frequencies),
        floor=float(floor),
    )
