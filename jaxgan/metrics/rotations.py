"""A task for a classifier of images without classes: which way each image was turned.

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations".
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.arrays import Batch, Images, padded
from jaxgan.keys import stream

TURNS = 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Turned(Images):
    """Square images, each turned by 0, 90, 180 or 270 degrees, which is its class."""

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the images of a step, each turned at random, and by how many quarters."""
        images = super().batch(key, step, size).images
        own_key = jax.random.fold_in(stream(key, "turns"), step)
        turns = jax.random.randint(own_key, (size,), 0, TURNS)
        return Batch(turned(images, turns), turns)


def turned(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Returns square images `[n, s, s, c]`, each turned by so many of `turns` `[n]` quarters."""
    ways = jnp.stack([jnp.rot90(images, turn, axes=(1, 2)) for turn in range(TURNS)])
    return ways[turns, jnp.arange(len(images))]


def to_turn(dataset: Images) -> Turned:
    """Returns a data set whose batches are turned at random."""
    images = jnp.asarray(square(np.asarray(dataset.images)))
    return Turned(images, dataset.name, dataset.fingerprint, None, TURNS)


def in_all_turns(dataset: Images) -> Images:
    """Returns a data set of every image in each of the four turns, which are their labels."""
    images = square(np.asarray(dataset.images))
    ways = np.concatenate([np.rot90(images, turn, axes=(1, 2)) for turn in range(TURNS)])
    turns = np.repeat(np.arange(TURNS, dtype=np.int32), len(images))
    return Images(ways, dataset.name, dataset.fingerprint, turns, TURNS)


def square(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images `[n, h, w, c]` with a black border that makes them square."""
    return padded(images, max(images.shape[1:3]))
