"""The protocol of images: features of a classifier, or of Inception."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgan.data import Images
from jaxgan.data.arrays import to_float, to_uint8
from jaxgan.errors import UsageError
from jaxgan.evaluation import classifier, rotations
from jaxgan.evaluation.classifier_files import Trained, describe_data, find_classifier
from jaxgan.evaluation.protocol import Features, Protocol, Splits, remark_on_few_samples
from jaxgan.evaluation.samples import evaluation_key
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description

INCEPTION_BATCH = 50


def make_protocol(run: Description, splits: Splits, inception: Path | None = None) -> Protocol:
    """Returns the protocol of a run on images.

    If the data have several classes, there is always a classifier, for the metrics of classes.
    inception: a file with weights, whose features then replace those of the classifier.
    """
    train, test = splits.train, splits.test
    learnable = classifier.has_classes(train)
    needed = inception is None or learnable
    trained = find_classifier(train, test, describe_data(run.config)) if needed else None
    extract, about = make_extractor(trained, inception)

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
        about=about,
        extract_features=extract_features,
        compare=compare,
        min_samples=2 if inception is not None else classifier.WIDTHS[-1] + 1,
        remark=remark_on_few_samples,
        classification_accuracy=classification_accuracy if learnable else None,
    )


def make_extractor(trained: Trained | None, inception: Path | None) -> tuple[Callable, dict]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to `Features`, and what it is.

    trained: a classifier of the data. One of rotations gives features alone, no classes.
    """
    extract_inception, digest = (None, None) if inception is None else load_inception(inception)

    def extract(images: np.ndarray) -> Features:
        found = Features(None)
        if trained is not None and trained.of_rotations:
            square = rotations.pad_to_square(images)
            found = Features(classifier.extract_features(trained.variables, square)[0])
        elif trained is not None:
            features, logits = classifier.extract_features(trained.variables, images)
            found = Features(features, logits, logits.argmax(axis=1))
        if inception is not None:
            found = Features(*extract_inception(images), found.classes)
        return found

    return extract, describe_features(trained, digest)


def describe_features(trained: Trained | None, inception_digest: str | None) -> dict:
    """Returns the name and the digest of features, and the accuracy of the classifier, if any.

    inception_digest: of the weights of Inception, if the features are those of Inception.
    """
    about: dict = {}
    if inception_digest is not None:
        about = {"features": "Inception-v3", "digest": inception_digest}
    elif trained is not None:
        kind = "rotation classifier" if trained.of_rotations else "classifier"
        about = {"features": f"{kind} of {trained.about['dataset']}", "digest": trained.digest}
    if trained is not None:
        about["classifier_accuracy"] = trained.about["accuracy"]
    return about


def load_inception(path: Path) -> tuple[Callable, str]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to features and logits; a digest."""
    from tqdm import tqdm

    from jaxgan.evaluation import inception, inception_weights

    variables, digest = inception_weights.load(path)
    extract = inception.make_extractor(variables)

    def extract_all(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = range(0, len(images), INCEPTION_BATCH)
        starts = tqdm(starts, "Inception", disable=None, leave=False)
        parts = [extract(to_float(images[i : i + INCEPTION_BATCH])) for i in starts]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    return extract_all, digest


def crop(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the centre of images `[n, h, w, c]` in the size of a shape `(h, w, c)`.

    Raises `UsageError` for images that are smaller or have another number of channels.
    """
    top, left = ((a - b) // 2 for a, b in zip(images.shape[1:3], shape[:2], strict=True))
    if min(top, left) < 0 or images.shape[3] != shape[2]:
        raise UsageError(f"images of shape {images.shape[1:]} cannot be compared with {shape}")
    return images[:, top : top + shape[0], left : left + shape[1]]
