"""The protocol of floating-point arrays: the standardized values are the features."""

import hashlib

import numpy as np

from jaxgan.evaluation.extractors import Extractor
from jaxgan.evaluation.protocol import Features, Protocol, Splits, remark_on_few_samples
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description

MOST_FEATURES = 512
"""The most features. Examples with more values than features are projected at random."""


def make_protocol(run: Description, splits: Splits, extractor: Extractor | None = None) -> Protocol:
    """Returns the protocol of a run on floating-point arrays.

    The features are the standardized values or, if there are too many, random projections of them.
    The covariance of features needs more samples than features, so there are fewer than half as
    many features as test examples.
    """
    del run, extractor
    train, test = splits.train, splits.test
    values = int(np.prod(train.shape))
    size = max(1, min(values, MOST_FEATURES, (test.num_examples - 1) // 2))
    projection = None
    if size < values:
        rng = np.random.Generator(np.random.PCG64(0))
        projection = (rng.standard_normal((values, size)) / np.sqrt(values)).astype(np.float32)

    def extract_features(samples: np.ndarray) -> Features:
        flat = samples.reshape(len(samples), -1)
        return Features(flat if projection is None else flat @ projection, values=flat)

    def compare(real: Features, fake: Features, count: int) -> Comparison:
        real, fake = real.head(count), fake.head(count)
        return Comparison(
            real=real.features,
            fake=fake.features,
            real_values=real.values,
            fake_values=fake.values,
        )

    name = "standardized values"
    if projection is not None:
        name = f"{size} random projections of {values:,} {name}"
    about = f"{name} {train.shape} {train.mean.tolist()} {train.deviation.tolist()}"
    return Protocol(
        about={"features": name, "digest": hashlib.sha256(about.encode()).hexdigest()},
        extract_features=extract_features,
        compare=compare,
        min_samples=max(size + 1, 6),
        remark=remark_on_few_samples,
    )
