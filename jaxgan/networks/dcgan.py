"""DCGAN: strided and transposed convolutions with batch normalization (Radford et al. 2016)."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax

from jaxgan.networks.conv import Conv, ConvTranspose
from jaxgan.networks.shared import (
    Dense,
    append_class_embedding,
    count_halvings,
    identity,
    projection_head,
)

INIT = nn.initializers.normal(0.02)
SLOPE = 0.2


def _batch_norm(x: jax.Array, train: bool) -> jax.Array:
    scale_init = lambda *args: 1 + INIT(*args)
    norm = nn.BatchNorm(not train, momentum=0.9, dtype=x.dtype, scale_init=scale_init)
    return norm(x)


class Generator(nn.Module):
    """A linear layer, then transposed 4x4 convolutions: latents to images `[n, *shape]`.

    Each convolution doubles the size and halves the channels; the last one has `width` inputs.
    output: activation of the last layer.
    """

    shape: Sequence[int]
    width: int = 64
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        count, (height, width) = count_halvings(self.shape, "dcgan")
        channels = self.width * 2 ** (count - 1)
        x = append_class_embedding(latents, labels, self.num_classes)
        x = Dense(height * width * channels, use_bias=False, kernel_init=INIT)(x)
        x = nn.relu(_batch_norm(x.reshape(-1, height, width, channels), train))
        layer = partial(ConvTranspose, kernel_init=INIT)
        for stage in range(count - 1):
            x = layer(channels // 2 ** (stage + 1), use_bias=False)(x)
            x = nn.relu(_batch_norm(x, train))
        return self.output(layer(self.shape[-1])(x))


class Discriminator(nn.Module):
    """4x4 convolutions with stride 2, then a linear layer: images to logits `[n]`.

    width: channels of the first convolution; each of the next has twice as many.
    batch_norm: whether batch norm follows each convolution but the first.
    """

    width: int = 64
    num_classes: int | None = None
    batch_norm: bool = True

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns logits `[n]`."""
        count, _ = count_halvings(images.shape[1:], "dcgan")
        layer = partial(Conv, kernel_size=4, strides=2, kernel_init=INIT)
        x = nn.leaky_relu(layer(self.width)(images), SLOPE)
        for stage in range(1, count):
            x = layer(self.width * 2**stage, use_bias=not self.batch_norm)(x)
            x = nn.leaky_relu(_batch_norm(x, train) if self.batch_norm else x, SLOPE)
        x = x.reshape(len(x), -1)
        return projection_head(x, labels, self.num_classes, kernel_init=INIT)


def dcgan(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    d_batch_norm: bool = True,
) -> tuple[Generator, Discriminator]:
    """Returns DCGAN's generator and discriminator for images of shape `(h, w, c)`.

    bounded: whether images lie in [-1, 1]. width: channels next to the images, 64 by default.
    d_batch_norm: whether the discriminator has batch norm.
    Raises `UsageError` for shapes that `count_halvings` rejects; 28 x 28 and 32 x 32 are valid.
    """
    count_halvings(shape, "dcgan")
    width = width or 64
    output = nn.tanh if bounded else identity
    return (
        Generator(tuple(shape), width, output, num_classes),
        Discriminator(width, num_classes, d_batch_norm),
    )
