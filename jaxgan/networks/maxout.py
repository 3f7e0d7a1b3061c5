"""The networks of PacGAN for points: a discriminator of maxout layers (Goodfellow et al. 2013)."""

from collections.abc import Sequence
from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.networks.heads import output_heads, projection_head
from jaxgan.networks.mlp import Generator
from jaxgan.networks.norms import has_bias, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, Heads, NetworkOptions, refuse_blocks
from jaxgan.networks.shared import Dense, identity

INIT = nn.initializers.normal(0.02)
PIECES = 5


class Discriminator(nn.Module):
    """Maxout layers from examples `[n, ...]` to logits `[n]`.

    features: widths of the layers. pieces: each unit is the largest of so many linear functions.
    norm: of the layers; one of activations leaves out the first layer. heads: the outputs.
    """

    features: Sequence[int] = (200, 200, 200)
    pieces: int = PIECES
    num_classes: int | None = None
    norm: str = "none"
    heads: Heads = Heads()

    @nn.compact
    def __call__(self, examples: jax.Array, labels=None, train: bool = False):
        """Returns logits `[n]`, or `HeadOutputs`."""
        normed = partial(normalize_weights, norm=self.norm, train=train)
        x = examples.reshape(len(examples), -1)
        for i, width in enumerate(self.features):
            use_bias = i == 0 or has_bias(self.norm)
            x = normed(Dense(width * self.pieces, use_bias, kernel_init=INIT))(x)
            x = normalize(x, self.norm, train) if i > 0 else x
            x = reduce(jnp.maximum, jnp.split(x, self.pieces, axis=-1))
        project = partial(projection_head, normed=normed, kernel_init=INIT)
        return output_heads(x, labels, self.num_classes, self.heads, project, normed)


def maxout(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns the networks for mixtures of Lin et al. 2018 (PacGAN; fjxmlzn/PacGAN).

    The generator has four layers of 400 units with ReLU and batch norm, the discriminator three of
    200 maxout units with five pieces. All weights are drawn from N(0, 0.02^2).
    shape: shape of one example. bounded: whether examples lie in [-1, 1], as images do.
    width: units of the discriminator's layers, 200 by default; the generator's have twice as many.
    Raises `UsageError` for options that the family does not have.
    """
    refuse_blocks(options, "maxout")
    width = width or 200
    return (
        Generator(
            tuple(shape),
            (2 * width,) * 4,
            nn.tanh if bounded else identity,
            num_classes,
            options.g_norm or "batch",
            options.g_conditioning,
            INIT,
        ),
        Discriminator(
            (width,) * 3,
            num_classes=num_classes,
            norm=options.d_norm or "none",
            heads=options.heads,
        ),
    )
