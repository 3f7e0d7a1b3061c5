"""The order in which a run visits the examples of a data set, as a function of key and step.

Each epoch visits every example exactly once. An epoch may end within a batch; the next one begins
there. Compiled steps call `epoch_indices`. Code that reads examples from disk uses an `Order`,
which gives the same indices without JAX, in any thread or process.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.keys import stream

ROUNDS = 64


@functools.partial(jax.jit, static_argnames=("size", "num_examples"))
def epoch_indices(key: jax.Array, step: jax.Array, size: int, num_examples: int) -> jax.Array:
    """Returns the indices of the examples in the batch of a step, int32 `[size]`.

    Raises `UsageError` as `check_size` does.
    """
    check_size(size, num_examples)
    epoch, start = epoch_and_offset(jnp.asarray(step), size, num_examples)
    position = start + jnp.arange(size, dtype=jnp.uint32)
    keys = _epoch_keys(key, epoch + jnp.arange(2))
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
    swap = lambda x, round: (_swap_or_not(x, *round, size), None)
    return lax.scan(swap, positions, _draw_rounds(key, size), unroll=2)[0]


def _draw_rounds(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Returns the pivots and the salts of the rounds of a permutation, both uint32 `[ROUNDS]`."""
    pivot_key, salt_key = jax.random.split(key)
    pivots = jax.random.randint(pivot_key, (ROUNDS,), 0, size).astype(jnp.uint32)
    return pivots, jax.random.bits(salt_key, (ROUNDS,), jnp.uint32)


def _swap_or_not(x, pivot, salt, size: int):
    """Returns `x` after one round of the shuffle. All are uint32 arrays of JAX or of NumPy."""
    xp = x.__array_namespace__()
    partner = xp.where(pivot >= x, pivot - x, pivot + xp.uint32(size) - x)
    coin = _mixed(xp.maximum(x, partner) ^ salt) >> 31
    return xp.where(coin == 1, partner, x)


def _mixed(x):
    """Returns a hash of a uint32 array, by the 32-bit finalizer of MurmurHash3 (Appleby)."""
    xp = x.__array_namespace__()
    x = (x ^ (x >> 16)) * xp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * xp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _epoch_keys(key: jax.Array, epochs: jax.Array) -> jax.Array:
    """Returns the keys of the permutations of some epochs of a run."""
    return jax.vmap(jax.random.fold_in, (None, 0))(stream(key, "order"), epochs)


class Order(NamedTuple):
    """The order of some steps of a run, computed by NumPy alone.

    size: the number of examples of a step. num_examples: that of the data set. first_epoch: the
    epoch in which the first step begins. pivots, salts: uint32 `[epochs, ROUNDS]`, those of the
    permutations of these epochs.
    """

    size: int
    num_examples: int
    first_epoch: int
    pivots: np.ndarray
    salts: np.ndarray

    def indices(self, steps: range) -> np.ndarray:
        """Returns the indices of the examples of consecutive steps, int64 `[steps, size]`."""
        positions = np.arange(steps.start * self.size, steps.stop * self.size, dtype=np.int64)
        epochs, positions = np.divmod(positions, self.num_examples)
        x = positions.astype(np.uint32)
        for epoch in np.unique(epochs):
            own = epochs == epoch
            rounds = (each[epoch - self.first_epoch] for each in (self.pivots, self.salts))
            found = x[own]
            for pivot, salt in zip(*rounds, strict=True):
                found = _swap_or_not(found, pivot, salt, self.num_examples)
            x[own] = found
        return x.astype(np.int64).reshape(len(steps), self.size)


def make_order(key: jax.Array, steps: range, size: int, num_examples: int) -> Order:
    """Returns the order of some steps of a run. Raises `UsageError` as `check_size` does."""
    check_size(size, num_examples)
    first, last = (step * size // num_examples for step in (steps.start, steps.stop))
    keys = _epoch_keys(key, jnp.arange(first, last + 1, dtype=jnp.uint32))
    pivots, salts = jax.jit(jax.vmap(lambda key: _draw_rounds(key, num_examples)))(keys)
    return Order(size, num_examples, first, np.asarray(pivots), np.asarray(salts))


def check_size(size: int, num_examples: int) -> None:
    """Raises `UsageError` if a data set has fewer examples than a step, or 2^31 or more."""
    if size > num_examples:
        raise UsageError(
            f"a step needs {size} examples (--batch-size times --d-steps), the data set has only "
            f"{num_examples}: choose a smaller --batch-size"
        )
    if num_examples >= 2**31:
        raise UsageError(f"{num_examples} examples are too many: there must be fewer than 2**31")
