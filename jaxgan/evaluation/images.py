"""The protocol of images: features of a classifier, or of Inception."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxgan.data import Images
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import UsageError
from jaxgan.evaluation import classifier, rotations
from jaxgan.evaluation.classifier_files import Trained, describe_data, find_classifier
from jaxgan.evaluation.extractors import Extractor
from jaxgan.evaluation.protocol import Features, Protocol, Splits, remark_on_few_samples
from jaxgan.evaluation.samples import evaluation_key
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description


def make_protocol(run: Description, splits: Splits, extractor: Extractor | None = None) -> Protocol:
    """Returns the protocol of a run on images.

    If the data have several classes, there is always a classifier, for the metrics of classes.
    extractor: features that replace those of the classifier.
    """
    train, test = splits.train, splits.test
    learnable = classifier.has_classes(train)
    needed = extractor is None or learnable
    trained = find_classifier(train, test, describe_data(run.config)) if needed else None
    extract = combine_features(trained, extractor)

    def extract_features(samples: np.ndarray) -> Features:
        return extract(crop(to_uint8(samples), train.shape))

    def compare(real: Features, fake: Features, count: int) -> Comparison:
        real, fake = real.head(count), fake.head(count)
        return Comparison(
            real=real.features,
            fake=fake.features,
            logits=fake.logits,
            classes=fake.classes,
            labels=None if train.labels is None else np.asarray(train.labels),
            num_classes=train.num_classes,
        )

    def classification_accuracy(images: np.ndarray, labels: np.ndarray) -> float:
        images = jnp.asarray(crop(to_uint8(images), train.shape))
        labels = jnp.asarray(labels, jnp.int32)
        drawn = Images(images, "samples", "samples", labels, train.num_classes)
        return classifier.accuracy(classifier.train(drawn, evaluation_key(0)), test)

    return Protocol(
        about=describe_features(trained, extractor),
        extract_features=extract_features,
        compare=compare,
        min_samples=2 if extractor is not None else classifier.WIDTHS[-1] + 1,
        remark=remark_on_few_samples,
        classification_accuracy=classification_accuracy if learnable else None,
        cached=extractor is None or extractor.cached,
    )


def combine_features(
    trained: Trained | None, extractor: Extractor | None
) -> Callable[[np.ndarray], Features]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to `Features`.

    trained: a classifier of the data. One of rotations gives features alone, no classes.
    """

    def extract(images: np.ndarray) -> Features:
        found = Features(None)
        if trained is not None and trained.of_rotations:
            square = rotations.pad_to_square(images)
            found = Features(classifier.extract_features(trained.variables, square)[0])
        elif trained is not None:
            features, logits = classifier.extract_features(trained.variables, images)
            found = Features(features, logits, logits.argmax(axis=1))
        return replace_features(found, images, extractor)

    return extract


def replace_features(found: Features, images: np.ndarray, extractor: Extractor | None) -> Features:
    """Returns what a classifier found, with the features and the logits of an extractor, if any."""
    if extractor is None:
        return found
    features, logits = extractor.extract(images)
    return Features(features, found.logits if logits is None else logits, found.classes)


def describe_features(trained: Trained | None, extractor: Extractor | None) -> dict:
    """Returns the name and the digest of features, and the accuracy of the classifier, if any."""
    about: dict = {}
    if extractor is not None:
        about = {"features": extractor.name, "digest": extractor.digest}
    elif trained is not None:
        kind = "rotation classifier" if trained.of_rotations else "classifier"
        about = {"features": f"{kind} of {trained.about['dataset']}", "digest": trained.digest}
    if trained is not None:
        about["classifier_accuracy"] = trained.about["accuracy"]
    return about


def crop(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the centre of images `[n, h, w, c]` in the size of a shape `(h, w, c)`.

    Raises `UsageError` for images that are smaller or have another number of channels.
    """
    top, left = ((a - b) // 2 for a, b in zip(images.shape[1:3], shape[:2], strict=True))
    if min(top, left) < 0 or images.shape[3] != shape[2]:
        raise UsageError(f"images of shape {images.shape[1:]} cannot be compared with {shape}")
    return images[:, top : top + shape[0], left : left + shape[1]]
