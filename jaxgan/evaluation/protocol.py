"""What a kind of data has to provide for its evaluation."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.data import Dataset
from jaxgan.evaluation.extractors import Extractor
from jaxgan.metrics import Comparison
from jaxgan.metrics.kid import SUBSET_SIZE
from jaxgan.runs.description import Description

SAMPLES_PER_FEATURE = 10
"""With fewer samples for each feature, the bias of FID is not small."""
PART = 10_000


class Features(NamedTuple):
    """What was computed of samples: features `[n, d]`, and what a classifier makes of them.

    logits: `[n, classes]`, None without a classifier of classes. classes: `[n]`, those that the
    samples were classified as, or None. values: `[n, v]`, the samples themselves if each of their
    values has a meaning, as in tables; else None.
    """

    features: np.ndarray
    logits: np.ndarray | None = None
    classes: np.ndarray | None = None
    values: np.ndarray | None = None

    def head(self, count: int) -> "Features":
        """Returns the features of the first `count` samples."""
        return Features(*(None if each is None else each[:count] for each in self))


class Splits(NamedTuple):
    """The data of a run: its training and its test split, images without padding.

    own_test: whether the data came with a test split; else it is a part of the training data. used:
    the part of the training split that the run was trained on, None if all of it.
    """

    train: Dataset
    test: Dataset
    own_test: bool = False
    used: Dataset | None = None


class Protocol(NamedTuple):
    """How the samples of a kind of data are compared with real ones.

    about: the name of the features and their digest, for those who compare numbers.
    extract_features: from samples `[n, ...]` as a generator draws them to `Features`. Padding of
        images is removed.
    compare: `(real, fake, count) -> Comparison`, from the features of real and generated samples,
        of which `count` are compared.
    num_samples: from the number of samples to compare to the number to draw.
    min_samples: the smallest number of samples that can be compared.
    remark: from the number of samples and that of features to remarks on the accuracy of metrics.
    classification_accuracy: from images and labels to the accuracy on real test images of a
        classifier trained on them; None for data without classes to learn.
    cached: whether features of real samples may be cached.
    """

    about: dict
    extract_features: Callable[[np.ndarray], Features]
    compare: Callable[[Features, Features, int], Comparison]
    num_samples: Callable[[int], int] = lambda count: count
    min_samples: int = 2
    remark: Callable[[int, int], list[str]] = lambda count, size: []
    classification_accuracy: Callable[[np.ndarray, np.ndarray], float] | None = None
    cached: bool = True


MakeProtocol = Callable[[Description, Splits, Extractor | None], Protocol]
"""From the description of a run, its data, and features that replace those of a classifier.

The last one is None for data other than images.
"""


def extract_in_parts(
    protocol: Protocol, load: Callable[[np.ndarray], np.ndarray], count: int
) -> Features:
    """Returns the features of `count` samples, of which few are in memory at a time.

    load: from indices `[k]` to samples `[k, ...]` as a generator draws them.
    """
    starts = range(0, count, PART)
    parts = [protocol.extract_features(load(np.arange(i, min(i + PART, count)))) for i in starts]
    columns = zip(*parts, strict=True)
    return Features(*(None if each[0] is None else np.concatenate(each) for each in columns))


def remark_on_few_samples(count: int, size: int) -> list[str]:
    """Returns remarks on metrics of features that need more samples than there are.

    count: the number of samples. size: the number of features.
    """
    remarks = []
    if count < SAMPLES_PER_FEATURE * size:
        remarks.append(
            f"FID of {count:,} samples with {size:,} features is biased upwards: compare it with "
            "FID of equally many samples only"
        )
    if count <= SUBSET_SIZE:
        remarks.append(
            f"KID of {count:,} samples is a single estimate, not a mean over subsets of "
            f"{SUBSET_SIZE:,}: its sampling error is large"
        )
    return remarks
