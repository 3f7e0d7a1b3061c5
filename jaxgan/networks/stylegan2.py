"""The networks of StyleGAN2: a constant becomes an image in layers that styles scale.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", with a generator that
adds up images of each size (skip) and a residual discriminator; with classes as in StyleGAN2-ADA
(Karras et al. 2020, "Training generative adversarial networks with limited data"), whose networks
for CIFAR-10 have neither skips nor residuals, and groups of 32 images. The networks are meant for
the `non_saturating` loss with `r1`, and for Adam with `b1 = 0`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.devices import draw_rows
from jaxgan.errors import UsageError
from jaxgan.networks.heads import output_heads
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, find_widths, refuse_norms
from jaxgan.networks.resampling import downsample, upsample
from jaxgan.networks.shared import call_block, count_halvings
from jaxgan.networks.stylegan2_layers import (
    EqualizedConv,
    Linear,
    Mapping,
    StyleConv,
    ToImage,
    activate,
    append_minibatch_stddev,
)

CHANNELS = 512
"""The default channels of all layers, and the size of styles, for images of up to 64 pixels."""
TOTAL = 32_768
"""The default channels of larger sizes, times the size."""
CLASS_LAYERS = 8
"""Layers from classes to the vectors with which the discriminator compares features."""


class Synthesis(nn.Module):
    """Layers from styles to images.

    shape: of an image. widths: channels at each size. remat: see `NetworkOptions`.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    remat: bool = False

    @nn.compact
    def __call__(self, styles: jax.Array, dtype=jnp.float32, train: bool = False) -> jax.Array:
        """Returns images, float32 `[n, *shape]`.

        styles: float32 `[n, 2 len(widths), k]`, for each convolution and for the last image.
        dtype: of the convolutions.
        """
        _, size = count_halvings(self.shape, "stylegan2")
        start = self.param("start", nn.initializers.normal(1.0), (*size, self.widths[0]))
        # In float32, because the gradient of the start is a sum over the batch.
        x = jnp.broadcast_to(start, (len(styles), *start.shape)).astype(dtype)
        images, place = 0.0, 0
        for stage, width in enumerate(self.widths):
            if stage > 0:
                layer = StyleConv(width, upsample=True)
                x = call_block(layer, self.remat, x, styles[:, place], train)
                images, place = upsample(images), place + 1
            x = call_block(StyleConv(width), self.remat, x, styles[:, place], train)
            # An image shares its style with the next convolution.
            images, place = images + ToImage(self.shape[-1])(x, styles[:, place + 1]), place + 1
        return images


class Generator(nn.Module):
    """Latents to styles, and styles to images, which are not bounded.

    widths: channels at each size, from the smallest. mapping_layers: layers from latents to styles.
    style_mixing: probability, in training, that styles of other latents replace those of the last
    layers, from a random one on. remat: see `NetworkOptions`.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    num_classes: int | None = None
    mapping_layers: int = 8
    style_mixing: float = 0.9
    remat: bool = False

    def setup(self):
        """Creates the two parts of the generator."""
        self.mapping = Mapping(self.widths[0], self.mapping_layers, self.num_classes)
        self.synthesis = Synthesis(self.shape, self.widths, self.remat)

    def __call__(
        self, latents: jax.Array, labels=None, train: bool = False, truncation: float | None = None
    ) -> jax.Array:
        """Returns images, float32 `[n, *shape]`.

        truncation: factor of the distances of styles from their average, None for 1.
        """
        styles = self.styles(latents, labels, train, truncation)
        return self.synthesize(styles, latents.dtype, train)

    def styles(self, latents, labels=None, train: bool = False, truncation: float | None = None):
        """Returns styles, float32 `[n, number of layers, k]`."""
        count = 2 * len(self.widths)
        styles = self.mapping(latents, labels, train, truncation)[:, None]
        if not (train and self.style_mixing):
            return jnp.broadcast_to(styles, (len(styles), count, styles.shape[-1]))
        latents_key, place_key, key = jax.random.split(self.make_rng("noise"), 3)
        # In float32, so that the precision does not change what is drawn.
        others = draw_rows(jax.random.normal, latents_key, latents.shape)
        others = self.mapping(others, labels)[:, None]
        place = jax.random.randint(place_key, (), 1, count)
        mixed = jax.random.uniform(key) < self.style_mixing
        first = jnp.arange(count)[:, None] < jnp.where(mixed, place, count)
        return jnp.where(first, styles, others)

    def synthesize(self, styles: jax.Array, dtype=jnp.float32, train: bool = False) -> jax.Array:
        """Returns images, float32 `[n, *shape]`, of styles."""
        return self.synthesis(styles, dtype, train)


class DiscriminatorBlock(nn.Module):
    """A residual block: 3x3, blur, 3x3 with stride 2, beside a 1x1 of the downsampled images."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h / 2, w / 2, features]` from images `[n, h, w, c]`."""
        skip = EqualizedConv(self.features, 1, use_bias=False)(downsample(x))
        main = activate(EqualizedConv(x.shape[-1])(x))
        main = activate(EqualizedConv(self.features, halve=True)(main))
        return (main + skip) * 0.5**0.5


