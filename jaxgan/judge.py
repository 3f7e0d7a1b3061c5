"""Who judges the samples of a data set, and what all the metrics together say of them."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.data import Dataset, Images, Mixture, Stacked
from jaxgan.data.arrays import pixels
from jaxgan.errors import UsageError
from jaxgan.metrics import classifier
from jaxgan.metrics.frechet import fid
from jaxgan.metrics.kernel import kid
from jaxgan.metrics.modes import mixture_modes, stacked_modes
from jaxgan.metrics.neighbours import neighbours
from jaxgan.metrics.score import (
    asked_accuracy,
    classifier_score,
    histogram,
    kl_divergence,
)

DIGITS = 10


class Seen(NamedTuple):
    """What a judge makes of samples.

    features: `[n, d]`. logits: `[n, classes]`, None where there is no classifier.
    classes: `[n]`, what each was classified as, or None.
    """

    features: np.ndarray
    logits: np.ndarray | None = None
    classes: np.ndarray | None = None


class Judge(NamedTuple):
    """Features that samples are judged by.

    about: what they are, with their digest, for whoever compares numbers.
    look: samples as a generator draws them, `[n, ...]`, to `Seen`; the border of `--image-size`
        is cut off.
    """

    about: dict
    look: Callable[[np.ndarray], Seen]


def judge_of(
    data: Dataset, trained: classifier.Trained | None = None, inception: tuple | None = None
) -> Judge:
    """Returns the judge of a data set.

    trained: its classifier, of stacked MNIST that of the digits; points need none.
    inception: `(look, digest)` of `jaxgan.metrics.inception`, for its features in the place of the
    classifier's. Raises `UsageError` where there is neither.
    """
    if isinstance(data, Mixture):
        digest = hashlib.sha256(f"points {data.fingerprint}".encode()).hexdigest()
        return Judge({"features": "the points themselves", "digest": digest}, Seen)
    if inception is not None:
        about = {"features": "Inception-v3", "digest": inception[1]}
    elif trained is not None:
        about = {"features": f"classifier of {trained.about['dataset']}", "digest": trained.digest}
    else:
        raise UsageError(
            f"{data.name} has no labels to train a classifier with: give weights of Inception to "
            "jaxgan.evaluate --inception"
        )
    if trained is not None:
        about["classifier_accuracy"] = trained.about["accuracy"]

    def look(samples: np.ndarray) -> Seen:
        images = cropped(pixels(samples), data.shape)
        seen = Seen(None)
        if isinstance(data, Stacked):
            seen = _stacked(trained.variables, images)
        elif trained is not None:
            features, logits = classifier.looked_at(trained.variables, images)
            seen = Seen(features, logits, logits.argmax(axis=1))
        if inception is not None:
            seen = Seen(*inception[0](images), seen.classes)
        return seen

    return Judge(about, look)


def _stacked(variables: dict, images: np.ndarray) -> Seen:
    """Returns the features of the three channels side by side, and the number that they make up."""
    channels = [classifier.looked_at(variables, images[..., i : i + 1]) for i in range(3)]
    features, logits = (np.concatenate(each, axis=1) for each in zip(*channels, strict=True))
    digits = logits.reshape(len(logits), 3, DIGITS).argmax(axis=2)
    return Seen(features, None, digits @ [100, 10, 1])


def cropped(images: np.ndarray, shape) -> np.ndarray:
    """Returns the middle of images `[n, h, w, c]`, as large as those of a shape `(h, w, c)`."""
    top, left = ((a - b) // 2 for a, b in zip(images.shape[1:3], shape[:2], strict=True))
    if min(top, left) < 0 or images.shape[3] != shape[2]:
        raise UsageError(f"images of shape {images.shape[1:]} cannot be compared with {shape}")
    return images[:, top : top + shape[0], left : left + shape[1]]


def scores(data: Dataset, real: Seen, fake: Seen, rng: np.random.Generator, asked=None) -> dict:
    """Returns the metrics of samples by name, each a number.

    real: as many real samples, of the test split. asked: the classes `[n]` that a conditional
    generator was asked for. Raises `UsageError` for samples that cannot be judged.
    """
    if isinstance(data, Mixture):
        return mixture_modes(fake.features, data.means, float(data.scale))._asdict()
    distance = kid(real.features, fake.features, rng)
    found = {
        "fid": fid(real.features, fake.features),
        "kid": distance.mean,
        **neighbours(real.features, fake.features)._asdict(),
    }
    if fake.logits is not None:
        found["score"] = classifier_score(fake.logits)
    if isinstance(data, Images) and fake.classes is not None:
        counts, expected = (
            histogram(classes, data.num_classes) for classes in (fake.classes, data.labels)
        )
        found["class_kl"] = kl_divergence(counts, expected)
        if asked is not None:
            found["asked_accuracy"] = asked_accuracy(fake.classes, asked)
    return found


def quick_scores(data: Dataset, real: Seen, fake: Seen) -> dict:
    """Returns the few metrics that are worth their time during training."""
    if isinstance(data, Mixture):
        found = mixture_modes(fake.features, data.means, float(data.scale))
        return {"modes": found.modes, "high_quality": found.high_quality}
    near = neighbours(real.features, fake.features)
    return {
        "fid": fid(real.features, fake.features),
        "precision": near.precision,
        "recall": near.recall,
    }


def stacked_scores(data: Stacked, classes: np.ndarray) -> dict:
    """Returns which of the 1,000 modes the samples reach, by their classes `[n]`."""
    digits = histogram(np.asarray(data.digits.labels), DIGITS) / len(data.digits.labels)
    frequencies = np.einsum("i,j,k->ijk", digits, digits, digits).reshape(-1)
    return stacked_modes(classes, frequencies)._asdict()
