import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import tfds
from jaxgan.data.arrays import Images
from jaxgan.data.mixtures import grid, ring
from jaxgan.data.stacked import stack_digits
from jaxgan.errors import UsageError

KEY = jax.random.key(3)


def test_vmapped_batches_match_single_keys():
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


def test_mixture_means_match_the_papers():
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


def test_default_falls_back_to_digits_without_mnist(no_network):
    dataset, (remark,) = data.load()
    assert dataset.name == "digits"
    assert "MNIST" in remark
    assert "digits" in remark


def test_named_data_set_has_no_fallback(no_network):
    expected = r"mnist is not prepared in .*--dataset digits"
    with pytest.raises(tfds.Unavailable, match=expected) as error:
        data.load("mnist")
    assert "\n" not in str(error.value)


def test_named_folder_has_no_fallback(no_network, tmp_path):
    with pytest.raises(tfds.Unavailable, match=str(tmp_path)):
        data.load(None, tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        data.load(None, tmp_path / "missing")


def test_version_that_is_found_is_the_newest(tmp_path):
    assert tfds.find_version(tmp_path, "mnist") is None
    for version in ("2.0.9", "10.0.0", "3.0.1"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        (tmp_path / "mnist" / version / "dataset_info.json").touch()
    (tmp_path / "mnist" / "11.0.0.incompleteABC").mkdir()
    assert tfds.find_version(tmp_path, "mnist") == tmp_path / "mnist" / "10.0.0"


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(
        UsageError, match="mnist, fashion_mnist, kmnist, cifar10, digits, stacked_mnist, ring"
    ):
        data.load("minst")


def test_labels_match_their_images():
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
    dataset = data.from_arrays(images, np.arange(50) % 7)
    batch, labels = dataset.batch(KEY, 2, 20)
    pixels = np.round((np.asarray(batch).ravel() + 1) * 127.5).astype(int)
    np.testing.assert_array_equal(labels, pixels % 7)
    assert dataset.num_classes == 7
    assert data.from_arrays(images).batch(KEY, 2, 20).labels is None
    assert data.from_arrays(images).num_classes is None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1], "there must be 3 labels"),
        ([0, 1, -1], "from 0 on"),
        ([0.0, 1.0, 2.0], "integers from 0 on"),
    ],
)
def test_invalid_labels_are_rejected(labels, words):
    with pytest.raises(UsageError, match=words):
        data.from_arrays(np.zeros((3, 2, 2), np.uint8), np.array(labels))


def test_image_size_pads_with_a_black_border():
    plain, _ = data.load("digits")
    large, _ = data.load("digits", image_size=32)
    assert large.shape == (32, 32, 1)
    np.testing.assert_array_equal(large.images[:, 2:30, 2:30], plain.images)
    assert int(large.images.sum()) == int(plain.images.sum())
    with pytest.raises(UsageError, match="--image-size 20 is smaller"):
        data.load("digits", image_size=20)
    with pytest.raises(UsageError, match="--image-size needs images"):
        data.load("ring", image_size=32)


def test_some_of_the_training_examples_are_chosen(mnist_dir):
    """At random, with their labels; the splits for evaluation remain complete."""
    whole, _ = data.load("digits")
    known = {np.asarray(image).tobytes(): i for i, image in enumerate(whole.images)}
    chosen, again = (data.load("digits", train_examples=100)[0] for _ in range(2))
    places = [known[np.asarray(image).tobytes()] for image in chosen.images]
    assert len(set(places)) == 100
    assert max(places) > 1_000
    np.testing.assert_array_equal(chosen.labels, whole.labels[np.array(places)])
    np.testing.assert_array_equal(chosen.images, again.images)
    others, _ = data.load("digits", train_examples=101)
    digests = {each.fingerprint for each in (whole, chosen, again, others)}
    assert len(digests) == 3
    assert data.load("digits", train_examples=100, split="test")[0].num_examples == 360
    for split, count in ((None, 50), ("train", 60_000), ("test", 10_000)):
        part, _ = data.load("mnist", mnist_dir, split=split, train_examples=50)
        assert part.num_examples == count
        assert part.num_classes == 10
    on_disk, _ = data.load("mnist", mnist_dir, train_examples=50, data_in="disk")
    in_memory, _ = data.load("mnist", mnist_dir, train_examples=50, data_in="memory")
    np.testing.assert_array_equal(on_disk.images[np.arange(50)], in_memory.images)
    assert on_disk.fingerprint == in_memory.fingerprint
    with pytest.raises(UsageError, match="--train-examples 2,000 is more than digits has: 1,797"):
        data.load("digits", train_examples=2_000)
    with pytest.raises(UsageError, match="--train-examples needs a finite data set"):
        data.load("ring", train_examples=10)


