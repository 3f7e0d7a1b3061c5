"""Samples to be evaluated: their random keys and, for a conditional GAN, their classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import Dataset
from jaxgan.keys import key_of_seed, stream
from jaxgan.runs.description import Description

CHUNK = 500
"""The number of samples that are drawn at a time."""


def evaluation_key(seed: int) -> jax.Array:
    """Returns the key of a seed of an evaluation, unrelated to the keys of training."""
    return stream(key_of_seed(seed), "evaluation")


def selection_key() -> jax.Array:
    """Returns the key by which the best generator is chosen, unrelated to those of evaluations."""
    return stream(key_of_seed(0), "selection")


def request_classes(
    run: Description, train: Dataset, key: jax.Array, count: int
) -> np.ndarray | None:
    """Returns the classes `[count]` to ask a conditional GAN for; None for other GANs.

    They are drawn with the frequencies of the training split: metrics that compare distributions
    would count any other frequencies as an error of the samples.
    """
    if not run.config.conditional:
        return None
    frequencies = jnp.asarray(train.class_frequencies, jnp.float32)
    labels_key = stream(key, "labels")
    return np.asarray(jax.random.choice(labels_key, len(frequencies), (count,), p=frequencies))


def draw_samples(
    draw: Callable, key: jax.Array, count: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """Returns samples `[count, ...]`.

    draw: `(key, num_samples[, labels]) -> samples`. labels: `[count]`, for a conditional GAN.
    """
    parts = []
    for first in range(0, count, CHUNK):
        own = () if labels is None else (np.resize(labels[first : first + CHUNK], CHUNK),)
        parts.append(np.asarray(draw(jax.random.fold_in(key, first), CHUNK, *own)))
    return np.concatenate(parts)[:count]
