"""Named streams of random numbers, derived from one key."""

import zlib

import jax

IMPLEMENTATION = "threefry2x32"
"""Implementation of every key, so that random numbers do not depend on `jax_default_prng_impl`."""


def key_of_seed(seed: int | jax.Array) -> jax.Array:
    """Returns the key of a seed, with a fixed implementation."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


def stream(key: jax.Array, name: str) -> jax.Array:
    """Returns the key of the stream called `name`, independent of every other stream of `key`.

    Data order, initial parameters, steps and pictures each use their own stream of the run's key,
    so that no random state is saved, and no stream affects another.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
