"""Multi-layer perceptrons, the networks of introductory GAN tutorials."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from jaxgan.networks.shared import Dense, append_class_embedding, identity, projection_head


class Generator(nn.Module):
    """Dense layers with ReLU from latents `[n, latent_size]` to examples `[n, *shape]`.

    shape: shape of one example, such as `(28, 28, 1)`.
    features: widths of the hidden layers.
    output: activation of the last layer; `nn.tanh` for images in [-1, 1].
    """

    shape: Sequence[int]
    features: Sequence[int] = (256, 512)
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns examples `[n, *shape]`."""
        del train
        x = append_class_embedding(latents, labels, self.num_classes)
        for width in self.features:
            x = nn.relu(Dense(width)(x))
        x = Dense(math.prod(self.shape))(x)
        return self.output(x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Dense layers with LeakyReLU from examples `[n, ...]` to logits `[n]`.

    features: widths of the hidden layers.
    slope: negative slope of the LeakyReLU.
    """

    features: Sequence[int] = (512, 256)
    slope: float = 0.2
    num_classes: int | None = None

    @nn.compact
    def __call__(self, examples: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns logits `[n]`."""
        del train
        x = examples.reshape(len(examples), -1)
        for width in self.features:
            x = nn.leaky_relu(Dense(width)(x), self.slope)
        return projection_head(x, labels, self.num_classes)


def mlp(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    d_batch_norm: bool = True,
) -> tuple[Generator, Discriminator]:
    """Returns a generator and a discriminator with two hidden layers each.

    By default they have 256 and 512, and 512 and 256 units: for MNIST, the generator's layers have
    100-256-512-784 units.
    shape: shape of one example. bounded: whether examples lie in [-1, 1], as images do.
    width: units of the narrower hidden layer, 256 by default; the other one has twice as many.
    """
    del d_batch_norm
    width = width or 256
    output = nn.tanh if bounded else identity
    return (
        Generator(tuple(shape), (width, 2 * width), output, num_classes),
        Discriminator((2 * width, width), num_classes=num_classes),
    )
