"""DCGAN: strided and transposed convolutions with batch normalization (Radford et al. 2016)."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax

from jaxgan.networks.conv import Conv, ConvTranspose
from jaxgan.networks.heads import output_heads, projection_head
from jaxgan.networks.norms import has_bias, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, refuse_blocks
from jaxgan.networks.shared import ClassInput, Dense, count_halvings, identity

INIT = nn.initializers.normal(0.02)
SLOPE = 0.2


def _scale_init(*arguments) -> jax.Array:
    return 1 + INIT(*arguments)


class Generator(nn.Module):
    """A linear layer, then transposed 4x4 convolutions: latents to images `[n, *shape]`.

    Each convolution doubles the size and halves the channels; the last one has `width` inputs.
    output: activation of the last layer. norm: of the hidden layers. conditioning: see
    `NetworkOptions`.
    """

    shape: Sequence[int]
    width: int = 64
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None
    norm: str = "batch"
    conditioning: str = "embedding"

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        count, (height, width) = count_halvings(self.shape, "dcgan")
        channels = self.width * 2 ** (count - 1)
        classes = ClassInput(labels, self.num_classes, self.conditioning)
        settings = {"norm": self.norm, "train": train}
        norm = partial(normalize, **settings, **classes.of_norms, scale_init=_scale_init)
        normed, use_bias = partial(normalize_weights, **settings), has_bias(self.norm)
        x = classes.append_to(latents)
        x = normed(Dense(height * width * channels, use_bias, kernel_init=INIT))(x)
        x = nn.relu(norm(x.reshape(-1, height, width, channels)))
        layer = partial(ConvTranspose, kernel_init=INIT)
        for stage in range(count - 1):
            x = normed(layer(channels // 2 ** (stage + 1), use_bias=use_bias))(x)
            x = nn.relu(norm(x))
        return self.output(normed(layer(self.shape[-1]))(x))


class Discriminator(nn.Module):
    """4x4 convolutions with stride 2, then a linear layer: images to logits `[n]`.

    width: channels of the first convolution; each of the next has twice as many.
    norm: of all convolutions; one of activations leaves out the first. heads: the outputs.
    """

    width: int = 64
    num_classes: int | None = None
    norm: str = "batch"
    heads: Heads = Heads()

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        count, _ = count_halvings(images.shape[1:], "dcgan")
        settings = {"norm": self.norm, "train": train}
        normed = partial(normalize_weights, **settings)
        layer = partial(Conv, kernel_size=4, strides=2, kernel_init=INIT)
        x = nn.leaky_relu(normed(layer(self.width))(images), SLOPE)
        for stage in range(1, count):
            x = normed(layer(self.width * 2**stage, use_bias=has_bias(self.norm)))(x)
            x = nn.leaky_relu(normalize(x, **settings, scale_init=_scale_init), SLOPE)
        x = x.reshape(len(x), -1)
        project = partial(projection_head, normed=normed, kernel_init=INIT)
        return output_heads(x, labels, self.num_classes, self.heads, project, normed)


def dcgan(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns DCGAN's generator and discriminator for images of shape `(h, w, c)`.

    bounded: whether images lie in [-1, 1]. width: channels next to the images, 64 by default.
    Both networks have batch norm by default.
    Raises `UsageError` for options that the family does not have, and for shapes that
    `count_halvings` rejects; 28 x 28 and 32 x 32 are valid.
    """
    refuse_blocks(options, "dcgan")
    count_halvings(shape, "dcgan")
    width = width or 64
    output = nn.tanh if bounded else identity
    g_norm, d_norm = options.g_norm or "batch", options.d_norm or "batch"
    return (
        Generator(tuple(shape), width, output, num_classes, g_norm, options.g_conditioning),
        Discriminator(width, num_classes, d_norm, options.heads),
    )
