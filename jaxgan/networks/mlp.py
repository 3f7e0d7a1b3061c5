"""Multi-layer perceptrons, the networks of introductory GAN tutorials."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax

from jaxgan.networks.heads import output_heads, projection_head
from jaxgan.networks.norms import has_bias, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, refuse_blocks
from jaxgan.networks.shared import ClassInput, Dense, identity


class Generator(nn.Module):
    """Dense layers with ReLU from latents `[n, latent_size]` to examples `[n, *shape]`.

    shape: shape of one example, such as `(28, 28, 1)`.
    features: widths of the hidden layers.
    output: activation of the last layer; `nn.tanh` for images in [-1, 1].
    norm: of the hidden layers. conditioning: see `NetworkOptions`. kernel_init: of the layers.
    """

    shape: Sequence[int]
    features: Sequence[int] = (256, 512)
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None
    norm: str = "none"
    conditioning: str = "embedding"
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns examples `[n, *shape]`."""
        classes = ClassInput(labels, self.num_classes, self.conditioning)
        x = classes.append_to(latents)
        dense = partial(Dense, kernel_init=self.kernel_init)
        for width in self.features:
            layer = dense(width, use_bias=has_bias(self.norm))
            x = normalize_weights(layer, self.norm, train)(x)
            x = nn.relu(normalize(x, self.norm, train, **classes.of_norms))
        x = normalize_weights(dense(math.prod(self.shape)), self.norm, train)(x)
        return self.output(x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Dense layers with LeakyReLU from examples `[n, ...]` to logits `[n]`.

    features: widths of the hidden layers.
    slope: negative slope of the LeakyReLU.
    norm: of the hidden layers; one of activations leaves out the first layer. heads: the outputs.
    """

    features: Sequence[int] = (512, 256)
    slope: float = 0.2
    num_classes: int | None = None
    norm: str = "none"
    heads: Heads = Heads()

    @nn.compact
    def __call__(self, examples: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        normed = partial(normalize_weights, norm=self.norm, train=train)
        x = examples.reshape(len(examples), -1)
        for i, width in enumerate(self.features):
            x = normed(Dense(width, use_bias=i == 0 or has_bias(self.norm)))(x)
            x = nn.leaky_relu(normalize(x, self.norm, train) if i > 0 else x, self.slope)
        project = partial(projection_head, normed=normed)
        return output_heads(x, labels, self.num_classes, self.heads, project, normed)


def mlp(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns a generator and a discriminator with two hidden layers each.

    By default they have 256 and 512, and 512 and 256 units: for MNIST, the generator's layers have
    100-256-512-784 units.
    shape: shape of one example. bounded: whether examples lie in [-1, 1], as images do.
    width: units of the narrower hidden layer, 256 by default; the other one has twice as many.
    Raises `UsageError` for options that the family does not have.
    """
    refuse_blocks(options, "mlp")
    width = width or 256
    output = nn.tanh if bounded else identity
    g_norm, d_norm = options.g_norm or "none", options.d_norm or "none"
    return (
        Generator(
            tuple(shape), (width, 2 * width), output, num_classes, g_norm, options.g_conditioning
        ),
        Discriminator(
            (2 * width, width), num_classes=num_classes, norm=d_norm, heads=options.heads
        ),
    )
