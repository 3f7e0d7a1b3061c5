"""The metrics of samples, as one table of pure functions of features.

To add a metric, write a function in a file of its own and add a line to `METRICS`. The function
takes fields of `Comparison`, which the line names. The table of `jaxgan.evaluate`, the scores in
`metrics.jsonl` and `evaluation.json`, and the panels of `curves.png` follow from `METRICS`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from jaxgan.metrics.classes import class_accuracy, class_kl
from jaxgan.metrics.fid import Gaussian, fid, fid_from_statistics, intra_fid
from jaxgan.metrics.inception_score import inception_score, score_of_parts
from jaxgan.metrics.kid import kid
from jaxgan.metrics.memorization import memorization
from jaxgan.metrics.modes import mixture_modes, stacked_modes
from jaxgan.metrics.prdc import prdc
from jaxgan.metrics.wasserstein import wasserstein


class Comparison(NamedTuple):
    """Samples and the data that they are compared with. What does not apply is None.

    real, fake: features `[n, d]` of real and of generated samples. real_statistics: the mean and
    covariance of real features, where they replace these. rng: for metrics that draw.
    logits: `[n, classes]`, of the generated samples. classes: `[n]`, what the generated samples
    were classified as. labels: `[m]`, the labels of the data. num_classes: of the data.
    requested: `[n]`, the classes that a conditional generator was asked for. real_labels: `[n]`,
    the classes of the real samples.
    classification_accuracy: the accuracy on real test images of a classifier trained on samples.
    points, means, scale: samples `[n, 2]` of a mixture of Gaussians, its means `[modes, 2]` and
    their standard deviation. real_values, fake_values: `[n, v]`, samples whose values are compared
    one by one. triples: `[n]`, classes of samples of stacked MNIST.
    class_frequencies: `[1000]`, the frequencies of these classes in the data.
    train_distances, test_distances: `[n]` and `[m]`, the distances of the features of generated
    samples, and of real images of the test split, to the nearest ones of the training split.
    """

    real: np.ndarray | None = None
    fake: np.ndarray | None = None
    rng: np.random.Generator | None = None
    logits: np.ndarray | None = None
    classes: np.ndarray | None = None
    labels: np.ndarray | None = None
    num_classes: int | None = None
    requested: np.ndarray | None = None
    classification_accuracy: float | None = None
    points: np.ndarray | None = None
    means: np.ndarray | None = None
    scale: float | None = None
    triples: np.ndarray | None = None
    class_frequencies: np.ndarray | None = None
    real_values: np.ndarray | None = None
    fake_values: np.ndarray | None = None
    real_statistics: Gaussian | None = None
    real_labels: np.ndarray | None = None
    train_distances: np.ndarray | None = None
    test_distances: np.ndarray | None = None


class Metric(NamedTuple):
    """One line of the table of metrics.

    name: in `evaluation.json` and `metrics.jsonl`. title: in tables. digits: after the point.
    direction: which values are better; "" for a value that is right at that of real data.
    function: from the named fields of a `Comparison` to a number, or to a named tuple that has the
    metric as a field. It is not called, and the metric has no value, if one of the fields is None.
    panel: for a metric that is quick enough for training, the title of its panel in `curves.png`.
    scale: factor of the number in tables.
    """

    name: str
    title: str
    digits: int
    direction: Literal["lower", "higher", ""]
    function: Callable
    inputs: tuple[str, ...]
    panel: str = ""
    scale: float = 1

    @property
    def quick(self) -> bool:
        """Whether the metric is also computed during training."""
        return bool(self.panel)

    def format(self, mean: float, std: float | None = None) -> str:
        """Returns a value as tables show it, with its standard deviation if there is one."""
        mean, digits = mean * self.scale, self.digits
        if abs(mean) >= 1000:
            digits = 0
        return f"{mean:,.{digits}f}" + ("" if std is None else f" ± {std * self.scale:,.{digits}f}")


FEATURES = ("real", "fake")
MIXTURE = ("points", "means", "scale")
CLASSES = ("classes", "requested")
VALUES = ("real_values", "fake_values")
STACKED = ("triples", "class_frequencies")
BY_CLASS = ("real", "real_labels", "fake", "requested")
DISTANCES = ("train_distances", "test_distances")
SHARES = "fraction of samples"
METRICS = (
    Metric("fid", "FID", 2, "lower", fid_from_statistics, ("real_statistics", "fake")),
    Metric("fid", "FID", 2, "lower", fid, FEATURES, "Frechet distance"),
    Metric("intra_fid", "intra FID", 2, "lower", intra_fid, BY_CLASS),
    Metric("kid", "KID x 1000", 2, "lower", kid, (*FEATURES, "rng"), scale=1000),
    Metric("score", "IS", 2, "higher", inception_score, ("logits",)),
    Metric("score_of_parts", "IS of 10 parts", 2, "higher", score_of_parts, ("logits",)),
    Metric("precision", "precision", 3, "higher", prdc, FEATURES, SHARES),
    Metric("recall", "recall", 3, "higher", prdc, FEATURES, SHARES),
    Metric("density", "density", 3, "higher", prdc, FEATURES),
    Metric("coverage", "coverage", 3, "higher", prdc, FEATURES),
    Metric("wasserstein", "W1", 3, "lower", wasserstein, VALUES, "Wasserstein distance"),
    Metric(
        "wasserstein_worst", "worst W1", 3, "lower", wasserstein, VALUES, "Wasserstein distance"
    ),
    Metric("class_kl", "class KL", 3, "lower", class_kl, ("classes", "labels", "num_classes")),
    Metric(
        "asked_accuracy", "class accuracy", 3, "higher", class_accuracy, ("classes", "requested")
    ),
    Metric("cas", "CAS", 3, "higher", float, ("classification_accuracy",)),
    Metric("copies", "copies", 3, "", memorization, DISTANCES),
    Metric("train_distance", "train distance", 3, "", memorization, DISTANCES),
    Metric("modes", "modes", 1, "higher", mixture_modes, MIXTURE, "modes"),
    Metric("high_quality", "high quality", 3, "", mixture_modes, MIXTURE, SHARES),
    Metric("reverse_kl", "reverse KL", 3, "lower", mixture_modes, MIXTURE),
    Metric("covariance_ratio", "covariance ratio", 3, "", mixture_modes, MIXTURE),
    Metric("modes", "modes", 1, "higher", stacked_modes, STACKED),
    Metric("kl_uniform", "KL uniform", 3, "lower", stacked_modes, STACKED),
    Metric("kl_data", "KL data", 3, "lower", stacked_modes, STACKED),
    Metric("kl_corrected", "KL corrected", 3, "lower", stacked_modes, STACKED),
    Metric("floor", "KL floor", 3, "", stacked_modes, STACKED),
)
BY_NAME = {metric.name: metric for metric in METRICS}
"""The lines by name. Lines of one name, such as "modes", are shown alike in tables, and only one of
them applies to a comparison."""


def compute_metrics(comparison: Comparison, quick: bool = False) -> dict[str, float]:
    """Returns the metrics that apply to a comparison, by name.

    A metric without a finite value, such as a variance of no samples, is left out.
    quick: compute those alone that are quick enough for training.
    Raises `UsageError` for samples that a metric cannot be computed of.
    """
    results: dict[Callable, object] = {}
    values = {}
    for metric in METRICS:
        inputs = [getattr(comparison, name) for name in metric.inputs]
        if any(each is None for each in inputs) or (quick and not metric.quick):
            continue
        if metric.function not in results:
            results[metric.function] = metric.function(*inputs)
        result = results[metric.function]
        value = getattr(result, metric.name, result)
        if np.isfinite(value):
            values[metric.name] = value
    return values
