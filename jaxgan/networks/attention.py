"""Self-attention between the pixels of an image."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.networks.conv import Conv
from jaxgan.networks.norms import normalize_weights


class SelfAttention(nn.Module):
    """Adds to each pixel of an image a mean of values at all places, weighted by attention.

    SAGAN (Zhang et al. 2019, "Self-attention generative adversarial networks"), with keys and
    values at half the size, as in the authors' code and in BigGAN. The result is multiplied by a
    learned number, initially 0. norm: "spectral" and "spectral_batch" act on the weights.
    """

    norm: str = "none"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns images `[n, h, w, c]` from images of the same shape, with even sides."""
        n, _, _, channels = x.shape
        normed = partial(normalize_weights, norm=self.norm, train=train)
        init = self.kernel_init
        layer = lambda features: normed(Conv(features, 1, use_bias=False, kernel_init=init))
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        queries = layer(narrow)(x).reshape(n, -1, narrow)
        keys = max_pool(layer(narrow)(x)).reshape(n, -1, narrow)
        values = max_pool(layer(half)(x)).reshape(n, -1, half)
        similarities = jnp.einsum("nqc,nkc->nqk", queries, keys)
        weights = nn.softmax(similarities.astype(jnp.float32)).astype(x.dtype)
        means = jnp.einsum("nqk,nkc->nqc", weights, values).reshape(*x.shape[:3], half)
        gain = self.param("gain", nn.initializers.zeros, ())
        attended = layer(channels)(means)
        return (x.astype(jnp.float32) + gain * attended.astype(jnp.float32)).astype(x.dtype)


def max_pool(x: jax.Array) -> jax.Array:
    """Returns images `[n, h / 2, w / 2, c]`, the largest values of 2 x 2 pixels."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
