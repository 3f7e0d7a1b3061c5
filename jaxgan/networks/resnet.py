"""The residual networks of SNGAN, with spectral normalization in the discriminator.

Miyato et al. 2018, "Spectral normalization for generative adversarial networks": table 4 for
CIFAR-10, figures 9 and 10 for the blocks.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.conv import Conv, upsample
from jaxgan.networks.shared import (
    Dense,
    append_class_embedding,
    count_halvings,
    identity,
    projection_head,
)

MAIN = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
SHORTCUT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
"""Glorot uniform initializers, with a gain of sqrt(2) on the main path."""


class GeneratorBlock(nn.Module):
    """A residual block: batch norm, ReLU, upsampling, 3x3, batch norm, ReLU, 3x3."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns images `[n, 2 h, 2 w, features]` from images `[n, h, w, c]`."""
        main = nn.relu(_batch_norm(x, train))
        main = Conv(self.features, upsample_first=True, kernel_init=MAIN)(main)
        main = nn.relu(_batch_norm(main, train))
        main = Conv(self.features, kernel_init=MAIN)(main)
        # A 1x1 convolution commutes with upsampling, and is cheaper before it.
        return main + upsample(Conv(self.features, 1, kernel_init=SHORTCUT)(x))


class DiscriminatorBlock(nn.Module):
    """A residual block: ReLU, 3x3, ReLU, 3x3, with spectral normalization of every layer.

    halve: whether to downsample afterwards. first: whether the inputs are images, which need no
    ReLU.
    """

    features: int
    halve: bool = False
    first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns images `[n, h, w, features]`, or half that size, from images `[n, h, w, c]`."""
        normed = lambda layer: _spectral_norm(layer, train)
        size = downsample if self.halve else identity
        main = x if self.first else nn.relu(x)
        main = normed(Conv(self.features, kernel_init=MAIN))(main)
        main = size(normed(Conv(self.features, kernel_init=MAIN))(nn.relu(main)))
        if self.halve or x.shape[-1] != self.features:
            x = normed(Conv(self.features, 1, kernel_init=SHORTCUT))(size(x))
        return main + x


class Generator(nn.Module):
    """A linear layer, then a block for each doubling of the size: latents to images."""

    shape: Sequence[int]
    width: int = 256
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        count, (height, width) = count_halvings(self.shape, "resnet")
        x = append_class_embedding(latents, labels, self.num_classes)
        x = Dense(height * width * self.width, kernel_init=SHORTCUT)(x)
        x = x.reshape(-1, height, width, self.width)
        for _ in range(count):
            x = GeneratorBlock(self.width)(x, train)
        x = nn.relu(_batch_norm(x, train))
        return self.output(Conv(self.shape[-1], kernel_init=SHORTCUT)(x))


class Discriminator(nn.Module):
    """Four blocks, two of them with downsampling, ReLU, a sum over pixels: images to logits."""

    width: int = 128
    num_classes: int | None = None

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns logits `[n]`."""
        x = DiscriminatorBlock(self.width, halve=True, first=True)(images, train)
        x = DiscriminatorBlock(self.width, halve=True)(x, train)
        x = DiscriminatorBlock(self.width)(x, train)
        x = DiscriminatorBlock(self.width)(x, train)
        x = nn.relu(x).sum(axis=(1, 2), dtype=jnp.float32)
        normed = lambda layer: _spectral_norm(layer, train)
        return projection_head(x, labels, self.num_classes, normed, kernel_init=SHORTCUT)


def resnet(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    d_batch_norm: bool = True,
) -> tuple[Generator, Discriminator]:
    """Returns SNGAN's generator and discriminator for images of shape `(h, w, c)`.

    bounded: whether images lie in [-1, 1].
    width: channels of the discriminator, 128 by default; the generator has twice as many.
    Raises `UsageError` for shapes that `count_halvings` rejects, and for sides that are not
    multiples of 4; 28 x 28 and 32 x 32 are valid.
    """
    del d_batch_norm
    count_halvings(shape, "resnet")
    if shape[0] % 4 or shape[1] % 4:  # The discriminator halves twice, whatever the size.
        size = f"{shape[0]} x {shape[1]}"
        raise UsageError(
            f"--network resnet needs images whose sides are multiples of 4 pixels, not {size}: "
            "see --image-size"
        )
    width = width or 128
    output = nn.tanh if bounded else identity
    return (
        Generator(tuple(shape), 2 * width, output, num_classes),
        Discriminator(width, num_classes),
    )


def downsample(x: jax.Array) -> jax.Array:
    """Returns images `[n, h / 2, w / 2, c]`, the means of 2 x 2 pixels."""
    return sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4


def _batch_norm(x: jax.Array, train: bool) -> jax.Array:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=x.dtype)(x)


def _spectral_norm(layer: nn.Module, train: bool) -> Callable:
    """Returns the layer with its weights divided by their largest singular value.

    The value is estimated by one power iteration per step, as in the paper.
    """
    norm = nn.SpectralNorm(layer)
    return lambda *inputs: norm(*inputs, update_stats=train)
