"""Stacked MNIST: three digits as the three channels of an image, with 1,000 classes."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.arrays import Batch, Images, to_float
from jaxgan.data.order import check_size, epoch_indices
from jaxgan.keys import stream

CHANNELS = 3
FIXED_SEED = 0
PLACES = (100, 10, 1)
"""Place value of the digit in each channel."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stacked:
    """Triples of the images of a data set (Metz et al. 2017, "Unrolled GANs").

    digits: the data set, with images `[num_digits, h, w, 1]` and labels.
    triples: indices into it, int32 `[num_images, 3]`, or None to draw new ones at every step.
    """

    digits: Images
    triples: jax.Array | None
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    num_classes: int = dataclasses.field(default=1000, metadata={"static": True})
    bounded = True
    on_disk = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, `(h, w, 3)`."""
        return (*self.digits.shape[:2], CHANNELS)

    @property
    def num_examples(self) -> int | None:
        """None: evaluation draws as many images as it needs."""
        return None

    def describe(self) -> str:
        """Returns a short description of the data set."""
        amount = "fresh" if self.triples is None else f"{len(self.triples):,}"
        return f"{amount} triples of {self.digits.describe()}"

    @property
    def class_frequencies(self) -> np.ndarray:
        """The frequency of each class, float64 `[1000]`.

        For a fixed set it is counted; otherwise it is the product of the digits' frequencies.
        """
        if self.triples is None:
            shares = np.bincount(np.asarray(self.digits.labels), minlength=10)
            shares = shares / shares.sum()
            return np.einsum("i,j,k->ijk", shares, shares, shares).reshape(-1)
        numbers = np.asarray(self.digits.labels)[np.asarray(self.triples)] @ PLACES
        return np.bincount(numbers, minlength=self.num_classes) / len(numbers)

    def check_size(self, size: int) -> None:
        """Raises `UsageError` if a fixed set has too few images for a step of `size`."""
        if self.triples is not None:
            check_size(size, len(self.triples))

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the images of a step, float32 `[size, h, w, 3]` in [-1, 1], and their labels.

        A label is the number that consists of the three digits, beginning with the first channel.
        A fixed set of triples is visited in epochs, as in `Images.batch`.
        Raises `UsageError` if a batch is larger than a fixed set.
        """
        count = len(self.digits.images)
        if self.triples is None:
            own_key = jax.random.fold_in(stream(key, "triples"), step)
            chosen = jax.random.randint(own_key, (size, CHANNELS), 0, count)
        else:
            chosen = self.triples[epoch_indices(key, step, size, len(self.triples))]
        images = jnp.moveaxis(self.digits.images[chosen][..., 0], 1, -1)
        labels = self.digits.labels[chosen].astype(jnp.int32) @ jnp.array(PLACES)
        return Batch(to_float(images), labels)


def stack_digits(digits: Images, num_images: int | None = None) -> Stacked:
    """Returns stacked images: new ones at every step, or a fixed set of `num_images`.

    The fixed set is the same for every run. Published protocols use sets of 128,000 images
    (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN), 120,000 or 60,000.
    """
    triples = None
    if num_images is not None:
        rng = np.random.Generator(np.random.PCG64(FIXED_SEED))
        drawn = rng.integers(len(digits.images), size=(num_images, CHANNELS), dtype=np.int32)
        triples = jnp.asarray(drawn)
    digest = hashlib.sha256(f"{digits.fingerprint} {num_images}".encode()).hexdigest()
    return Stacked(digits, triples, "stacked_mnist", digest)
