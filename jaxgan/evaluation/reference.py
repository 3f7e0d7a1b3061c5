"""The real data that samples are compared with: their features, and what they score themselves."""

import dataclasses
import functools
from typing import Literal, NamedTuple

import numpy as np

from jaxgan.data import Dataset, FloatArrays, Images, Mixture, Stacked
from jaxgan.errors import UsageError
from jaxgan.evaluation import float_arrays, images, mixtures, stacked
from jaxgan.evaluation.extractors import Extractor
from jaxgan.evaluation.location import open_same_data
from jaxgan.evaluation.protocol import Features, MakeProtocol, Protocol, Splits
from jaxgan.evaluation.real_features import (
    available,
    extract_real_features,
    extract_split,
    load_or_compute,
)
from jaxgan.evaluation.samples import evaluation_key
from jaxgan.evaluation.statistics import Statistics
from jaxgan.metrics import BY_NAME, Comparison, compute_metrics
from jaxgan.metrics.fid import Gaussian, fit_gaussian
from jaxgan.metrics.prdc import nearest_in
from jaxgan.parallel.distributed import print_lines
from jaxgan.runs.description import Description

PROTOCOLS: dict[type, MakeProtocol] = {
    Images: images.make_protocol,
    Stacked: stacked.make_protocol,
    Mixture: mixtures.make_protocol,
    FloatArrays: float_arrays.make_protocol,
}
"""The function that makes the protocol, by the type of the data set."""


class Settings(NamedTuple):
    """How samples are compared.

    samples: the largest number of samples. against: the split of the data that they are compared
    with; the other split is scored for comparison. extractor: features that replace those of a
    classifier. statistics: those that replace the real samples. conditional: whether to score real
    samples by the metrics of conditional GANs, too. nearest: whether to search for copies of
    training examples. cas: whether to compute the classification accuracy score of conditional
    GANs.
    """

    samples: int
    against: Literal["train", "test"] = "test"
    extractor: Extractor | None = None
    statistics: Statistics | None = None
    conditional: bool = False
    nearest: bool = False
    cas: bool = True


class Neighbors(NamedTuple):
    """The training examples that samples may be copies of.

    examples: those of the training split that the run was trained on. train: their features
    `[n, d]`. test_distances: `[m]`, from the features of the whole test split to the nearest ones
    of these.
    """

    examples: Dataset
    train: np.ndarray
    test_distances: np.ndarray


class Reference(NamedTuple):
    """What samples are compared with.

    splits: of the data. settings: how samples are compared. count: the number of samples. protocol:
    how they are compared. features, labels: those of real samples, of the split that samples are
    compared with; without features if `settings.statistics` replace them. neighbors: None if copies
    are not searched for. scores: the metrics of real samples of the other split, which no generator
    should be expected to exceed. remarks: on their accuracy.
    """

    splits: Splits
    settings: Settings
    count: int
    protocol: Protocol
    features: Features
    labels: np.ndarray | None
    neighbors: Neighbors | None
    scores: dict[str, float]
    remarks: list[str]

    @property
    def other(self) -> Dataset:
        """The split that samples are not compared with."""
        return self.splits.train if self.settings.against == "test" else self.splits.test

    def real_statistics(self) -> Gaussian:
        """Returns the mean and covariance of the features of the real samples.

        Raises `UsageError` for too few samples, and for data that are not scored by FID.
        """
        if isinstance(self.splits.train, Mixture):
            raise UsageError(f"statistics are of features, and {self.splits.train.name} has none")
        return fit_gaussian(self.features.features[: self.count], "real samples")


def load_reference(run: Description, settings: Settings) -> Reference:
    """Returns what the samples of a run are compared with.

    Raises `UsageError` for data that are not those of the run, or that are too few, and for
    settings that do not fit them.
    """
    splits = load_splits(run)
    train, test = splits.train, splits.test
    check_settings(settings, train)
    protocol = PROTOCOLS[type(train)](run, splits, settings.extractor)
    if not settings.cas:
        protocol = protocol._replace(classification_accuracy=None)
    if settings.statistics is not None:
        limits = ()
    else:
        limits = (train, test) if settings.against == "test" else (train,)
    count = limit_samples(protocol, settings.samples, limits)
    if count < settings.samples:
        print_lines(f"only {count:,} real samples are available: generating as many")
    features, labels = Features(None), None
    if settings.statistics is None:
        compared = test if settings.against == "test" else train
        drawn, key = protocol.num_samples(count), evaluation_key(0)
        features, labels = extract_real_features(protocol, compared, settings.against, drawn, key)
    neighbors = find_neighbors(protocol, splits) if settings.nearest else None
    reference = Reference(splits, settings, count, protocol, features, labels, neighbors, {}, [])
    scores, reasons = _score_other_split(reference)
    return reference._replace(scores=scores, remarks=[*make_remarks(reference), *reasons])


def check_settings(settings: Settings, train: Dataset) -> None:
    """Raises `UsageError` for settings that the data do not fit."""
    if settings.extractor is not None and not isinstance(train, Images | Stacked):
        raise UsageError(f"--inception and --features need images, and {train.name} has none")
    if settings.nearest and not isinstance(train, Images | FloatArrays):
        raise UsageError(
            f"--nearest needs a fixed set of training examples, which {train.name} does not have"
        )
    if settings.statistics is not None and isinstance(train, Mixture):
        raise UsageError(f"--read-statistics needs features, and {train.name} is not scored by FID")


