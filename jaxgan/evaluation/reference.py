"""The real data that samples are compared with: their features, and what they score themselves."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxgan import __version__, data, store
from jaxgan.data import Dataset, FloatArrays, Images, Mixture, Stacked
from jaxgan.errors import UsageError
from jaxgan.evaluation import float_arrays, images, mixtures, stacked
from jaxgan.evaluation.protocol import Features, MakeProtocol, Protocol, Splits
from jaxgan.evaluation.samples import evaluation_key
from jaxgan.files import user_cache
from jaxgan.metrics import BY_NAME, Comparison, compute_metrics
from jaxgan.parallel.distributed import print_lines
from jaxgan.runs.description import Description

PROTOCOLS: dict[type, MakeProtocol] = {
    Images: images.make_protocol,
    Stacked: stacked.make_protocol,
    Mixture: mixtures.make_protocol,
    FloatArrays: float_arrays.make_protocol,
}
"""The function that makes the protocol, by the type of the data set."""


class Reference(NamedTuple):
    """What samples are compared with.

    splits: of the data. count: the number of samples to compare. protocol: how they are compared.
    features: those of real samples of the test split. scores: the metrics of real samples of the
    training split, which no generator should be expected to exceed. remarks: on their accuracy.
    """

    splits: Splits
    count: int
    protocol: Protocol
    features: Features
    scores: dict[str, float]
    remarks: list[str]


def load_reference(
    run: Description, samples: int, inception: Path | None = None, conditional: bool = False
) -> Reference:
    """Returns what the samples of a run are compared with.

    samples: the largest number of samples to compare. inception: a file with weights.
    conditional: whether to score real samples by the metrics of conditional GANs, too.
    Raises `UsageError` for data that are not those of the run, or that are too few.
    """
    splits = load_splits(run)
    protocol = PROTOCOLS[type(splits.train)](run, splits, inception)
    count = limit_samples(protocol, samples, (splits.train, splits.test))
    if count < samples:
        print_lines(f"only {count:,} real samples are available: generating as many")
    drawn, key = protocol.num_samples(count), evaluation_key(0)
    features, _ = extract_real_features(protocol, splits.test, "test", drawn, key)
    remarks = protocol.remark(count, features.features.shape[1])
    if splits.train.num_examples is not None and not splits.own_test:
        name = splits.train.name
        shared = f"{name} has no test split: evaluating on a fifth of the training examples"
        remarks = [shared, *remarks]
    reference = Reference(splits, count, protocol, features, {}, remarks)
    return reference._replace(scores=_score_real_samples(reference, conditional))


def load_splits(run: Description) -> Splits:
    """Returns the data of a run, which are opened once.

    Raises `UsageError` unless they are those that the run was trained on.
    """
    config = run.config
    name = config.dataset or (run.dataset.name if config.data_file is None else None)
    opened = data.open_data(dataclasses.replace(config, dataset=name, data_in="auto"))
    if opened.fingerprint != run.dataset.fingerprint:
        flag = "--data-dir" if config.data_file is None else "--data-file"
        raise UsageError(
            f"{run.dataset.name} differs from the data that the run was trained on: restore those "
            f"data, or give their location by {flag}"
        )
    return Splits(opened.load("train"), opened.load("test"), opened.own_test)


def limit_samples(protocol: Protocol, samples: int, parts: tuple[Dataset, ...]) -> int:
    """Returns the number of samples to compare: no more than the data have.

    parts: the data that samples are compared with, and those that score them.
    Raises `UsageError` if there are too few.
    """
    count = min([samples, *(part.num_examples for part in parts if part.num_examples is not None)])
    if count < protocol.min_samples:
        raise UsageError(
            f"{count} samples of {parts[0].name} are too few: at least {protocol.min_samples} are "
            "needed, of real and of generated samples"
        )
    return count


def extract_real_features(
    protocol: Protocol, part: Dataset, use: str, count: int, key: jax.Array
) -> tuple[Features, np.ndarray | None]:
    """Returns the features of `count` real samples and their labels. Features are cached.

    use: the purpose, by which they are cached. key: chooses the samples.
    """
    batch = part.batch(key, 0, count)
    labels = None if batch.labels is None else np.asarray(batch.labels)

    def extract() -> dict:
        found = protocol.extract_features(np.asarray(batch.images))
        return {name: each for name, each in found._asdict().items() if each is not None}

    name = f"{part.fingerprint} {use} {count}"
    return Features(**load_or_compute(name, protocol, extract)), labels


def _score_real_samples(reference: Reference, conditional: bool) -> dict[str, float]:
    """Returns the metrics of real samples of the training split, which are cached."""
    protocol, train, test = reference.protocol, reference.splits.train, reference.splits.test
    known = f"{train.fingerprint} {test.fingerprint} scores {conditional} {reference.count}"
    name = f"{known} {' '.join(BY_NAME)}"  # A metric that is added has no cached score.

    def score() -> dict:
        count, key = protocol.num_samples(reference.count), evaluation_key(0)
        features, labels = extract_real_features(protocol, train, "train", count, key)
        accuracy = None
        if conditional and protocol.classification_accuracy:
            batch = train.batch(key, 0, reference.count)
            accuracy = protocol.classification_accuracy(*batch)
        labels = labels if conditional else None
        comparison = compare(reference, features, 0, labels, accuracy)
        return {name: np.float64(value) for name, value in compute_metrics(comparison).items()}

    return {k: float(v) for k, v in load_or_compute(name, protocol, score).items()}


def compare(
    reference: Reference,
    fake: Features,
    seed: int,
    requested: np.ndarray | None,
    classification_accuracy: float | None = None,
) -> Comparison:
    """Returns the comparison of samples with real ones of the test split.

    fake: the features of the samples. seed: of metrics that draw random numbers. requested: the
    classes `[n]` that a conditional generator was asked for.
    """
    comparison = reference.protocol.compare(reference.features, fake, reference.count)
    return comparison._replace(
        rng=np.random.default_rng(seed),
        requested=None if requested is None else requested[: reference.count],
        classification_accuracy=classification_accuracy,
    )


def load_or_compute(name: str, protocol: Protocol, compute: Callable[[], dict]) -> dict:
    """Returns arrays from the user's cache or, if they are not there, computes and saves them.

    name: of what is computed; the file also depends on the features and the version of jaxgan.
    Nothing depends on the cache: what cannot be saved is computed again.
    """
    path = cache_path(f"{__version__} {name} {protocol.about['digest']}")
    try:
        return store.load(path).arrays
    except (OSError, ValueError):  # Missing, or damaged.
        arrays = compute()
        with contextlib.suppress(OSError):
            store.save(path, arrays)
        return arrays


def cache_path(name: str) -> Path:
    """Returns the file in the user's cache for what was computed of real data."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return user_cache() / "references" / f"{digest[:32]}.safetensors"
