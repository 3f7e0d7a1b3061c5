"""Flax (Linen) modules, one family a file.

A family is a function `(shape, bounded, width, num_classes, d_batch_norm) -> (generator,
discriminator)`, with defaults for all but the shape of an example; without `d_batch_norm` the
discriminator has no batch norm. Both modules are called as `module(inputs, labels, train=...)`,
without labels where the GAN is not conditional; whatever they keep in mutable collections is
carried in `Player.stats`. They compute in the type of their inputs, with parameters in float32, and
sums over the batch or over pixels are taken in float32.
To add one, write its file and enter it in `NETWORKS`.
"""

from jaxgan.networks.dcgan import dcgan
from jaxgan.networks.mlp import mlp
from jaxgan.networks.r3gan import r3gan
from jaxgan.networks.resnet import resnet

NETWORKS = {"mlp": mlp, "dcgan": dcgan, "resnet": resnet, "r3gan": r3gan}
