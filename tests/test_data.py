import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgan import data
from jaxgan.data import cache, tfds
from jaxgan.data.arrays import Images, epoch_indices, permuted
from jaxgan.data.mixtures import grid, ring
from jaxgan.errors import RunError, UsageError

KEY = jax.random.key(3)


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_order_is_a_permutation_for_any_size(size, seed):
    order = permuted(jax.random.key(seed), jnp.arange(size, dtype=jnp.uint32), size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_orders_are_uniform_over_keys():
    keys = jax.random.split(KEY, 60_000)
    orders = jax.vmap(lambda key: permuted(key, jnp.arange(4, dtype=jnp.uint32), 4))(keys)
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


@settings(max_examples=12)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4096), st.integers(4096, 100_000))
def test_positions_do_not_overflow(step, size, count):
    first = step * size
    epoch, start = divmod(first, count)
    expected_key = jax.random.fold_in(data.arrays.stream(KEY, "order"), epoch)
    expected = permuted(expected_key, jnp.array([start], jnp.uint32), count)
    assert int(epoch_indices(KEY, step, size, count)[0]) == int(expected[0])


def test_batches_under_vmap_are_those_of_each_key():
    images = Images(jnp.arange(50, dtype=jnp.uint8).reshape(50, 1, 1, 1), "test", "")
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: images.batch(key, 9, 8).images)(keys)
    for key, batch in zip(keys, together, strict=True):
        np.testing.assert_array_equal(batch, images.batch(key, 9, 8).images)
    assert not np.array_equal(together[0], together[1])


def test_images_are_scaled_to_minus_one_and_one():
    images = Images(jnp.array([0, 51, 255], jnp.uint8).reshape(3, 1, 1, 1), "test", "")
    batch = np.sort(images.batch(KEY, 0, 3).images.ravel())
    np.testing.assert_allclose(batch, [-1, -0.6, 1], atol=1e-6)


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(UsageError, match="only 30"):
        epoch_indices(KEY, 0, 31, 30)


@pytest.mark.parametrize(("mixture", "modes", "scale"), [(ring(), 8, 0.01), (grid(), 25, 0.05)])
def test_mixtures_are_gaussians_of_equal_weight(mixture, modes, scale):
    points, labels = mixture.batch(KEY, 5, 20_000)
    points = np.asarray(points, np.float64)
    means = np.asarray(mixture.means, np.float64)
    distances = np.linalg.norm(points[:, None] - means, axis=-1)
    nearest = distances.argmin(1)
    np.testing.assert_array_equal(nearest, labels)
    assert mixture.num_classes == modes
    counts = np.bincount(nearest, minlength=modes)
    expected = 20_000 / modes
    assert len(means) == modes
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    np.testing.assert_allclose((points - means[nearest]).std(0), scale, rtol=0.03)
    within = (distances.min(1) < 3 * scale).mean()
    np.testing.assert_allclose(within, 1 - np.exp(-4.5), atol=0.003)
    assert not np.array_equal(points, mixture.batch(KEY, 6, 20_000).images)


def test_mixtures_lie_where_the_papers_put_them():
    np.testing.assert_allclose(np.linalg.norm(ring().means, axis=1), 1, rtol=1e-6)
    assert {tuple(mean) for mean in np.asarray(grid().means).tolist()} == {
        (x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)
    }


def test_bundled_digits():
    images, labels = data.digits()
    assert images.shape == (1797, 28, 28, 1)
    assert images.dtype == np.uint8
    assert images.max() == 255
    assert images.min() == 0
    assert (np.bincount(labels) > 170).all()
    # A zero is hollow, a one is not.
    centre = images[:, 10:18, 12:16, 0].mean((1, 2))
    assert centre[labels == 0].mean() + 80 < centre[labels == 1].mean()


def test_without_a_name_and_without_mnist_it_is_digits_and_says_so(no_network):
    dataset, remark = data.load()
    assert dataset.name == "digits"
    assert "MNIST" in remark
    assert "digits" in remark


def test_a_named_data_set_is_never_replaced(no_network):
    expected = r"mnist is not prepared in .*--dataset digits"
    with pytest.raises(tfds.Unavailable, match=expected) as error:
        data.load("mnist")
    assert "\n" not in str(error.value)


def test_a_named_folder_is_never_ignored(no_network, tmp_path):
    with pytest.raises(tfds.Unavailable, match=str(tmp_path)):
        data.load(None, tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        data.load(None, tmp_path / "missing")


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(
        UsageError, match="mnist, fashion_mnist, kmnist, cifar10, digits, stacked_mnist, ring"
    ):
        data.load("minst")


def test_cache_is_all_or_nothing(tmp_path):
    images = np.arange(2 * 4, dtype=np.uint8).reshape(2, 2, 2, 1)
    labels = np.array([3, 5], np.uint8)
    place = tmp_path / "deep" / "arrays"
    assert cache.load(place) is None
    cache.save(place, images, labels)
    cache.save(place, images, labels)
    found_images, found_labels, fingerprint = cache.load(place)
    np.testing.assert_array_equal(found_images, images)
    np.testing.assert_array_equal(found_labels, labels)
    assert fingerprint == cache.fingerprint(images, labels)
    assert [path.name for path in place.parent.iterdir()] == ["arrays"]
    assert cache.fingerprint(images.reshape(2, 4, 1, 1), labels) != fingerprint


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "fingerprint.json"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"\x07", lambda b: b""])
def test_damaged_cache_is_noticed(tmp_path, name, damage):
    place = tmp_path / "arrays"
    cache.save(place, np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, np.uint8))
    file = place / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RunError, match="damaged"):
        cache.load(place)
