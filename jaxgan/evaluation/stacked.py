"""The protocol of stacked MNIST: each channel is a digit, and the three digits make up a class."""

from pathlib import Path

import numpy as np

from jaxgan.data.arrays import to_uint8
from jaxgan.data.stacked import PLACES
from jaxgan.evaluation import classifier
from jaxgan.evaluation.classifier_files import find_classifier
from jaxgan.evaluation.images import crop, describe_features, load_inception
from jaxgan.evaluation.protocol import Features, Protocol, Splits, remark_on_few_samples
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description

DIGITS = 10
SAMPLES = 26_000
"""The number of samples in published tables: divergences depend on it."""


def make_protocol(run: Description, splits: Splits, inception: Path | None = None) -> Protocol:
    """Returns the protocol of a run on stacked MNIST.

    The classifier is that of the digits. inception: a file with weights, whose features then
    replace those of the classifier.
    """
    del run
    train, test = splits.train, splits.test
    trained = find_classifier(train.digits, test.digits)
    extract_inception, digest = (None, None) if inception is None else load_inception(inception)

    def extract_features(samples: np.ndarray) -> Features:
        images = crop(to_uint8(samples), train.shape)
        found = classify_channels(trained.variables, images)
        if inception is None:
            return found
        return Features(*extract_inception(images), found.classes)

    def compare(real: Features, fake: Features, count: int) -> Comparison:
        return Comparison(
            real=real.features[:count],
            fake=fake.features[:count],
            logits=None if fake.logits is None else fake.logits[:count],
            triples=fake.classes,
            class_frequencies=train.class_frequencies,
        )

    return Protocol(
        about=describe_features(trained, digest),
        extract_features=extract_features,
        compare=compare,
        num_samples=lambda count: max(count, SAMPLES),
        remark=remark_on_few_samples,
    )


def classify_channels(variables: dict, images: np.ndarray) -> Features:
    """Returns the features of the three channels side by side, and the classes of the triples."""
    channels = [classifier.extract_features(variables, images[..., i : i + 1]) for i in range(3)]
    features, logits = (np.concatenate(each, axis=1) for each in zip(*channels, strict=True))
    digits = logits.reshape(len(logits), 3, DIGITS).argmax(axis=2)
    return Features(features, None, digits @ PLACES)
