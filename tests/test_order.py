"""The order in which a run visits examples, on the device and by NumPy alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgan.data.order import epoch_and_offset, epoch_indices, make_order, permute
from jaxgan.errors import UsageError
from jaxgan.keys import stream

KEY = jax.random.key(3)
LARGEST = 2**31 - 1


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_order_is_a_permutation_for_any_size(size, seed):
    order = permute(jax.random.key(seed), jnp.arange(size, dtype=jnp.uint32), size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_orders_are_uniform_over_keys():
    keys = jax.random.split(KEY, 60_000)
    orders = jax.vmap(lambda key: permute(key, jnp.arange(4, dtype=jnp.uint32), 4))(keys)
    codes = np.asarray(orders) @ 4 ** np.arange(4)
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    chi_square = ((counts - 2_500) ** 2 / 2_500).sum()
    assert chi_square < 49.7  # 99.9 % of the distribution with 23 degrees of freedom


@pytest.mark.parametrize(("size", "count"), [(64, 100), (7, 30), (1, 5), (30, 30), (29, 30)])
def test_every_epoch_visits_every_example_once(size, count):
    epochs = 4
    steps = range(-(-epochs * count // size))
    visited = np.concatenate([epoch_indices(KEY, t, size, count) for t in steps])
    orders = visited[: epochs * count].reshape(epochs, count)
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count > 5:
        assert len({tuple(order) for order in orders}) == epochs


@settings(max_examples=5)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4096), st.integers(4096, 100_000))
def test_positions_do_not_overflow(step, size, count):
    first = step * size
    epoch, start = divmod(first, count)
    expected_key = jax.random.fold_in(stream(KEY, "order"), epoch)
    expected = permute(expected_key, jnp.array([start], jnp.uint32), count)
    assert int(epoch_indices(KEY, step, size, count)[0]) == int(expected[0])


def test_batch_larger_than_the_data_set_is_rejected():
    with pytest.raises(UsageError, match="only 30"):
        epoch_indices(KEY, 0, 31, 30)


@settings(max_examples=40)
@given(st.integers(0, LARGEST), st.integers(1, LARGEST), st.integers(1, LARGEST))
def test_epoch_and_offset_are_exact_for_any_size(step, first, second):
    size, count = sorted((first, second))
    found = epoch_and_offset(jnp.int32(step), size, count)
    assert tuple(map(int, found)) == divmod(step * size, count)


@pytest.mark.parametrize(
    ("step", "size", "count", "expected"),
    [
        (0, 4, 10, [4, 0, 6, 7]),
        (3, 4, 10, [2, 5, 1, 4]),
        (123_456, 7, 50, [29, 18, 30, 48, 21, 14, 38]),
        (7, 3, 70_000, [6547, 60819, 11812]),
    ],
)
def test_order_of_a_key_is_stable(step, size, count, expected):
    """Resumed runs depend on it."""
    found = epoch_indices(jax.random.key(5), step, size, count)
    np.testing.assert_array_equal(found, expected)


def test_order_of_very_large_data_sets():
    for size, count in ((10_000, 429_497), (5, LARGEST)):
        found = np.asarray(epoch_indices(KEY, 3, size, count))
        assert len(set(found.tolist())) == size
        assert (found >= 0).all()
        assert (found < count).all()
    with pytest.raises(UsageError, match="must be fewer than 2..31"):
        epoch_indices(KEY, 3, 5, LARGEST + 1)


@pytest.mark.parametrize(
    ("steps", "size", "count"),
    [
        (range(12), 7, 30),
        (range(3, 9), 10, 30),
        (range(5), 30, 30),
        (range(29, 33), 29, 30),
        (range(4), 1, 1),
        (range(1_000_003, 1_000_008), 64, 60_000),
        (range(3), 5, LARGEST),
        (range(LARGEST // 1_000 - 2, LARGEST // 1_000 + 3), 1_000, LARGEST),
        (range(LARGEST - 3, LARGEST), 4_096, 4_097),
        (range(LARGEST - 2, LARGEST), 100_000, LARGEST),
    ],
)
def test_order_by_numpy_is_that_of_compiled_steps(steps, size, count):
    """Some of the steps go over the border of an epoch."""
    found = make_order(KEY, steps, size, count).indices(steps)
    assert found.dtype == np.int64
    expected = jax.vmap(lambda step: epoch_indices(KEY, step, size, count))(jnp.array(steps))
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20)
@given(st.integers(0, LARGEST - 3), st.integers(1, 500), st.integers(500, LARGEST), st.booleans())
def test_order_by_numpy_is_that_of_any_compiled_step(step, size, count, full):
    size = min(count, 2_000) if full else size
    steps = range(step, step + 2)
    found = make_order(KEY, steps, size, count).indices(steps)
    for row, each in zip(found, steps, strict=True):
        np.testing.assert_array_equal(row, epoch_indices(KEY, each, size, count))


def test_part_of_an_order_equals_the_whole():
    """The order of a chunk of steps is asked for step by step."""
    order = make_order(KEY, range(10, 30), 7, 30)
    whole = order.indices(range(10, 30))
    parts = [order.indices(range(step, step + 1)) for step in range(10, 30)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    other = make_order(jax.random.key(4), range(10, 30), 7, 30).indices(range(10, 30))
    assert not np.array_equal(other, whole)


def test_order_by_numpy_rejects_the_same_sizes():
    with pytest.raises(UsageError, match="only 30"):
        make_order(KEY, range(1), 31, 30)
    with pytest.raises(UsageError, match="must be fewer than 2..31"):
        make_order(KEY, range(1), 5, LARGEST + 1)