class Discriminator(nn.Module):
    """Blocks, the deviation within groups of images, and linear layers: images to logits.

    widths: channels at each size, from the largest. heads: the outputs. remat: see
    `NetworkOptions`.
    """

    widths: Sequence[int]
    num_classes: int | None = None
    norm: str = "none"
    heads: Heads = Heads()
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        x = activate(EqualizedConv(self.widths[0], 1)(images))
        for width in self.widths[1:]:
            x = call_block(DiscriminatorBlock(width), self.remat, x)
        x = append_minibatch_stddev(x.astype(jnp.float32))
        x = activate(EqualizedConv(self.widths[-1])(x))
        x = activate(Linear(self.widths[-1])(x.reshape(len(x), -1)))
        return output_heads(x, labels, self.num_classes, self.heads, _project)


def stylegan2(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns StyleGAN2's generator and discriminator for images of shape `(h, w, c)`.

    width: channels at every size, and size of the styles; 512 by default, and fewer for more than
        64 pixels. `options.widths`: channels at each size, from the smallest, instead of `width`.
    Raises `UsageError` for options that the family does not have, and for shapes that
    `count_halvings` rejects; 28 x 28 and 32 x 32 are valid.
    """
    del bounded
    count, _ = count_halvings(shape, "stylegan2")
    refuse_norms(options, "stylegan2")
    if num_classes is not None and options.g_conditioning == "norm":
        raise UsageError(
            "--network stylegan2 has no norms: leave out --g-conditioning norm, and classes are "
            "embedded beside the latents"
        )
    sizes = [max(shape[:2]) // 2**stage for stage in reversed(range(count + 1))]
    usual = tuple(width or min(CHANNELS, TOTAL // size) for size in sizes)
    widths = find_widths(shape, options, usual)
    return (
        Generator(
            tuple(shape),
            widths,
            num_classes,
            options.mapping_layers,
            options.style_mixing,
            options.remat,
        ),
        Discriminator(widths[::-1], num_classes, heads=options.heads, remat=options.remat),
    )


def _project(features: jax.Array, labels: jax.Array | None, num_classes: int | None) -> jax.Array:
    """Returns logits `[n]` of features `[n, k]`.

    They are a linear function of the features or, with classes, the dot product of one with a
    vector of the class.
    """
    if num_classes is None:
        return Linear(1)(features)[:, 0]
    size = features.shape[-1]
    of_classes = Mapping(size, CLASS_LAYERS, num_classes)(None, labels)
    return (Linear(size)(features) * of_classes).sum(axis=1) / np.sqrt(size)
