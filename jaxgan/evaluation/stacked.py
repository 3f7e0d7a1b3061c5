"""The protocol of stacked MNIST: each channel is a digit, and the three digits make up a class."""

import numpy as np

from jaxgan.data.arrays import to_uint8
from jaxgan.data.stacked import PLACES
from jaxgan.evaluation import classifier
from jaxgan.evaluation.classifier_files import find_classifier
from jaxgan.evaluation.extractors import Extractor
from jaxgan.evaluation.images import crop, describe_features, replace_features
from jaxgan.evaluation.protocol import Features, Protocol, Splits, remark_on_few_samples
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description

DIGITS = 10
SAMPLES = 26_000
"""The number of samples in published tables: divergences depend on it."""


def make_protocol(run: Description, splits: Splits, extractor: Extractor | None = None) -> Protocol:
    """Returns the protocol of a run on stacked MNIST.

    The classifier is that of the digits. extractor: features that replace those of the classifier.
    """
    del run
    train, test = splits.train, splits.test
    trained = find_classifier(train.digits, test.digits)

    def extract_features(samples: np.ndarray) -> Features:
        images = crop(to_uint8(samples), train.shape)
        found = classify_channels(trained.variables, images)
        return replace_features(found, images, extractor)

    def compare(real: Features, fake: Features, count: int) -> Comparison:
        near = fake.head(count)
        return Comparison(
            real=real.head(count).features,
            fake=near.features,
            logits=near.logits,
            triples=fake.classes,
            class_frequencies=train.class_frequencies,
        )

    return Protocol(
        about=describe_features(trained, extractor),
        extract_features=extract_features,
        compare=compare,
        num_samples=lambda count: max(count, SAMPLES),
        remark=remark_on_few_samples,
        cached=extractor is None or extractor.cached,
    )


def classify_channels(variables: dict, images: np.ndarray) -> Features:
    """Returns the features of the three channels side by side, and the classes of the triples."""
    channels = [classifier.extract_features(variables, images[..., i : i + 1]) for i in range(3)]
    features, logits = (np.concatenate(each, axis=1) for each in zip(*channels, strict=True))
    digits = logits.reshape(len(logits), 3, DIGITS).argmax(axis=2)
    return Features(features, None, digits @ PLACES)
