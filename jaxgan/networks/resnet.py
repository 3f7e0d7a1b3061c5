"""The residual networks of SNGAN, with spectral normalization in the discriminator.

Miyato et al. 2018, "Spectral normalization for generative adversarial networks": tables 4 to 6 for
32, 48 and 128 pixels, figures 9 and 10 for the blocks.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.attention import SelfAttention
from jaxgan.networks.conv import Conv, upsample
from jaxgan.networks.heads import output_heads, projection_head
from jaxgan.networks.norms import normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, refuse_widths
from jaxgan.networks.shared import ClassInput, Dense, call_block, count_halvings, identity

LARGE = 48
"""The size of images from which channels depend on the size, as in SNGAN's tables."""
MOST_DOUBLINGS = 4
"""Channels are at most 2^4 times those at the size of the images."""


class Initializers(NamedTuple):
    """Initializers of kernels: of the two layers of a block, and of the others."""

    main: Callable
    others: Callable


GLOROT = Initializers(
    nn.initializers.variance_scaling(2.0, "fan_avg", "uniform"),
    nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
)
"""Glorot's uniform ones, with a gain of sqrt(2) on the main path."""


class GeneratorBlock(nn.Module):
    """A residual block: norm, ReLU, upsampling, 3x3, norm, ReLU, 3x3."""

    features: int
    norm: str = "batch"
    initializers: Initializers = GLOROT

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, **of_norms) -> jax.Array:
        """Returns images `[n, 2 h, 2 w, features]` from images `[n, h, w, c]`."""
        norm = partial(normalize, norm=self.norm, train=train, **of_norms)
        normed = partial(normalize_weights, norm=self.norm, train=train)
        main = nn.relu(norm(x))
        init, init_shortcut = self.initializers
        main = normed(Conv(self.features, upsample_first=True, kernel_init=init))(main)
        main = nn.relu(norm(main))
        main = normed(Conv(self.features, kernel_init=init))(main)
        # A 1x1 convolution commutes with upsampling, and is cheaper before it.
        return main + upsample(normed(Conv(self.features, 1, kernel_init=init_shortcut))(x))


class DiscriminatorBlock(nn.Module):
    """A residual block: ReLU, 3x3, ReLU, 3x3, with a norm of the weights or before each ReLU.

    halve: whether to downsample afterwards. first: whether the inputs are images, which need no
    norm and no ReLU. wide: whether the inner layer has the channels of the outputs (BigGAN), not
    those of the inputs.
    """

    features: int
    halve: bool = False
    first: bool = False
    norm: str = "spectral"
    wide: bool = False
    initializers: Initializers = GLOROT

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns images `[n, h, w, features]`, or half that size, from images `[n, h, w, c]`."""
        norm = partial(normalize, norm=self.norm, train=train)
        normed = partial(normalize_weights, norm=self.norm, train=train)
        size = downsample if self.halve else identity
        init, init_shortcut = self.initializers
        inner = self.features if self.first or self.wide else x.shape[-1]
        main = x if self.first else nn.relu(norm(x))
        main = normed(Conv(inner, kernel_init=init))(main)
        main = size(normed(Conv(self.features, kernel_init=init))(nn.relu(norm(main))))
        if self.halve or x.shape[-1] != self.features:
            x = normed(Conv(self.features, 1, kernel_init=init_shortcut))(size(x))
        return main + x


class Generator(nn.Module):
    """A linear layer, then a block for each doubling of the size: latents to images.

    widths: channels of the linear layer, then of each block. norm: of the blocks. conditioning: see
    `NetworkOptions`; the last norm has no classes, as in the authors' code. attention: whether the
    inputs of the last block, at half the size of the images, pass through self-attention. remat:
    see `NetworkOptions`.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None
    norm: str = "batch"
    conditioning: str = "embedding"
    attention: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        _, (height, width) = count_halvings(self.shape, "resnet")
        normed = partial(normalize_weights, norm=self.norm, train=train)
        classes = ClassInput(labels, self.num_classes, self.conditioning)
        first, *others = self.widths
        x = classes.append_to(latents)
        x = normed(Dense(height * width * first, kernel_init=GLOROT.others))(x)
        x = x.reshape(-1, height, width, first)
        for i, features in enumerate(others):
            if self.attention and i == len(others) - 1:
                x = SelfAttention(self.norm, GLOROT.others)(x, train)
            block = GeneratorBlock(features, self.norm)
            x = call_block(block, self.remat, x, train, **classes.of_norms)
        x = nn.relu(normalize(x, self.norm, train))
        return self.output(normed(Conv(self.shape[-1], kernel_init=GLOROT.others))(x))


