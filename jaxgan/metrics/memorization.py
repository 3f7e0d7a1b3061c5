"""How near samples are to the training data: whether a generator copies them."""

from typing import NamedTuple

import numpy as np

PERCENT_FARTHER = 99
"""A copy is nearer to the training data than this percentage of the test data."""


class Memorization(NamedTuple):
    """The metrics of `memorization`.

    copies: the fraction of samples that are copies; 0.01 for real data. train_distance: the median
    distance of samples to the nearest training example, divided by that of the test data; 1 for
    real data. A smaller value means that samples are near to the training data.
    """

    copies: float
    train_distance: float


def memorization(train_distances: np.ndarray, test_distances: np.ndarray) -> Memorization:
    """Returns how near samples are to the training data, compared with test data.

    A sample counts as a copy if 99 % of the test data are farther from the training data.
    train_distances: `[n]`, from each sample to the nearest training example. test_distances: `[m]`,
    the same for real examples that were not trained on.
    """
    ordered = np.sort(test_distances)
    farther = len(ordered) - np.searchsorted(ordered, train_distances, side="right")
    copies = 100 * farther >= PERCENT_FARTHER * len(ordered)
    typical = np.median(ordered)
    ratio = np.median(train_distances) / typical if typical > 0 else np.nan
    return Memorization(float(copies.mean()), float(ratio))
