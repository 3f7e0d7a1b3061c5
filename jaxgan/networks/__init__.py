"""Flax (Linen) modules, one network family per file.

A family is a function `(shape, bounded, width, num_classes, options) -> (generator,
discriminator)`. All arguments but `shape`, the shape of one example, have defaults; the options are
`NetworkOptions`. Both modules are called as `module(inputs, labels, train=...)`, without labels if
the GAN is not conditional. Their mutable collections are carried in `Player.stats`. They compute in
the type of their inputs, with float32 parameters, and sum over the batch or over pixels in float32.

To add a family, write its file and add it to `NETWORKS`.
"""

from jaxgan.networks.biggan import biggan
from jaxgan.networks.dcgan import dcgan
from jaxgan.networks.maxout import maxout
from jaxgan.networks.mlp import mlp
from jaxgan.networks.options import Heads, NetworkOptions
from jaxgan.networks.r3gan import r3gan
from jaxgan.networks.resnet import resnet
from jaxgan.networks.sagan import sagan
from jaxgan.networks.stacked import stacked
from jaxgan.networks.stylegan2 import stylegan2

NETWORKS = {
    "mlp": mlp,
    "dcgan": dcgan,
    "resnet": resnet,
    "sagan": sagan,
    "biggan": biggan,
    "stylegan2": stylegan2,
    "r3gan": r3gan,
    "maxout": maxout,
    "stacked": stacked,
}

__all__ = [
    "NETWORKS",
    "Heads",
    "NetworkOptions",
    "biggan",
    "dcgan",
    "maxout",
    "mlp",
    "r3gan",
    "resnet",
    "sagan",
    "stacked",
    "stylegan2",
]