class Discriminator(nn.Module):
    """Blocks, the first of them with downsampling, ReLU, a sum over pixels: images to logits.

    widths: channels of each block. halvings: number of blocks with downsampling. norm: of the
    layers. heads: the outputs. attention: whether the outputs of the first block, at half the size
    of the images, pass through self-attention. wide, initializers: of the blocks. remat: see
    `NetworkOptions`.
    """

    widths: Sequence[int] = (128,) * 4
    halvings: int = 2
    num_classes: int | None = None
    norm: str = "spectral"
    heads: Heads = Heads()
    attention: bool = False
    wide: bool = False
    initializers: Initializers = GLOROT
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        normed = partial(normalize_weights, norm=self.norm, train=train)
        of_blocks = self.norm, self.wide, self.initializers
        x = images
        for i, features in enumerate(self.widths):
            block = DiscriminatorBlock(features, i < self.halvings, i == 0, *of_blocks)
            x = call_block(block, self.remat, x, train)
            if self.attention and i == 0:
                x = SelfAttention(self.norm, self.initializers.others)(x, train)
        x = nn.relu(normalize(x, self.norm, train)).sum(axis=(1, 2), dtype=jnp.float32)
        project = partial(projection_head, normed=normed, kernel_init=self.initializers.others)
        return output_heads(x, labels, self.num_classes, self.heads, project, normed)


def resnet(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns SNGAN's generator and discriminator for images of shape `(h, w, c)`.

    bounded: whether images lie in [-1, 1].
    width: below 48 pixels, channels of the discriminator, 128 by default; the generator has twice
        as many. From 48 pixels on, channels of both next to the images, 64 by default; with each
        halving of the size they double, up to 16 times.
    The generator has batch norm and the discriminator spectral norm by default.
    Raises `UsageError` for options that the family does not have, for shapes that `count_halvings`
    rejects, and for sides that are not multiples of 4; 28 x 28 and 32 x 32 are valid.
    """
    count, remaining = check_shape(shape, options, "resnet")
    output = nn.tanh if bounded else identity
    if max(shape[:2]) < LARGE:
        width = width or 128
        g_widths, d_widths, halvings = (2 * width,) * (count + 1), (width,) * 4, 2
    else:
        g_widths, d_widths = channels_by_stage(width or 64, count)
        even = remaining[0] % 2 == remaining[1] % 2 == 0
        halvings = count + 1 if even and count <= MOST_DOUBLINGS else count
    g_norm, d_norm = options.g_norm or "batch", options.d_norm or "spectral"
    return (
        Generator(
            tuple(shape),
            tuple(g_widths),
            output,
            num_classes,
            g_norm,
            options.g_conditioning,
            remat=options.remat,
        ),
        Discriminator(
            tuple(d_widths), halvings, num_classes, d_norm, options.heads, remat=options.remat
        ),
    )


def check_shape(shape: Sequence[int], options: NetworkOptions, network: str) -> tuple:
    """Returns what `count_halvings` does, for a family whose discriminator halves at least twice.

    Raises `UsageError` for widths at each size, and for shapes that the family cannot have.
    """
    refuse_widths(options, network)
    found = count_halvings(shape, network)
    if shape[0] % 4 or shape[1] % 4:
        size = f"{shape[0]} x {shape[1]}"
        raise UsageError(
            f"--network {network} needs images whose sides are multiples of 4 pixels, not {size}: "
            "see --image-size"
        )
    return found


def channels_by_stage(width: int, count: int) -> tuple[list[int], list[int]]:
    """Returns the channels of both networks' blocks for large images.

    width: next to the images; they double with each halving, up to 16 times. count: of halvings.
    """
    channels = lambda stage: width * 2 ** min(stage, MOST_DOUBLINGS)
    of_generator = [channels(count), *(channels(stage) for stage in reversed(range(count)))]
    return of_generator, [channels(stage) for stage in range(max(count, MOST_DOUBLINGS) + 1)]


def downsample(x: jax.Array) -> jax.Array:
    """Returns images `[n, h / 2, w / 2, c]`, the means of 2 x 2 pixels."""
    return sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4
