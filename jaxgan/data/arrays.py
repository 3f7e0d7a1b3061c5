"""Data sets held as arrays, and the order in which a run visits them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.keys import stream

ROUNDS = 64


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Images:
    """A set of images, the argument of a compiled step.

    images: uint8 `[num_images, h, w, c]`.
    """

    images: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    bounded = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, `(h, w, c)`."""
        return tuple(self.images.shape[1:])

    def describe(self) -> str:
        """Returns what the set holds, in a few words."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.shape))}"

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> jax.Array:
        """Returns the images of a step, float32 `[size, h, w, c]` in [-1, 1].

        The steps of a run visit every image exactly once per epoch, in an order of its own for
        each epoch; an epoch may end within a batch, and the next one begins there.
        Raises `UsageError` where a batch is larger than the set.
        """
        indices = epoch_indices(key, step, size, len(self.images))
        return self.images[indices].astype(jnp.float32) / 127.5 - 1


@functools.partial(jax.jit, static_argnames=("size", "num_examples"))
def epoch_indices(key: jax.Array, step: jax.Array, size: int, num_examples: int) -> jax.Array:
    """Returns which examples, int32 `[size]`, the batch of a step holds."""
    if size > num_examples:
        raise UsageError(
            f"a step takes {size} examples (batch size times d_steps) and the data set has only "
            f"{num_examples}; choose a smaller --batch-size"
        )
    if size * num_examples >= 2**32:
        raise UsageError(f"batches of {size} out of {num_examples} examples are too large to index")
    # After `num_examples` steps exactly `size` epochs are over: no product overflows 32 bits.
    cycle, rest = jnp.divmod(jnp.asarray(step).astype(jnp.uint32), jnp.uint32(num_examples))
    epoch, start = jnp.divmod(rest * jnp.uint32(size), jnp.uint32(num_examples))
    epoch += cycle * jnp.uint32(size)
    position = start + jnp.arange(size, dtype=jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(stream(key, "order"), epoch + jnp.arange(2))
    this_epoch, next_epoch = jax.vmap(permuted, (0, None, None))(
        keys, position % num_examples, num_examples
    )
    return jnp.where(position < num_examples, this_epoch, next_epoch).astype(jnp.int32)


def permuted(key: jax.Array, positions: jax.Array, size: int) -> jax.Array:
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
