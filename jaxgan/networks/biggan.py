"""The networks of BigGAN, whose latents and classes enter every block of the generator.

Brock et al. 2019, "Large scale GAN training for high fidelity natural image synthesis", appendix
B; for 32 pixels with the widths of StudioGAN. The latents are split into a part for the first layer
and one for each block. The part of a block, joined with an embedding of the class that all blocks
share, gives the scales and offsets of its norms. Kernels are initially orthogonal. The attention is
at half the size of the images.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.attention import SelfAttention
from jaxgan.networks.conv import Conv
from jaxgan.networks.norms import OF_ACTIVATIONS, name_alternatives, normalize, normalize_weights
from jaxgan.networks.options import DEFAULTS, NetworkOptions
from jaxgan.networks.resnet import (
    LARGE,
    Discriminator,
    GeneratorBlock,
    Initializers,
    channels_by_stage,
    check_shape,
)
from jaxgan.networks.shared import (
    Dense,
    call_block,
    class_embedding,
    count_halvings,
    identity,
    orthogonal,
)

EMBEDDING = 128
"""The size of the embeddings of classes."""
ORTHOGONAL = Initializers(orthogonal, orthogonal)


class Generator(nn.Module):
    """A linear layer, then a block for each doubling of the size: latents to images.

    widths: channels of the linear layer, then of each block. norm: of the blocks. remat: see
    `NetworkOptions`.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    output: Callable[[jax.Array], jax.Array] = nn.tanh
    num_classes: int | None = None
    norm: str = "spectral_batch"
    remat: bool = False

    @nn.compact
    def __call__(self, latents: jax.Array, labels=None, train: bool = False) -> jax.Array:
        """Returns images `[n, *shape]`. Raises `UsageError` for fewer latents than parts."""
        _, (height, width) = count_halvings(self.shape, "biggan")
        normed = partial(normalize_weights, norm=self.norm, train=train)
        init = ORTHOGONAL.others
        first, *others = self.widths
        own, *parts = split_latents(latents, len(self.widths))
        if self.num_classes is not None:
            deviation = EMBEDDING**-0.5
            classes = class_embedding(labels, self.num_classes, EMBEDDING, deviation)
            parts = [jnp.concatenate([classes.astype(part.dtype), part], axis=1) for part in parts]
        x = normed(Dense(height * width * first, kernel_init=init))(own)
        x = x.reshape(-1, height, width, first)
        for i, (features, part) in enumerate(zip(others, parts, strict=True)):
            if i == len(others) - 1:
                x = SelfAttention(self.norm, init)(x, train)
            block = GeneratorBlock(features, self.norm, ORTHOGONAL)
            x = call_block(block, self.remat, x, train, labels=part)
        x = nn.relu(normalize(x, self.norm, train))
        return self.output(normed(Conv(self.shape[-1], kernel_init=init))(x))


def biggan(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns BigGAN's generator and discriminator for images of shape `(h, w, c)`.

    bounded: whether images lie in [-1, 1].
    width: below 48 pixels, a fourth of the channels of the generator and half of those of the
        discriminator, 96 by default. From 48 pixels on, channels of both next to the images, 80 by
        default; with each halving of the size they double, up to 16 times.
    The generator has batch norm and spectral norm by default, and the discriminator spectral norm.
    Raises `UsageError` for options that the family does not have, and for shapes as in `resnet`.
    """
    count, _ = check_shape(shape, options, "biggan")
    g_norm = options.g_norm or "spectral_batch"
    if g_norm not in OF_ACTIVATIONS:
        raise UsageError(
            f"--network biggan needs --g-norm {name_alternatives()}: latents and classes give the "
            "scales and offsets of the norms"
        )
    if num_classes is not None and options.g_conditioning == "norm":
        raise UsageError(
            "--network biggan passes embeddings of the classes to the norms by itself: leave out "
            "--g-conditioning norm"
        )
    if max(shape[:2]) < LARGE:
        width = width or 96
        g_widths, d_widths, halvings = (4 * width,) * (count + 1), (2 * width,) * 4, 2
    else:
        g_widths, d_widths = channels_by_stage(width or 80, count)
        halvings = count
    return (
        Generator(
            tuple(shape),
            tuple(g_widths),
            nn.tanh if bounded else identity,
            num_classes,
            g_norm,
            options.remat,
        ),
        Discriminator(
            tuple(d_widths),
            halvings,
            num_classes,
            options.d_norm or "spectral",
            options.heads,
            attention=True,
            wide=True,
            initializers=ORTHOGONAL,
            remat=options.remat,
        ),
    )


def split_latents(latents: jax.Array, parts: int) -> list[jax.Array]:
    """Returns latents `[n, k]` in parts of equal size; the first one also has what remains.

    Raises `UsageError` for fewer latents than parts.
    """
    size, rest = divmod(latents.shape[1], parts)
    if size == 0:
        raise UsageError(
            f"--latent-size {latents.shape[1]} is below {parts}, the number of parts into which "
            "--network biggan splits the latents"
        )
    first = size + rest
    return jnp.split(latents, [first + i * size for i in range(parts - 1)], axis=1)
