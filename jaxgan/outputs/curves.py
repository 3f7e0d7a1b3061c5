"""The curves of a run, thinned to so few points that each of them can be seen."""

import warnings
from typing import NamedTuple

import numpy as np

from jaxgan.losses.base import OutputSummary
from jaxgan.outputs.logged_metrics import LoggedMetrics
from jaxgan.runs.plots import NORMS, curve_panels, panel_limits

MOST_POINTS = 60


class Curve(NamedTuple):
    """One metric over training.

    steps: `[n]`. middle: `[n]`, the mean around each of these steps, with several seeds the mean
    over the seeds. low, high: `[n]`, with one seed the smallest and the largest value around each
    of the steps, with several seeds one standard deviation on either side of the mean.
    """

    name: str
    label: str
    steps: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Panel(NamedTuple):
    """Curves that share their axes. limits: of the vertical axis, None for those of the curves."""

    title: str
    curves: list[Curve]
    limits: tuple[float, float] | None
    logarithmic: bool


def make_panels(metrics: LoggedMetrics, outputs: OutputSummary) -> list[Panel]:
    """Returns the panels of a run. outputs: the meaning of the loss's `d_real` and `d_fake`."""
    panels = []
    for title, curves in curve_panels(metrics.names, outputs).items():
        drawn = [make_curve(metrics, *curve) for curve in curves]
        drawn = [curve for curve in drawn if len(curve.steps)]
        if drawn:
            positive = all((curve.middle > 0).any() for curve in drawn)
            limits = panel_limits(title, outputs)
            panels.append(Panel(title, drawn, limits, title == NORMS and positive))
    return panels


def make_curve(metrics: LoggedMetrics, name: str, label: str) -> Curve:
    """Returns the curve of a metric, with at most `MOST_POINTS` points."""
    columns = {}
    for seed, values in metrics.values.items():
        if name in values:
            known = np.isfinite(values[name])
            columns[seed] = metrics.steps[seed][known], values[name][known]
    every = np.unique(np.concatenate([steps for steps, _ in columns.values()]))
    if len(every) <= MOST_POINTS:
        edges = every
    else:
        width = (every[-1] + 1 - every[0]) / MOST_POINTS
        edges = every[0] + np.arange(MOST_POINTS) * width
    bins = lambda steps: np.searchsorted(edges, steps, side="right") - 1
    centers = _means(bins(every), every, len(edges))
    means = np.stack([_means(bins(steps), own, len(edges)) for steps, own in columns.values()])
    if len(columns) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # No seed, or a single one, has it.
            middle = np.nanmean(means, axis=0)
            deviation = np.nanstd(means, axis=0, ddof=1)
        low, high = middle - deviation, middle + deviation
    else:
        (steps, own), (middle,) = next(iter(columns.values())), means
        low, high = np.full(len(edges), np.inf), np.full(len(edges), -np.inf)
        np.minimum.at(low, bins(steps), own)
        np.maximum.at(high, bins(steps), own)
    known = np.isfinite(middle)
    return Curve(name, label, *(each[known] for each in (centers, middle, low, high)))


def _means(bins: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean of the values in each of `count` bins, NaN for an empty one."""
    sizes = np.bincount(bins, minlength=count)
    sums = np.bincount(bins, values, minlength=count)
    return np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)