@pytest.fixture
def small_dataset():
    rng = np.random.default_rng(0)
    return data.from_arrays(rng.integers(0, 256, (30, 4, 4, 1), np.uint8), np.arange(30) % 10)


@pytest.mark.parametrize("count", [None, 100])
def test_stacked_images_are_triples_labeled_by_their_digits(small_dataset, count):
    dataset = stack_digits(small_dataset, count)
    assert dataset.shape == (4, 4, 3)
    images, labels = dataset.batch(KEY, 0, 64)
    assert images.shape == (64, 4, 4, 3)
    known = {np.asarray(image).tobytes(): i % 10 for i, image in enumerate(small_dataset.images)}
    pixels = np.round((np.asarray(images) + 1) * 127.5).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        digits = [known[image[..., k : k + 1].tobytes()] for k in range(3)]
        assert digits == [int(label) // 100, int(label) // 10 % 10, int(label) % 10]
    assert not np.array_equal(images, dataset.batch(KEY, 1, 64).images)


def test_random_triples_cover_all_classes_and_depend_on_the_key(small_dataset):
    dataset = stack_digits(small_dataset)
    labels = np.concatenate([dataset.batch(KEY, t, 500).labels for t in range(20)])
    assert len(np.unique(labels)) == 1000
    other = dataset.batch(jax.random.key(9), 0, 500).labels
    assert not np.array_equal(labels[:500], other)


def test_fixed_triples_are_reproducible_and_all_visited(small_dataset):
    dataset, again = stack_digits(small_dataset, 100), stack_digits(small_dataset, 100)
    np.testing.assert_array_equal(dataset.triples, again.triples)
    assert dataset.fingerprint == again.fingerprint != stack_digits(small_dataset, 101).fingerprint
    labels = np.concatenate([dataset.batch(KEY, t, 20).labels for t in range(5)])
    expected = small_dataset.labels[dataset.triples] @ np.array([100, 10, 1])
    np.testing.assert_array_equal(np.sort(labels), np.sort(expected))
    with pytest.raises(UsageError, match="only 100"):
        dataset.batch(KEY, 0, 101)


def test_stacked_mnist(mnist_dir):
    dataset, _ = data.load("stacked_mnist", mnist_dir, image_size=32, stacked_images=128_000)
    assert dataset.shape == (32, 32, 3)
    assert dataset.describe() == "128,000 triples of 60,000 images 32x32x1 of 10 classes"
    assert dataset.num_classes == 1000
    with pytest.raises(UsageError, match="stacked_mnist"):
        data.load("digits", stacked_images=10)


def test_class_frequencies_of_every_kind_of_data():
    uneven = data.from_arrays(np.zeros((10, 4, 4, 1), np.uint8), np.array([0] * 6 + [1] * 3 + [3]))
    np.testing.assert_allclose(uneven.class_frequencies, [0.6, 0.3, 0, 0.1])
    assert data.from_arrays(np.zeros((3, 4, 4), np.uint8)).class_frequencies is None
    np.testing.assert_allclose(grid().class_frequencies, np.full(25, 0.04))
    fresh, fixed = stack_digits(uneven), stack_digits(uneven, 50)
    assert fresh.class_frequencies.shape == fixed.class_frequencies.shape == (1000,)
    np.testing.assert_allclose(fresh.class_frequencies[[0, 13, 310]], [0.216, 0.018, 0.018])
    np.testing.assert_allclose(fresh.class_frequencies.sum(), 1)
    labels = np.concatenate([fixed.batch(KEY, t, 10).labels for t in range(5)])
    np.testing.assert_allclose(fixed.class_frequencies, np.bincount(labels, minlength=1000) / 50)
