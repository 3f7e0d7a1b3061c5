"""Drawing from a generator, and making one ready for it."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.batch_norm import counting
from jaxgan.errors import UsageError
from jaxgan.keys import stream

STATISTICS_BATCHES = 16
STATISTICS_BATCH_SIZE = 64
"""Of generated images, over which the statistics of a generator's batch norms are taken."""


def apply(
    network: nn.Module, variables: dict, inputs: jax.Array, labels=None, dtype=None, **settings
):
    """Returns what `network.apply` returns, the outputs in float32.

    labels: handed on unless they are None. dtype: of the inputs, and so of what the networks of
    this package compute in; parameters and statistics stay float32.
    """
    arguments = (inputs,) if labels is None else (inputs, labels)
    if dtype is None:
        return network.apply(variables, *arguments, **settings)
    result = network.apply(variables, inputs.astype(dtype), *arguments[1:], **settings)
    outputs, *mutated = result if isinstance(result, tuple) else (result,)
    outputs = outputs.astype(jnp.float32)
    return (outputs, *mutated) if mutated else outputs


def generated(
    generator: nn.Module,
    variables: dict,
    latent_size: int,
    key: jax.Array,
    num_samples: int,
    labels: jax.Array | None = None,
    num_classes: int | None = None,
) -> jax.Array:
    """Returns images `[num_samples, ...]`; the same key gives the same latents.

    labels: `[num_samples]` or one for all, of a conditional generator; one class after the other
    unless given. Raises `UsageError` for labels that it does not know.
    """
    latents = jax.random.normal(stream(key, "sample"), (num_samples, latent_size))
    if num_classes is None and labels is not None:
        raise UsageError("this generator is not conditional: it takes no labels")
    if num_classes is not None:
        labels = classes(num_samples, num_classes) if labels is None else labels
        if not isinstance(labels, jax.core.Tracer):
            _check_labels(np.asarray(labels), num_samples, num_classes)
        labels = jnp.broadcast_to(jnp.asarray(labels), (num_samples,))
    return apply(generator, variables, latents, labels)


def classes(num_samples: int, num_classes: int) -> np.ndarray:
    """Returns labels `[num_samples]`, one class after the other, round and round."""
    return np.arange(num_samples) % num_classes


def with_own_statistics(
    generator: nn.Module,
    params: Any,
    stats: Any,
    latent_size: int,
    key: jax.Array,
    num_classes: int | None = None,
    class_frequencies: Sequence[float] | None = None,
) -> dict:
    """Returns the generator's variables, with the batch statistics of these very parameters.

    Averaged weights do not have the statistics of the weights that were trained: with theirs a
    healthy generator draws fog. So the statistics are the means over `STATISTICS_BATCHES` batches
    of its own images (Izmailov et al. 2018 do so for averaged classifiers, section 3.2).
    class_frequencies: how often each class is drawn, equal unless given.
    """
    variables = {"params": params, **stats}
    if not stats:
        return variables
    frequencies = None if class_frequencies is None else jnp.asarray(class_frequencies, jnp.float32)

    def count(stats, inputs):
        number, key = inputs
        latents_key, labels_key = jax.random.split(key)
        latents = jax.random.normal(latents_key, (STATISTICS_BATCH_SIZE, latent_size))
        labels = None
        if num_classes is not None:
            labels = jax.random.choice(
                labels_key, num_classes, (STATISTICS_BATCH_SIZE,), p=frequencies
            )
        # Batch number t counts 1 / (t + 1): the mean of all so far, whatever the author's momentum.
        with nn.intercept_methods(counting(momentum=number / (number + 1))):
            _, stats = apply(
                generator,
                {"params": params, **stats},
                latents,
                labels,
                train=True,
                mutable=list(stats),
            )
        return stats, None

    keys = jax.random.split(stream(key, "statistics"), STATISTICS_BATCHES)
    numbers = jnp.arange(STATISTICS_BATCHES, dtype=jnp.float32)
    stats, _ = lax.scan(count, stats, (numbers, keys))
    return {"params": params, **stats}


def _check_labels(labels: np.ndarray, num_samples: int, num_classes: int) -> None:
    if labels.shape not in ((), (num_samples,)) or labels.dtype.kind not in "iu":
        raise UsageError(f"labels must be one whole number, or {num_samples} of them")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise UsageError(f"labels must be at least 0 and below {num_classes}")
