"""The metrics of samples."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.evaluation.protocol import Features
from jaxgan.evaluation.reference import Reference, compare
from jaxgan.evaluation.samples import draw_samples, evaluation_key, request_classes
from jaxgan.keys import stream
from jaxgan.metrics import compute_metrics
from jaxgan.metrics.classes import count_classes
from jaxgan.metrics.prdc import nearest_in
from jaxgan.metrics.wasserstein import wasserstein
from jaxgan.runs.description import Description

CLOSEST = 10
"""The number of samples that are shown beside the nearest training example."""


class Closest(NamedTuple):
    """The samples closest to a training example, `[k, ...]`, and the indices of these, `[k]`."""

    samples: np.ndarray
    indices: np.ndarray


class Scores(NamedTuple):
    """The metrics of samples, by name.

    class_counts: the number of samples classified as each class, None without a classifier of
    classes. by_feature: the Wasserstein distance of each value, None for images and mixtures.
    closest: None if copies of training examples are not searched for.
    """

    metrics: dict[str, float]
    class_counts: list[int] | None = None
    by_feature: list[float] | None = None
    closest: Closest | None = None


def score_generator(
    draw: Callable, run: Description, reference: Reference, seed: int, train_classifier: bool
) -> Scores:
    """Returns the metrics of a generator's samples.

    draw: `(key, num_samples[, labels]) -> samples`. seed: of the samples' latents.
    train_classifier: whether to compute the classification accuracy score of a conditional GAN
    (Ravuri and Vinyals 2019), for which a classifier is trained on samples.
    """
    protocol, train = reference.protocol, reference.splits.train
    key, count = evaluation_key(seed), protocol.num_samples(reference.count)
    requested = request_classes(run, train, key, count)
    samples, accuracy = draw_samples(draw, key, count, requested), None
    fake = protocol.extract_features(samples)
    if requested is not None and train_classifier and protocol.classification_accuracy:
        labels = np.arange(reference.count) % train.num_classes
        images = draw_samples(draw, stream(key, "cas"), reference.count, labels)
        accuracy = protocol.classification_accuracy(images, labels)
    return score_samples(reference, samples, fake, seed, requested, accuracy)


def score_samples(
    reference: Reference,
    samples: np.ndarray,
    fake: Features,
    seed: int = 0,
    requested: np.ndarray | None = None,
    classification_accuracy: float | None = None,
) -> Scores:
    """Returns the metrics of samples `[n, ...]`.

    fake: their features. seed: of metrics that draw random numbers. requested: `[n]`, the classes
    that a conditional generator was asked for. classification_accuracy: the score CAS, if known.
    """
    distances, closest = None, None
    if reference.neighbors is not None:
        near = fake.features[: reference.count]
        distances, indices = nearest_in(near, reference.neighbors.train)
        first = np.argsort(distances, kind="stable")[:CLOSEST]
        closest = Closest(samples[first], indices[first])
    comparison = compare(reference, fake, seed, requested, distances)
    comparison = comparison._replace(classification_accuracy=classification_accuracy)
    counts, by_feature = None, None
    if fake.classes is not None:
        counts = count_classes(fake.classes, reference.splits.train.num_classes).tolist()
    if comparison.real_values is not None:
        values = comparison.real_values, comparison.fake_values
        by_feature = wasserstein(*values).by_feature.tolist()
    return Scores(compute_metrics(comparison), counts, by_feature, closest)
