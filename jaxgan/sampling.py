"""Drawing samples from a generator, and the batch statistics that it needs for that."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.batch_norm import override_batch_norm
from jaxgan.devices import AXIS, device_count
from jaxgan.errors import UsageError
from jaxgan.keys import stream

STATISTICS_BATCHES = 16
STATISTICS_BATCH_SIZE = 64
"""Numbers of batches, and of generated images in each, that batch statistics are estimated from."""


def apply(
    network: nn.Module, variables: dict, inputs: jax.Array, labels=None, dtype=None, **settings
):
    """Returns what `network.apply` returns, with all outputs in float32.

    labels: passed on unless they are None. dtype: the type to convert the inputs to, and so the
    type that the networks of this package compute in. Parameters and statistics stay float32.
    """
    arguments = (inputs,) if labels is None else (inputs, labels)
    if dtype is None:
        return network.apply(variables, *arguments, **settings)
    result = network.apply(variables, inputs.astype(dtype), *arguments[1:], **settings)
    outputs, *mutated = result if "mutable" in settings else (result,)
    outputs = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), outputs)
    return (outputs, *mutated) if mutated else outputs


def apply_in_training(
    network: nn.Module, variables: dict, inputs: jax.Array, labels=None, dtype=None, key=None
) -> tuple:
    """Returns the outputs in training mode, and the new statistics, of the whole batch.

    variables: with the collection "params"; the others are the statistics. key: for networks that
    draw noise.
    """
    axis = AXIS if device_count() > 1 else None
    mutable = [name for name in variables if name != "params"]
    with nn.intercept_methods(override_batch_norm(axis_name=axis)):
        settings = {"train": True, "mutable": mutable, "rngs": with_noise(key)}
        return apply(network, variables, inputs, labels, dtype, **settings)


def with_noise(key: jax.Array | None) -> dict | None:
    """Returns the keys of Flax for networks that draw noise, or None without a key."""
    return None if key is None else {"noise": stream(key, "network")}


class Sampler(NamedTuple):
    """A generator without its parameters.

    module: from latents `[n, latent_size]`, and labels `[n]` if the GAN is conditional, to images.
    num_classes: the number of classes of a conditional GAN, else None.
    """

    module: nn.Module
    latent_size: int
    num_classes: int | None = None

    def latents(
        self, key: jax.Array, num_samples: int, truncation: float | None = None
    ) -> jax.Array:
        """Returns latents `[num_samples, latent_size]` from N(0, 1).

        truncation: the largest absolute value, beyond which values are drawn again (Brock et al.
        2019, section 3.1); None for no limit.
        """
        shape, key = (num_samples, self.latent_size), stream(key, "sample")
        if truncation is None:
            return jax.random.normal(key, shape)
        return jax.random.truncated_normal(key, -truncation, truncation, shape)

    def decode(
        self,
        variables: dict,
        latents: jax.Array,
        labels=None,
        style_truncation: float | None = None,
    ) -> jax.Array:
        """Returns the images `[n, ...]` of latents `[n, latent_size]`.

        variables: the generator's Flax variables. labels: for a conditional generator, `[n]` or one
        for all; by default the classes in turn. style_truncation: for a generator with styles, the
        factor of their distances from their average; None for 1.
        Raises `UsageError` for labels outside the classes, and for a generator without styles.
        """
        settings = {}
        if style_truncation is not None:
            if not hasattr(self.module, "styles"):
                raise UsageError(
                    "--style-truncation is for generators with styles, of --network stylegan2"
                )
            settings["truncation"] = style_truncation
        if self.num_classes is None and labels is not None:
            raise UsageError("this generator is not conditional: it takes no labels")
        if self.num_classes is not None:
            count = latents.shape[0]
            labels = cycle_classes(count, self.num_classes) if labels is None else labels
            if not isinstance(labels, jax.core.Tracer):
                _check_labels(np.asarray(labels), count, self.num_classes)
            labels = jnp.broadcast_to(jnp.asarray(labels), (count,))
        return apply(self.module, variables, latents, labels, **settings)

    def sample(
        self, variables: dict, key: jax.Array, num_samples: int, labels: jax.Array | None = None
    ) -> jax.Array:
        """Returns images `[num_samples, ...]`; the same key gives the same latents.

        variables, labels: as in `decode`.
        """
        return self.decode(variables, self.latents(key, num_samples), labels)

    def with_batch_statistics(
        self,
        params: Any,
        stats: Any,
        key: jax.Array,
        class_frequencies: Sequence[float] | None = None,
    ) -> dict:
        """Returns the generator's variables with batch statistics estimated for `params`.

        The statistics kept in training belong to the trained weights. With averaged weights they
        give foggy images, so the statistics are averaged over `STATISTICS_BATCHES` batches of
        generated images (Izmailov et al. 2018, section 3.2, do so for averaged classifiers).
        stats: the generator's other Flax collections; without any, nothing is estimated.
        class_frequencies: the frequency of each class in these batches; equal by default.
        """
        if not stats:
            return {"params": params, **stats}
        frequencies = (
            None if class_frequencies is None else jnp.asarray(class_frequencies, jnp.float32)
        )

        def add_batch(stats, inputs):
            number, key = inputs
            latents_key, labels_key = jax.random.split(key)
            latents = jax.random.normal(latents_key, (STATISTICS_BATCH_SIZE, self.latent_size))
            labels = None
            if self.num_classes is not None:
                size = (STATISTICS_BATCH_SIZE,)
                labels = jax.random.choice(labels_key, self.num_classes, size, p=frequencies)
            variables = {"params": params, **stats}
            # Batch t has the weight 1 / (t + 1): the mean of all, whatever the layer's momentum.
            with nn.intercept_methods(override_batch_norm(momentum=number / (number + 1))):
                settings = {"train": True, "mutable": list(stats), "rngs": with_noise(key)}
                _, stats = apply(self.module, variables, latents, labels, **settings)
            return stats, None

        keys = jax.random.split(stream(key, "statistics"), STATISTICS_BATCHES)
        numbers = jnp.arange(STATISTICS_BATCHES, dtype=jnp.float32)
        stats, _ = lax.scan(add_batch, stats, (numbers, keys))
        return {"params": params, **stats}


def cycle_classes(num_samples: int, num_classes: int) -> np.ndarray:
    """Returns labels `[num_samples]` that go through the classes in turn."""
    return np.arange(num_samples) % num_classes


def _check_labels(labels: np.ndarray, num_samples: int, num_classes: int) -> None:
    if labels.shape not in ((), (num_samples,)) or labels.dtype.kind not in "iu":
        raise UsageError(f"labels must be one integer or {num_samples} integers")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise UsageError(f"labels must be at least 0 and below {num_classes}")
