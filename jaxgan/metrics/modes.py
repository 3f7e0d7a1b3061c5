"""The modes of the data that samples cover, for mixtures of Gaussians and stacked MNIST."""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.classes import corrected_kl_divergence, count_classes, kl_divergence
from jaxgan.metrics.features import check_features

DEVIATIONS = 3.0
"""A sample within this number of standard deviations of a mean is of high quality."""


class MixtureModes(NamedTuple):
    """How samples cover a mixture of Gaussians.

    modes: number of Gaussians with at least one sample of high quality.
    high_quality: fraction of samples of high quality. For the data it is 1 - exp(-9/2), 98.9 %; a
        higher value means that the samples are too concentrated.
    reverse_kl: KL divergence, in nats, of the Gaussians' frequencies in the samples from those in
        the data. A sample belongs to the nearest Gaussian.
    covariance_ratio: variance of a Gaussian's samples of high quality divided by that of the data,
        mean over the modes. Below one, the samples are too concentrated.
    """

    modes: int
    high_quality: float
    reverse_kl: float
    covariance_ratio: float


def mixture_modes(points: np.ndarray, means: np.ndarray, scale: float) -> MixtureModes:
    """Returns how points `[n, 2]` cover Gaussians of equal weight with means `[modes, 2]`.

    scale: standard deviation of the Gaussians. Distances are Euclidean (Srivastava et al. 2017,
    VEEGAN; Lin et al. 2018, PacGAN).
    Raises `UsageError` for points that are not finite, or all the same.
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
    """Returns the variance per axis of a 2-D standard normal, truncated at radius `deviations`."""
    half = deviations**2 / 2
    return 1 - half * np.exp(-half) / -np.expm1(-half)


class StackedModes(NamedTuple):
    """How classified samples cover the 1,000 modes of stacked MNIST.

    modes: number of modes that at least one sample was classified as.
    kl_uniform: KL divergence of the modes' frequencies in the samples from uniform frequencies, as
        in published tables (for 26,000 samples).
    kl_data: KL divergence from the frequencies in the data.
    kl_corrected: kl_data without the bias that the finite number of samples causes.
    floor: expected kl_uniform of a perfect model, for the same number of samples.
    """

    modes: int
    kl_uniform: float
    kl_data: float
    kl_corrected: float
    floor: float


def stacked_modes(labels: np.ndarray, frequencies: np.ndarray) -> StackedModes:
    """Returns how classified triples `[n]` cover the modes.

    frequencies: frequencies of the modes in the data, `[1000]`, all above zero.
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
