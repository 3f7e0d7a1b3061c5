"""Who judges the samples of a data set, and what all the metrics together say of them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan import classify
from jaxgan.data import Dataset, Images, Mixture, Stacked
from jaxgan.data.arrays import pixels, unit
from jaxgan.data.stacked import PLACES
from jaxgan.errors import RunError, UsageError
from jaxgan.metrics import classifier, rotations
from jaxgan.metrics.frechet import fid
from jaxgan.metrics.kernel import SUBSET_SIZE, kid
from jaxgan.metrics.modes import mixture_modes, stacked_modes
from jaxgan.metrics.neighbours import neighbours
from jaxgan.metrics.score import (
    asked_accuracy,
    classifier_score,
    histogram,
    kl_divergence,
)

DIGITS = 10
INCEPTION_BATCH = 50
ENOUGH = 10
"""Samples for each feature, above which the bias of FID is small."""


class Seen(NamedTuple):
    """What a judge makes of samples.

    features: `[n, d]`. logits: `[n, classes]`, None where there is no classifier of classes.
    classes: `[n]`, what each was classified as, or None.
    """

    features: np.ndarray
    logits: np.ndarray | None = None
    classes: np.ndarray | None = None


def head(seen: Seen, count: int) -> Seen:
    """Returns what was seen of the first `count` samples."""
    return Seen(*(None if each is None else each[:count] for each in seen))


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

    trained: its classifier, of stacked MNIST that of the digits; points need none. One that tells
        turns gives features alone.
    inception: `(look, digest)` of `jaxgan.metrics.inception`, for its features in the place of the
    classifier's. Raises `UsageError` where there is neither.
    """
    if isinstance(data, Mixture):
        digest = hashlib.sha256(f"points {data.fingerprint}".encode()).hexdigest()
        return Judge({"features": "the points themselves", "digest": digest}, Seen)
    if inception is not None:
        about = {"features": "Inception-v3", "digest": inception[1]}
    elif trained is not None:
        kind = "rotation classifier" if trained.tells_turns else "classifier"
        about = {"features": f"{kind} of {trained.about['dataset']}", "digest": trained.digest}
    else:
        raise UsageError(f"{data.name} has no classifier: train one with jaxgan.classify")
    if trained is not None:
        about["classifier_accuracy"] = trained.about["accuracy"]

    def look(samples: np.ndarray) -> Seen:
        images = cropped(pixels(samples), data.shape)
        seen = Seen(None)
        if isinstance(data, Stacked):
            seen = _stacked(trained.variables, images)
        elif trained is not None and trained.tells_turns:
            features, _ = classifier.looked_at(trained.variables, rotations.square(images))
            seen = Seen(features)
        elif trained is not None:
            features, logits = classifier.looked_at(trained.variables, images)
            seen = Seen(features, logits, logits.argmax(axis=1))
        if inception is not None:
            seen = Seen(*inception[0](images), seen.classes)
        return seen

    return Judge(about, look)


def judge_for(about: dict, train: Dataset, inception: Path | None = None) -> Judge:
    """Returns the judge of a run's samples, by the training split of its data."""
    images = train.digits if isinstance(train, Stacked) else train
    needed = isinstance(images, Images) and (inception is None or learnable(images))
    trained = classifier_of(about, images) if needed else None
    return judge_of(train, trained, None if inception is None else inception_of(inception))


def classifier_of(about: dict, train: Images) -> classifier.Trained:
    """Returns the classifier of the images of a run's data, trained now if need be.

    MNIST's, which are known by their fingerprint, comes with the package.
    """
    bundled = classifier.load(classifier.MNIST)
    if train.fingerprint == bundled.about["fingerprint"]:
        return bundled
    if (place := classifier.place(train)).exists():
        trained = classifier.load(place)
        if trained.about["fingerprint"] != train.fingerprint:
            raise RunError(
                f"{place} is the classifier of {trained.about['dataset']}, and not of these "
                f"{train.name}: delete that file, and one is trained"
            )
        return trained
    settings = about["config"]
    file = settings.get("data_file")
    return classify.main(
        classify.Config(
            dataset=None if file else train.name,
            data_dir=settings.get("data_dir"),
            data_file=file,
        )
    )


def inception_of(path: Path) -> tuple[Callable, str]:
    """Returns the function from images, uint8 `[n, h, w, c]`, to features and logits; a digest."""
    from tqdm import tqdm

    from jaxgan.metrics import inception

    variables, digest = inception.load(path)
    features = inception.features(variables)

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = tqdm(
            range(0, len(images), INCEPTION_BATCH), "Inception", disable=None, leave=False
        )
        parts = [features(unit(images[i : i + INCEPTION_BATCH])) for i in starts]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    return look, digest


def _stacked(variables: dict, images: np.ndarray) -> Seen:
    """Returns the features of the three channels side by side, and the number that they make up."""
    channels = [classifier.looked_at(variables, images[..., i : i + 1]) for i in range(3)]
    features, logits = (np.concatenate(each, axis=1) for each in zip(*channels, strict=True))
    digits = logits.reshape(len(logits), 3, DIGITS).argmax(axis=2)
    return Seen(features, None, digits @ PLACES)


def learnable(part: Dataset) -> bool:
    """Whether a classifier can learn the classes of a split."""
    return isinstance(part, Images) and classifier.has_classes(part)


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
    return stacked_modes(classes, data.class_frequencies)._asdict()


def remarks(real: Seen, count: int) -> list[str]:
    """Returns what there is to know of metrics of features that `count` samples were drawn for."""
    size = real.features.shape[1]
    found = []
    if count < ENOUGH * size:
        found.append(
            f"FID of {count:,} samples of {size:,} features is biased upwards, and compares with "
            "FID of as many only"
        )
    if count < SUBSET_SIZE:
        found.append(
            f"KID is one estimate of {count:,} samples, fewer than the {SUBSET_SIZE:,} of a "
            "subset: its deviation is large"
        )
    return found
