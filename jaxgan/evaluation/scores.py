"""The metrics of a generator's samples."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.evaluation.reference import Reference, compare
from jaxgan.evaluation.samples import draw_samples, evaluation_key, request_classes
from jaxgan.keys import stream
from jaxgan.metrics import compute_metrics
from jaxgan.metrics.classes import count_classes
from jaxgan.metrics.wasserstein import wasserstein
from jaxgan.runs.description import Description


class Scores(NamedTuple):
    """The metrics of samples, by name.

    class_counts: the number of samples classified as each class, None without a classifier of
    classes. by_feature: the Wasserstein distance of each value, None for images and mixtures.
    """

    metrics: dict[str, float]
    class_counts: list[int] | None = None
    by_feature: list[float] | None = None


def score_generator(
    draw: Callable, run: Description, reference: Reference, seed: int, train_classifier: bool
) -> Scores:
    """Returns the metrics of samples.

    draw: `(key, num_samples[, labels]) -> samples`. seed: of the samples' latents.
    train_classifier: whether to compute the classification accuracy score of a conditional GAN
    (Ravuri and Vinyals 2019), for which a classifier is trained on samples.
    """
    protocol, train = reference.protocol, reference.splits.train
    key, count = evaluation_key(seed), protocol.num_samples(reference.count)
    requested = request_classes(run, train, key, count)
    fake = protocol.extract_features(draw_samples(draw, key, count, requested))
    accuracy = None
    if requested is not None and train_classifier and protocol.classification_accuracy:
        labels = np.arange(reference.count) % train.num_classes
        images = draw_samples(draw, stream(key, "cas"), reference.count, labels)
        accuracy = protocol.classification_accuracy(images, labels)
    comparison = compare(reference, fake, seed, requested, accuracy)
    counts, by_feature = None, None
    if fake.classes is not None:
        counts = count_classes(fake.classes, train.num_classes).tolist()
    if fake.values is not None:
        values = comparison.real_values, comparison.fake_values
        by_feature = wasserstein(*values).by_feature.tolist()
    return Scores(compute_metrics(comparison), counts, by_feature)
