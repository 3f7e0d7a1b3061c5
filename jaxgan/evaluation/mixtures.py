"""The protocol of mixtures of Gaussians: their points are their own features."""

import hashlib

import numpy as np

from jaxgan.evaluation.extractors import Extractor
from jaxgan.evaluation.protocol import Features, Protocol, Splits
from jaxgan.metrics import Comparison
from jaxgan.runs.description import Description


def make_protocol(run: Description, splits: Splits, extractor: Extractor | None = None) -> Protocol:
    """Returns the protocol of a run on a mixture."""
    del run, extractor
    mixture = splits.train

    def compare(real: Features, fake: Features, count: int) -> Comparison:
        del real
        points = fake.features[:count]
        return Comparison(points=points, means=mixture.means, scale=float(mixture.scale))

    digest = hashlib.sha256(f"points {mixture.fingerprint}".encode()).hexdigest()
    return Protocol(
        about={"features": "the points themselves", "digest": digest},
        extract_features=lambda points: Features(np.asarray(points)),
        compare=compare,
    )
