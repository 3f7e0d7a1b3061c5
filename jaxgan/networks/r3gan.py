"""The networks of R3GAN: grouped convolutions in inverted bottlenecks, and no normalization.

Huang et al. 2024, "The GAN is dead; long live the GAN! A modern GAN baseline" (configuration E).
In place of normalization, weights are initialized as in Fixup (Zhang et al. 2019): the last layer
of each block with zeros, the others scaled down with the number of blocks. The networks are meant
for the `relativistic` loss with `r1` and `r2`, and for Adam with `b1 = 0`. In bfloat16, the blocks
of the smallest size and the logits stay in float32, as in the authors' code, because the loss takes
differences of logits.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import UsageError
from jaxgan.networks.conv import Conv
from jaxgan.networks.heads import output_heads
from jaxgan.networks.norms import has_bias, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, find_widths
from jaxgan.networks.resampling import downsample, upsample
from jaxgan.networks.shared import ClassInput, Dense, call_block, class_embedding, count_halvings

SLOPE = 0.2
GAIN = np.sqrt(2 / (1 + SLOPE**2))
"""The gain that preserves the variance through a LeakyReLU of this slope (He et al. 2015)."""
GROUP = 16
"""Channels per group of the 3x3 convolutions."""
EXPANSION = 2
BLOCKS = 2
"""Residual blocks at each size."""

LINEAR = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Block(nn.Module):
    """A residual block: 1x1 to twice the channels, grouped 3x3, 1x1 back to the input channels.

    blocks: number of blocks in the network; the more, the smaller are the initial weights.
    norm: of the two inner layers, "none" in the paper.
    """

    blocks: int
    norm: str = "none"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, **of_norms) -> jax.Array:
        """Returns images `[n, h, w, c]`, of the shape of the inputs."""
        norm = partial(normalize, norm=self.norm, train=train, **of_norms)
        normed = partial(normalize_weights, norm=self.norm, train=train)
        inner = EXPANSION * x.shape[-1]
        # Fixup with 3 layers per block: weights times blocks ** (-1 / (2 * 3 - 2)), that is, the
        # variance times blocks ** (-1 / 2).
        init = nn.initializers.variance_scaling(GAIN**2 * self.blocks**-0.5, "fan_in", "normal")
        layer = partial(Conv, inner, use_bias=has_bias(self.norm), kernel_init=init)
        y = nn.leaky_relu(norm(normed(layer(1))(x)), SLOPE)
        y = nn.leaky_relu(norm(normed(layer(3, groups=max(inner // GROUP, 1)))(y)), SLOPE)
        # The largest singular value of zeros, by which spectral norm divides, is never found.
        last = LINEAR if self.norm.startswith("spectral") else nn.initializers.zeros
        return x + normed(Conv(x.shape[-1], 1, use_bias=False, kernel_init=last))(y)


class Generator(nn.Module):
    """A learned map times a linear layer, then blocks and upsampling: latents to images.

    widths: channels at each size, from the smallest to the largest. norm: of the blocks.
    conditioning, remat: see `NetworkOptions`. The images are not bounded.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    num_classes: int | None = None
    norm: str = "none"
    conditioning: str = "embedding"
    remat: bool = False

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        _, size = count_halvings(self.shape, "r3gan")
        dtype, latents = latents.dtype, latents.astype(jnp.float32)
        classes = ClassInput(labels, self.num_classes, self.conditioning)
        x = classes.append_to(latents, (self.num_classes or 1) ** -0.5)
        basis = self.param("basis", nn.initializers.normal(1.0), (*size, self.widths[0]))
        normed = partial(normalize_weights, norm=self.norm, train=train)
        linear = normed(Dense(self.widths[0], use_bias=False, kernel_init=LINEAR))
        x = basis * linear(x)[:, None, None]
        for stage, width in enumerate(self.widths):
            if stage > 0:
                x = upsample(_widened(x.astype(dtype), width, normed))
            for _ in range(BLOCKS):
                block = Block(BLOCKS * len(self.widths), self.norm)
                x = call_block(block, self.remat, x, train, **classes.of_norms)
        return normed(Conv(self.shape[-1], 1, use_bias=False, kernel_init=LINEAR))(x)


class Discriminator(nn.Module):
    """The mirror image of the generator: images to logits `[n]`.

    widths: channels at each size, from the largest to the smallest. norm: of the blocks. heads: the
    outputs. remat: see `NetworkOptions`.
    """

    widths: Sequence[int]
    num_classes: int | None = None
    norm: str = "none"
    heads: Heads = Heads()
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        normed = partial(normalize_weights, norm=self.norm, train=train)
        x = normed(Conv(self.widths[0], 1, use_bias=False, kernel_init=LINEAR))(images)
        for stage, width in enumerate(self.widths):
            if stage > 0:
                x = _widened(downsample(x), width, normed)
            if stage == len(self.widths) - 1:
                x = x.astype(jnp.float32)
            for _ in range(BLOCKS):
                block = Block(BLOCKS * len(self.widths), self.norm)
                x = call_block(block, self.remat, x, train)
        # A depthwise convolution whose kernel has the size of the remaining image.
        init = nn.initializers.normal((x.shape[1] * x.shape[2]) ** -0.5)
        basis = self.param("basis", init, x.shape[1:])
        features = (basis * x).sum(axis=(1, 2))
        project = partial(_logits, normed=normed)
        return output_heads(features, labels, self.num_classes, self.heads, project, normed)


def r3gan(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns R3GAN's generator and discriminator for images of shape `(h, w, c)`.

    width: channels at every size, a multiple of 8; 256 by default (768 in the paper).
    `options.widths`: channels at each size, from the smallest, instead of `width`.
    Raises `UsageError` for other widths, and for shapes that `count_halvings` rejects; 28 x 28 and
    32 x 32 are valid.
    """
    del bounded
    count, _ = count_halvings(shape, "r3gan")
    widths = find_widths(shape, options, (width or 256,) * (count + 1))
    for each in widths:
        if each % (GROUP // EXPANSION):
            flag = f"--width{'s' if options.widths else ''} {each}"
            raise UsageError(f"{flag} of r3gan must be a multiple of {GROUP // EXPANSION}")
    g_norm, d_norm = options.g_norm or "none", options.d_norm or "none"
    return (
        Generator(tuple(shape), widths, num_classes, g_norm, options.g_conditioning, options.remat),
        Discriminator(widths[::-1], num_classes, d_norm, options.heads, options.remat),
    )


def _widened(x: jax.Array, width: int, normed: Callable) -> jax.Array:
    if x.shape[-1] == width:
        return x
    return normed(Conv(width, 1, use_bias=False, kernel_init=LINEAR))(x)


def _logits(
    features: jax.Array, labels: jax.Array | None, num_classes: int | None, normed: Callable
) -> jax.Array:
    """Returns logits `[n]` of features `[n, k]`.

    They are a linear function of the features or, with classes, the dot product of one with an
    embedding of the class.
    """
    layer = lambda size: normed(Dense(size, use_bias=False, kernel_init=LINEAR))
    if num_classes is None:
        return layer(1)(features)[:, 0]
    size = features.shape[-1]
    classes = class_embedding(labels, num_classes, size, (size * num_classes) ** -0.5, normed)
    return (layer(size)(features) * classes).sum(axis=-1)
