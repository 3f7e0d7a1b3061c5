"""Named streams of randomness under one key."""

import zlib

import jax

IMPLEMENTATION = "threefry2x32"
"""Of every key, so that `jax_default_prng_impl` does not decide the numbers."""


def key_of_seed(seed: int | jax.Array) -> jax.Array:
    """Returns the key of a seed, always of the same implementation."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


def stream(key: jax.Array, name: str) -> jax.Array:
    """Returns the key of the stream called `name`, independent of every other stream of `key`.

    Data order, initial parameters, steps and pictures each take their own stream of the run's key,
    so that none of them has to be saved and none disturbs another.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
