"""The metrics of a generator's samples."""

from collections.abc import Callable

import numpy as np

from jaxgan.evaluation.reference import Reference, compare
from jaxgan.evaluation.samples import draw_samples, evaluation_key, request_classes
from jaxgan.keys import stream
from jaxgan.metrics import compute_metrics
from jaxgan.metrics.classes import count_classes
from jaxgan.runs.description import Description


def score_generator(
    draw: Callable, run: Description, reference: Reference, seed: int, train_classifier: bool
) -> tuple[dict[str, float], list[int] | None]:
    """Returns the metrics of samples, and the number of samples classified as each class.

    The numbers are None without a classifier of classes.
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
    scores = compute_metrics(compare(reference, fake, seed, requested, accuracy))
    if fake.classes is None:
        return scores, None
    return scores, count_classes(fake.classes, train.num_classes).tolist()