def make_remarks(reference: Reference) -> list[str]:
    """Returns what the user should know of the accuracy of the metrics."""
    settings, splits = reference.settings, reference.splits
    train, own_test = splits.train, splits.own_test
    remarks = []
    if train.num_examples is not None and not own_test:
        shared = "evaluating on a fifth of the training examples"
        if settings.against == "train":
            shared = "a fifth of the training examples takes its place, and is left out of the rest"
        remarks.append(f"{train.name} has no test split: {shared}")
        if settings.nearest:
            remarks.append("copies of the examples in that fifth are not found")
    if (row := available(reference.other, reference.count)) < reference.count:
        split = "test" if settings.against == "train" else "training"
        remarks.append(
            f"the first row is of {row:,} real samples, all of the {split} split: its FID is more "
            "biased upwards than that of the others"
        )
    if settings.statistics is not None:
        size = len(settings.statistics.gaussian.mean)
    else:
        size = reference.features.features.shape[1]
    return [*remarks, *reference.protocol.remark(reference.count, size)]


def find_neighbors(protocol: Protocol, splits: Splits) -> Neighbors:
    """Returns the training examples that samples may be copies of; their features are cached."""
    examples = splits.train if splits.used is None else splits.used
    train, test = (extract_split(protocol, part) for part in (examples, splits.test))
    return Neighbors(examples, train, nearest_in(test, train)[0])


def load_splits(run: Description) -> Splits:
    """Returns the data of a run, which are opened once.

    Raises `UsageError` unless they are those that the run was trained on.
    """
    config = dataclasses.replace(run.config, data_in="auto")
    opened = open_same_data(run._replace(config=config))
    used = None if config.train_examples is None else opened.load("used")
    return Splits(opened.load("train"), opened.load("test"), opened.own_test, used)


def limit_samples(protocol: Protocol, samples: int, parts: tuple[Dataset, ...]) -> int:
    """Returns the number of samples to compare: no more than the data have.

    parts: the data that limit it.
    Raises `UsageError` if there are too few.
    """
    count = min([samples, *(part.num_examples for part in parts if part.num_examples is not None)])
    if count < protocol.min_samples:
        of = f" of {parts[0].name}" if parts else ""
        raise UsageError(
            f"{count} samples{of} are too few: at least {protocol.min_samples} are needed, of real "
            "and of generated samples"
        )
    return count


def _score_other_split(reference: Reference) -> tuple[dict[str, float], list[str]]:
    """Returns the metrics of real samples of the other split, and why there are none, if so.

    The metrics are cached. For CAS, real samples of the training split are used in any case.
    """
    protocol, settings, other = reference.protocol, reference.settings, reference.other
    train, conditional = reference.splits.train, settings.conditional
    known = f"{train.fingerprint} {reference.splits.test.fingerprint} scores"
    statistics = None if settings.statistics is None else settings.statistics.digest
    near = reference.neighbors is not None and reference.neighbors.examples.fingerprint
    options = f"{conditional} {reference.count} {settings.against} {statistics} {near}"
    options += "" if settings.cas else " without CAS"
    name = f"{known} {options} {' '.join(BY_NAME)}"  # A metric that is added has no cached score.
    split = "test" if settings.against == "train" else "train"
    count = available(other, protocol.num_samples(reference.count))
    load_row = functools.cache(
        lambda: extract_real_features(protocol, other, split, count, evaluation_key(0))
    )
    if statistics is not None:
        _check_size(settings.statistics, load_row()[0])

    def score() -> dict:
        (features, labels), accuracy, distances = load_row(), None, None
        if conditional and protocol.classification_accuracy:
            batch = train.batch(evaluation_key(0), 0, available(train, reference.count))
            accuracy = protocol.classification_accuracy(*batch)
        if reference.neighbors is not None:
            distances = reference.neighbors.test_distances
        comparison = compare(reference, features, 0, labels if conditional else None, distances)
        comparison = comparison._replace(classification_accuracy=accuracy)
        return {name: np.float64(value) for name, value in compute_metrics(comparison).items()}

    try:
        found = load_or_compute(name, protocol, score)
    except UsageError as error:
        if settings.against == "test" and statistics is None:
            raise
        name = "test" if split == "test" else "training"
        reason = str(error).replace("generated samples", f"real samples of the {name} split")
        return {}, [f"the first row is empty: {reason}"]
    return {k: float(v) for k, v in found.items()}, []


def _check_size(statistics: Statistics, features: Features) -> None:
    """Raises `UsageError` for statistics of another number of features."""
    size, expected = len(statistics.gaussian.mean), features.features.shape[1]
    if size != expected:
        raise UsageError(
            f"--read-statistics: the file is of {size:,} features, and the samples have "
            f"{expected:,}: choose the features that it was computed with"
        )


def compare(
    reference: Reference,
    fake: Features,
    seed: int,
    requested: np.ndarray | None,
    train_distances: np.ndarray | None = None,
) -> Comparison:
    """Returns the comparison of samples with real ones.

    fake: the features of the samples. seed: of metrics that draw random numbers. requested: the
    classes `[n]` that a conditional generator was asked for. train_distances: `[n]`, from the
    samples to the nearest training examples.
    """
    count, labels, neighbors = reference.count, reference.labels, reference.neighbors
    statistics = reference.settings.statistics
    comparison = reference.protocol.compare(reference.features, fake, count)
    return comparison._replace(
        rng=np.random.default_rng(seed),
        requested=None if requested is None else requested[:count],
        real_labels=None if labels is None else labels[:count],
        real_statistics=None if statistics is None else statistics.gaussian,
        train_distances=train_distances,
        test_distances=None if neighbors is None else neighbors.test_distances,
    )
