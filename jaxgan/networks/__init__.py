"""Flax (Linen) modules, one family a file.

A family is a function `(shape, bounded) -> (generator, discriminator)`. Both modules are called as
`module(inputs, train=...)`; whatever they keep in mutable collections is carried in `Player.stats`.
To add one, write its file and enter it in `NETWORKS`.
"""

from jaxgan.networks.mlp import mlp

NETWORKS = {"mlp": mlp}
