"""Data sets of arrays in memory, and the order in which a run visits their examples."""

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
    """The real examples of a step: images `[size, ...]` and, if any, labels `[size]`, int32.

    A compiled step that does not use one of them does not compute it.
    """

    images: jax.Array
    labels: jax.Array | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Images:
    """A set of images, passed to the compiled step as an argument.

    images: uint8 `[num_images, h, w, c]`. labels: uint8 or int32 `[num_images]`, or None.
    num_classes: number of classes, above all labels; None without labels.
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
        """Returns a short description of the data set."""
        classes = f" of {self.num_classes:,} classes" if self.num_classes else ""
        return f"{len(self.images):,} images {'x'.join(map(str, self.shape))}{classes}"

    @property
    def class_frequencies(self) -> np.ndarray | None:
        """The fraction of images in each class, float64 `[num_classes]`; None without labels."""
        if self.labels is None:
            return None
        counts = np.bincount(np.asarray(self.labels), minlength=self.num_classes)
        return counts / counts.sum()

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the images of a step, float32 `[size, h, w, c]` in [-1, 1], and their labels.

        The steps of a run visit every image exactly once per epoch, in a new order in each epoch.
        An epoch may end within a batch; the next one begins there.
        Raises `UsageError` if a batch is larger than the data set.
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
    """Returns images in [-1, 1] as uint8, rounded; values outside are clipped."""
    return np.clip(np.round((np.asarray(images) + 1) * 127.5), 0, 255).astype(np.uint8)


def pad_images(images: np.ndarray, size: int | None) -> np.ndarray:
    """Returns images `[n, size, size, c]`: images `[n, h, w, c]` padded with a black border.

    size: None for no padding. Raises `UsageError` for images larger than `size`.
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
    """Returns the indices of the examples in the batch of a step, int32 `[size]`."""
    if size > num_examples:
        raise UsageError(
            f"a step needs {size} examples (--batch-size times --d-steps), the data set has only "
            f"{num_examples}: choose a smaller --batch-size"
        )
    if num_examples >= 2**31:
        raise UsageError(f"{num_examples} examples are too many: there must be fewer than 2**31")
    epoch, start = epoch_and_offset(jnp.asarray(step), size, num_examples)
    position = start + jnp.arange(size, dtype=jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(stream(key, "order"), epoch + jnp.arange(2))
    this_epoch, next_epoch = jax.vmap(permute, (0, None, None))(
        keys, position % num_examples, num_examples
    )
    return jnp.where(position < num_examples, this_epoch, next_epoch).astype(jnp.int32)


def epoch_and_offset(step: jax.Array, size: int, num_examples: int) -> tuple[jax.Array, jax.Array]:
    """Returns the quotient and the remainder of `step * size` by `num_examples`, both uint32.

    They are the epoch in which a batch begins, and its offset within that epoch. The product has up
    to 62 bits and is computed as two 32-bit numbers.
    size, num_examples: below 2^31, with `size` at most `num_examples`.
    """
    high, low = _product(step.astype(jnp.uint32), jnp.uint32(size))

    def next_bit(i, halves):
        remainder, bits = halves  # High bits: rest of the dividend. Low bits: the quotient.
        remainder = (remainder << 1) | (bits >> 31)
        fits = remainder >= num_examples
        remainder = jnp.where(fits, remainder - num_examples, remainder)
        return remainder, (bits << 1) | fits.astype(jnp.uint32)

    # As size <= num_examples, the quotient is at most `step`, and `high` is below the divisor.
    offset, epoch = lax.fori_loop(0, 32, next_bit, (high, low), unroll=True)
    return epoch, offset


def _product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the high and the low 32 bits of the product of two uint32, from 16-bit digits."""
    (a_high, a_low), (b_high, b_low) = ((x >> 16, x & 0xFFFF) for x in (a, b))
    middle = a_high * b_low + (a_low * b_low >> 16)
    other = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (other >> 16), a * b


def permute(key: jax.Array, positions: jax.Array, size: int) -> jax.Array:
    """Returns the values at `positions` of the permutation of `range(size)` given by the key.

    positions: uint32, any shape, below `size`. Each is computed on its own, so the permutation is
    never stored.
    The permutation is the swap-or-not shuffle of Hoang, Morris and Rogaway, "An enciphering scheme
    based on a card shuffle" (CRYPTO 2012): in each round, a random pivot pairs every x with
    pivot - x modulo `size`, and a random bit for each pair decides whether the two are swapped.
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
    """Returns a hash of `x`, by the 32-bit finalizer of MurmurHash3 (Appleby)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
