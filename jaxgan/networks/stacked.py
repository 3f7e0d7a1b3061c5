"""Networks for stacked MNIST with a small discriminator (Metz et al. 2017, Unrolled GANs)."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax

from jaxgan.errors import UsageError
from jaxgan.networks.conv import Conv, ConvTranspose
from jaxgan.networks.heads import output_heads, projection_head
from jaxgan.networks.norms import has_bias, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, refuse_blocks
from jaxgan.networks.shared import ClassInput, Dense, identity

INIT = nn.initializers.normal(0.02)
SLOPE = 0.3
CHANNELS = (64, 32, 16, 8)
"""The generator's channels, from the smallest size to that of the images."""


def sizes_of(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the sizes of the generator's layers: those of 28 x 28 are 4, 7, 14 and 28."""
    halved = lambda side, times: -(-side // 2**times)
    times = range(len(CHANNELS) - 1, -1, -1)
    return [(halved(shape[0], each), halved(shape[1], each)) for each in times]


def crop(x: jax.Array, height: int, width: int) -> jax.Array:
    """Returns images `[n, height, width, c]` without their first row and column if these are odd.

    Of a transposed 3x3 convolution to the even size, that is the one to the odd size.
    """
    return x[:, -height:, -width:]


class Generator(nn.Module):
    """A linear layer, transposed 3x3 convolutions and a 3x3 convolution: images `[n, *shape]`.

    output: activation of the last layer. norm: of the others. conditioning: see `NetworkOptions`.
    """

    shape: Sequence[int]
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None
    norm: str = "batch"
    conditioning: str = "embedding"

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`."""
        classes = ClassInput(labels, self.num_classes, self.conditioning)
        settings = {"norm": self.norm, "train": train}
        norm = partial(normalize, **settings, **classes.of_norms)
        normed, use_bias = partial(normalize_weights, **settings), has_bias(self.norm)
        (height, width), *larger = sizes_of(self.shape)
        x = classes.append_to(latents)
        x = normed(Dense(height * width * CHANNELS[0], use_bias, kernel_init=INIT))(x)
        x = nn.relu(norm(x.reshape(-1, height, width, CHANNELS[0])))
        layer = partial(ConvTranspose, kernel_size=3, use_bias=use_bias, kernel_init=INIT)
        for (height, width), channels in zip(larger, CHANNELS[1:], strict=True):
            x = crop(normed(layer(channels))(x), height, width)
            x = nn.relu(norm(x))
        return self.output(normed(Conv(self.shape[-1], kernel_init=INIT))(x))


class Discriminator(nn.Module):
    """3x3 convolutions with stride 2, then a linear layer: images to logits `[n]`.

    width: channels of the first convolution; each of the next has twice as many.
    norm: of all convolutions. heads: the outputs.
    """

    width: int = 4
    num_classes: int | None = None
    norm: str = "batch"
    heads: Heads = Heads()

    @nn.compact
    def __call__(self, images: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        settings = {"norm": self.norm, "train": train}
        normed, use_bias = partial(normalize_weights, **settings), has_bias(self.norm)
        layer = partial(Conv, strides=2, use_bias=use_bias, kernel_init=INIT)
        x = images
        for stage in range(len(CHANNELS) - 1):
            x = normed(layer(self.width * 2**stage))(x)
            x = nn.leaky_relu(normalize(x, **settings), SLOPE)
        x = x.reshape(len(x), -1)
        project = partial(projection_head, normed=normed, kernel_init=INIT)
        return output_heads(x, labels, self.num_classes, self.heads, project, normed)


def stacked(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns the networks for stacked MNIST of Metz et al. 2017, with the norms of fjxmlzn/PacGAN.

    The generator has 64, 32, 16 and 8 channels. Both networks have batch norm.
    shape: `(h, w, c)`. bounded: whether images lie in [-1, 1].
    width: channels of the discriminator's first convolution, 4 by default (D = 1/2 G; 2 for 1/4 G).
    Raises `UsageError` for options that the family does not have, and for other data than images.
    """
    refuse_blocks(options, "stacked")
    if len(shape) != 3:
        raise UsageError(
            f"--network stacked needs images, not examples of shape {tuple(shape)}: "
            "use --network mlp"
        )
    g_norm, d_norm = options.g_norm or "batch", options.d_norm or "batch"
    output = nn.tanh if bounded else identity
    return (
        Generator(tuple(shape), output, num_classes, g_norm, options.g_conditioning),
        Discriminator(width or 4, num_classes, d_norm, options.heads),
    )
