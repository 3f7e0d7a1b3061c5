"""The networks of SAGAN: those of SNGAN with self-attention and spectral norm in both networks.

Zhang et al. 2019, "Self-attention generative adversarial networks". The attention is at half the
size of the images, as in StudioGAN's settings for 32 and 64 pixels.
"""

from collections.abc import Sequence

from jaxgan.networks.options import DEFAULTS, NetworkOptions
from jaxgan.networks.resnet import Discriminator, Generator, check_shape, resnet


def sagan(
    shape: Sequence[int],
    bounded: bool = True,
    width: int | None = None,
    num_classes: int | None = None,
    options: NetworkOptions = DEFAULTS,
) -> tuple[Generator, Discriminator]:
    """Returns SAGAN's generator and discriminator for images of shape `(h, w, c)`.

    The arguments are those of `jaxgan.networks.resnet.resnet`, and so are the errors. By default,
    the generator has batch norm and spectral norm, and the discriminator has spectral norm.
    """
    check_shape(shape, options, "sagan")
    options = options._replace(g_norm=options.g_norm or "spectral_batch")
    networks = resnet(shape, bounded, width, num_classes, options)
    return tuple(network.clone(attention=True) for network in networks)
