"""A task for a classifier of images without classes: by which angle each image was rotated.

Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations".
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.augment import rotate
from jaxgan.data.arrays import Batch, Images, pad_images
from jaxgan.keys import stream

TURNS = 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RotatedImages(Images):
    """Square images, each rotated by 0, 90, 180 or 270 degrees, which is its class."""

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the images of a step, randomly rotated, and the numbers of quarter turns."""
        images = super().batch(key, step, size).images
        own_key = jax.random.fold_in(stream(key, "turns"), step)
        turns = jax.random.randint(own_key, (size,), 0, TURNS)
        return Batch(rotate(images, turns), turns)


def with_random_rotations(dataset: Images) -> RotatedImages:
    """Returns a data set whose batches are rotated at random."""
    images = jnp.asarray(pad_to_square(np.asarray(dataset.images)))
    return RotatedImages(images, dataset.name, dataset.fingerprint, None, TURNS)


def with_all_rotations(dataset: Images) -> Images:
    """Returns a data set of every image in each of the four rotations, which are the labels."""
    images = pad_to_square(np.asarray(dataset.images))
    ways = np.concatenate([np.rot90(images, turn, axes=(1, 2)) for turn in range(TURNS)])
    turns = np.repeat(np.arange(TURNS, dtype=np.int32), len(images))
    return Images(ways, dataset.name, dataset.fingerprint, turns, TURNS)


def pad_to_square(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images `[n, h, w, c]`, padded with black to squares."""
    return pad_images(images, max(images.shape[1:3]))
