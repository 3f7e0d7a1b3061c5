"""Multi-layer perceptrons: the networks of the classic exercise."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax


class Generator(nn.Module):
    """Dense layers with ReLU from latents `[n, latent_size]` to examples `[n, *shape]`.

    shape: of one example, such as `(28, 28, 1)`.
    features: widths of the hidden layers.
    output: applied to the last layer; `nn.tanh` for images in [-1, 1].
    """

    shape: Sequence[int]
    features: Sequence[int] = (256, 512)
    output: Callable[[jax.Array], jax.Array] = nn.tanh

    @nn.compact
    def __call__(self, latents: jax.Array, train: bool = False) -> jax.Array:
        """Returns examples `[n, *shape]`."""
        del train
        x = latents
        for width in self.features:
            x = nn.relu(nn.Dense(width)(x))
        x = nn.Dense(math.prod(self.shape))(x)
        return self.output(x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Dense layers with LeakyReLU from examples `[n, ...]` to logits `[n]`.

    features: widths of the hidden layers.
    slope: of the LeakyReLU below zero.
    """

    features: Sequence[int] = (512, 256)
    slope: float = 0.2

    @nn.compact
    def __call__(self, examples: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits `[n]`."""
        del train
        x = examples.reshape(len(examples), -1)
        for width in self.features:
            x = nn.leaky_relu(nn.Dense(width)(x), self.slope)
        return nn.Dense(1)(x).squeeze(-1)


def mlp(shape: Sequence[int], bounded: bool = True) -> tuple[Generator, Discriminator]:
    """Returns the classic pair: 256-512 and 512-256 hidden units, 100-256-512-784 for MNIST.

    shape: of one example. bounded: whether examples lie in [-1, 1], as images do.
    """
    return Generator(tuple(shape), output=nn.tanh if bounded else _identity), Discriminator()


def _identity(x: jax.Array) -> jax.Array:
    return x
