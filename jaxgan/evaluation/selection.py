"""The evaluation of generators during training, by which the best one is chosen.

Samples are compared with a part of the training split and have latents of their own. So the test
split can evaluate the generator that was chosen.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jaxgan.errors import UsageError
from jaxgan.evaluation.extractors import load_extractor
from jaxgan.evaluation.real_features import extract_real_features
from jaxgan.evaluation.reference import (
    PROTOCOLS,
    Settings,
    check_settings,
    limit_samples,
    load_splits,
)
from jaxgan.evaluation.samples import draw_samples, request_classes, selection_key
from jaxgan.metrics import compute_metrics
from jaxgan.runs.description import Description
from jaxgan.runs.generators import make_sampler

SAMPLES = 2_000
SAMPLES_OF_INCEPTION = 5_000
"""The FID of Inception's 2,048 features needs more samples than features."""


def make_score(run: Description) -> Callable[[dict], dict[str, float]]:
    """Returns the function from a generator's variables to the metrics that are quick to compute.

    Raises `UsageError` for data that are not those of the run, or that are too few, and for a file
    of weights that cannot be used.
    """
    extractor = load_extractor(run.config.inception, None)
    samples = SAMPLES if extractor is None else SAMPLES_OF_INCEPTION
    try:
        splits = load_splits(run)
        protocol = PROTOCOLS[type(splits.train)](run, splits, extractor)
        count = limit_samples(protocol, samples, (splits.train,))
    except UsageError as error:
        raise UsageError(f"remove --evaluate-every: {error}") from error
    check_settings(Settings(samples, extractor=extractor), splits.train)
    train, key = splits.train, selection_key()
    real, _ = extract_real_features(protocol, train, "selection", count, key)
    if 0 < len(real.features) <= real.features.shape[1] and train.bounded:
        raise UsageError(
            f"remove --evaluate-every: FID of {real.features.shape[1]:,} features needs more than "
            f"the {count:,} training examples of {train.name}"
        )
    requested = request_classes(run, train, key, count)
    draw = jax.jit(make_sampler(run).sample, static_argnums=2)

    def score(variables: dict) -> dict[str, float]:
        samples = draw_samples(functools.partial(draw, variables), key, count, requested)
        comparison = protocol.compare(real, protocol.extract_features(samples), count)
        return compute_metrics(comparison._replace(rng=np.random.default_rng(0)), quick=True)

    return score
