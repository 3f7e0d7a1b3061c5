import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.augment import AUGMENTATIONS, color, cutout, make_augmentation, translation
from jaxgan.devices import AXIS
from jaxgan.errors import UsageError

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (64, 16, 16, 3), minval=-1, maxval=1)


def test_translation_shifts_by_integers_and_fills_with_gray():
    single = jnp.zeros((200, 16, 16, 1)).at[:, 8, 8].set(1.0)
    moved = np.asarray(translation(KEY, single))[..., 0]
    places = np.argwhere(moved == 1)[:, 1:] - 8
    assert len(places) == 200
    assert {tuple(place) for place in places} == {
        (y, x) for y in range(-2, 3) for x in range(-2, 3)
    }
    np.testing.assert_array_equal(np.unique(moved), [0, 1])
    ones = np.asarray(translation(KEY, jnp.ones((200, 16, 16, 1))))[..., 0]
    shown = (16 - np.abs(places[:, 0])) * (16 - np.abs(places[:, 1]))
    np.testing.assert_array_equal((ones == 1).sum((1, 2)), shown)
    np.testing.assert_array_equal(np.unique(ones), [0, 1])
    black = translation(KEY, jnp.ones((200, 16, 16, 1)), fill=-1.0)
    np.testing.assert_array_equal(np.unique(black), [-1, 1])


def test_cutout_fills_a_half_size_rectangle_with_gray():
    cut = np.asarray(cutout(KEY, jnp.ones((200, 16, 16, 1))))[..., 0]
    np.testing.assert_array_equal(np.unique(cut), [0, 1])
    for image in cut:
        rows, columns = np.flatnonzero((image == 0).any(1)), np.flatnonzero((image == 0).any(0))
        assert (image == 0).sum() == len(rows) * len(columns)
        assert 4 <= len(rows) <= 8
        assert 4 <= len(columns) <= 8
    assert ((cut == 0).sum((1, 2)) == 64).any()


def test_color_changes_brightness_saturation_and_contrast():
    changed = np.asarray(color(KEY, IMAGES), np.float64)
    before = np.asarray(IMAGES, np.float64)
    brightness = changed.mean((1, 2, 3)) - before.mean((1, 2, 3))
    assert np.abs(brightness).max() <= 0.5
    assert brightness.min() < -0.3
    assert brightness.max() > 0.3
    grey = lambda x: x.mean(-1)
    spread = lambda x: x.std((1, 2))
    contrast = spread(grey(changed)) / spread(grey(before))
    assert (contrast > 0.5).all()
    assert (contrast < 1.5).all()
    saturation = spread(changed[..., 0] - grey(changed)) / spread(before[..., 0] - grey(before))
    factor = saturation / contrast
    assert factor.min() < 0.4
    assert 1.6 < factor.max() <= 2 + 1e-4


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_the_same_on_several_devices(name):
    whole = AUGMENTATIONS[name](KEY, IMAGES)
    parts = IMAGES.reshape(16, 4, *IMAGES.shape[1:]).swapaxes(0, 1)
    split = jax.vmap(lambda images: AUGMENTATIONS[name](KEY, images), axis_name=AXIS)(parts)
    np.testing.assert_allclose(split.swapaxes(0, 1).reshape(IMAGES.shape), whole, atol=1e-6)
    # Each image is augmented differently.
    same = AUGMENTATIONS[name](KEY, jnp.broadcast_to(IMAGES[:1], IMAGES.shape))
    assert len(np.unique(np.asarray(same).reshape(64, -1), axis=0)) > 10


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_twice_differentiable(name):
    def value(images):
        return (AUGMENTATIONS[name](KEY, images) ** 3).sum()

    way = jax.random.normal(KEY, (4, 6, 6, 1))
    with jax.enable_x64(True):
        images, way = IMAGES[:4, :6, :6, :1].astype(jnp.float64), way.astype(jnp.float64)
        slope = lambda images: jnp.vdot(jax.grad(value)(images), way)
        for function in (value, slope):
            differences = (function(images + 1e-5 * way) - function(images - 1e-5 * way)) / 2e-5
            np.testing.assert_allclose(
                jnp.vdot(jax.grad(function)(images), way), differences, rtol=1e-5
            )


def test_augmentations_are_applied_in_order():
    both = make_augmentation(("translation", "cutout"))
    first, second = jax.random.split(KEY)
    np.testing.assert_array_equal(both(KEY, IMAGES), cutout(second, translation(first, IMAGES)))
    with pytest.raises(UsageError, match="color, translation, cutout"):
        make_augmentation(("colour",))
