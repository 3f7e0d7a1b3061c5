"""Data sets held as arrays, and the order in which a run visits them."""

import dataclasses
import functools
import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.keys import stream

ROUNDS = 64


class Batch(NamedTuple):
    """What a step trains on: images `[size, ...]`, and labels `[size]`, int32, where there are any.

    Either of them costs nothing in a compiled step that does not use it.
    """

    images: jax.Array
    labels: jax.Array | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Images:
    """A set of images, the argument of a compiled step.

    images: uint8 `[num_images, h, w, c]`. labels: uint8 or int32 `[num_images]`, or None.
    num_classes: labels are below it; None where there are no labels.
    """

    images: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    labels: jax.Array | None = None
    num_classes: int | None = dataclasses.field(default=None, metadata={"static": True})
    bounded = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, `(h, w, c)`."""
        return tuple(self.images.shape[1:])

    @property
    def num_examples(self) -> int | None:
        """The number of images."""
        return len(self.images)

    def describe(self) -> str:
        """Returns the content of the set in a few words."""
        classes = f" of {self.num_classes:,} classes" if self.num_classes else ""
        return f"{len(self.images):,} images {'x'.join(map(str, self.shape))}{classes}"

    @property
    def class_frequencies(self) -> np.ndarray | None:
        """The share of images of each class, float64 `[num_classes]`; None without labels."""
        if self.labels is None:
            return None
        counts = np.bincount(np.asarray(self.labels), minlength=self.num_classes)
        return counts / counts.sum()

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the images of a step, float32 `[size, h, w, c]` in [-1, 1], and their labels.

        The steps of a run visit every image exactly once per epoch, in an order of its own for
        each epoch; an epoch may end within a batch, and the next one begins there.
        Raises `UsageError` where a batch is larger than the set.
        """
        indices = epoch_indices(key, step, size, len(self.images))
        labels = None if self.labels is None else self.labels[indices].astype(jnp.int32)
        return Batch(to_float(self.images[indices]), labels)


def fingerprint(images: np.ndarray, labels: np.ndarray | None) -> str:
    """Returns the SHA-256 of images and labels, with their types and shapes."""
    digest = hashlib.sha256()
    for array in (images, np.zeros(0, np.int32) if labels is None else labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def to_float(images: jax.Array) -> jax.Array:
    """Returns uint8 images as float32 in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8, rounded; what lies outside is cut off."""
    return np.clip(np.round((np.asarray(images) + 1) * 127.5), 0, 255).astype(np.uint8)


def pad_images(images: np.ndarray, size: int | None) -> np.ndarray:
    """Returns images `[n, h, w, c]` with a black border that makes them `size` pixels each way.

    Raises `UsageError` for images that are larger.
    """
    if size is None:
        return images
    edges = [size - side for side in images.shape[1:3]]
    if min(edges) < 0:
        height, width = images.shape[1:3]
        raise UsageError(f"--image-size {size} is smaller than the images, {height} x {width}")
    return np.pad(images, ((0, 0), *((edge // 2, edge - edge // 2) for edge in edges), (0, 0)))


@functools.partial(jax.jit, static_argnames=("size", "num_examples"))
def epoch_indices(key: jax.Array, step: jax.Array, size: int, num_examples: int) -> jax.Array:
    """Returns which examples, int32 `[size]`, the batch of a step holds."""
    if size > num_examples:
        raise UsageError(
            f"a step takes {size} examples (batch size times d_steps) and the data set has only "
            f"{num_examples}; choose a smaller --batch-size"
        )
    if num_examples >= 2**31:
        raise UsageError(f"{num_examples} examples are more than an int32 can number")
    epoch, start = epoch_and_offset(jnp.asarray(step), size, num_examples)
    position = start + jnp.arange(size, dtype=jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(stream(key, "order"), epoch + jnp.arange(2))
    this_epoch, next_epoch = jax.vmap(permute, (0, None, None))(
        keys, position % num_examples, num_examples
    )
    return jnp.where(position < num_examples, this_epoch, next_epoch).astype(jnp.int32)


def epoch_and_offset(step: jax.Array, size: int, num_examples: int) -> tuple[jax.Array, jax.Array]:
    """Returns quotient and remainder of `step * size` by `num_examples`, both uint32.

    That is the epoch in which a batch begins, and where in that epoch. The product has up to 62
    bits, which two 32-bit numbers hold. size, num_examples: below 2^31, and size not the larger.
    """
    high, low = _product(step.astype(jnp.uint32), jnp.uint32(size))

    def next_bit(i, halves):
        remainder, bits = halves  # Of the bits, the first are still dividend, the last quotient.
        remainder = (remainder << 1) | (bits >> 31)
        fits = remainder >= num_examples
        remainder = jnp.where(fits, remainder - num_examples, remainder)
        return remainder, (bits << 1) | fits.astype(jnp.uint32)

    # size <= num_examples: the quotient is at most the step and `high` less than the divisor.
    offset, epoch = lax.fori_loop(0, 32, next_bit, (high, low), unroll=True)
    return epoch, offset


def _product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the high and the low 32 bits of the product of two uint32, by 16-bit digits."""
    (a_high, a_low), (b_high, b_low) = ((x >> 16, x & 0xFFFF) for x in (a, b))
    middle = a_high * b_low + (a_low * b_low >> 16)
    other = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (other >> 16), a * b


def permute(key: jax.Array, positions: jax.Array, size: int) -> jax.Array:
    """Returns where a permutation of `range(size)`, chosen by the key, sends `positions`.

    positions: uint32, any shape, below `size`; each is computed on its own, for any size.
    The permutation is the swap-or-not shuffle of Hoang, Morris and Rogaway, "An enciphering scheme
    based on a card shuffle" (CRYPTO 2012): in each round a random pivot pairs every x with
    pivot - x, and a coin that the pair shares decides whether they change places.
    """
    pivot_key, salt_key = jax.random.split(key)
    pivots = jax.random.randint(pivot_key, (ROUNDS,), 0, size).astype(jnp.uint32)
    salts = jax.random.bits(salt_key, (ROUNDS,), jnp.uint32)

    def swap_or_not(x, pivot_and_salt):
        pivot, salt = pivot_and_salt
        partner = jnp.where(pivot >= x, pivot - x, pivot + jnp.uint32(size) - x)
        coin = _mixed(jnp.maximum(x, partner) ^ salt) >> 31
        return jnp.where(coin == 1, partner, x), None

    return lax.scan(swap_or_not, positions, (pivots, salts), unroll=2)[0]


def _mixed(x: jax.Array) -> jax.Array:
    """Returns the 32-bit finaliser of MurmurHash3 (Appleby), every output bit a mix of all."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
