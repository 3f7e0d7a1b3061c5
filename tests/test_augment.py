import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.augment import (
    AUGMENTATIONS,
    add_noise,
    color,
    cutout,
    flip,
    in_turn,
    make_augmentation,
    rotate,
    translation,
)
from jaxgan.devices import AXIS
from jaxgan.errors import UsageError

KEY = jax.random.key(0)
STEP = 3
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
    count = len(np.unique(np.asarray(same).reshape(64, -1), axis=0))
    assert count == 2 if name == "flip" else count > 10


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
    np.testing.assert_array_equal(
        both(KEY, IMAGES, STEP), cutout(second, translation(first, IMAGES))
    )
    with pytest.raises(UsageError, match="flip, color, translation, cutout"):
        make_augmentation(("colour",))


def test_flip_mirrors_half_of_the_images():
    images = jax.random.normal(KEY, (2000, 2, 3, 1))
    found, before = np.asarray(flip(KEY, images)), np.asarray(images)
    same = (found == before).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(found[~same], before[~same][:, :, ::-1])
    np.testing.assert_allclose(same.mean(), 0.5, atol=0.05)


def changed(augment, images, step=STEP):
    """Returns which images an augmentation changes."""
    return (np.asarray(augment(KEY, images, step)) != np.asarray(images)).any(axis=(1, 2, 3))


def test_augmentations_are_applied_with_a_probability():
    images = jax.random.uniform(jax.random.key(1), (4000, 2, 2, 3))
    always, never = (make_augmentation(("color",), p) for p in (1.0, 0.0))
    (own_key,) = jax.random.split(KEY, 1)
    np.testing.assert_array_equal(always(KEY, images, STEP)[:2], color(own_key, images)[:2])
    assert not changed(never, images).any()
    sometimes = changed(make_augmentation(("color",), 0.3), images)
    np.testing.assert_allclose(sometimes.mean(), 0.3, atol=0.03)
    # What is changed is changed in the same way.
    found = np.asarray(make_augmentation(("color",), 0.3)(KEY, images, STEP))
    whole = np.asarray(always(KEY, images, STEP))
    np.testing.assert_array_equal(found[sometimes], whole[sometimes])
    # Each augmentation is applied independently of the others.
    both = changed(make_augmentation(("color", "color"), 0.3), images)
    np.testing.assert_allclose(both.mean(), 1 - 0.7**2, atol=0.03)


def test_probabilities_follow_schedules():
    images = jax.random.uniform(jax.random.key(1), (4000, 2, 2, 1))
    augment = make_augmentation(("color",), lambda step: step / 10)
    for step in (0, 3, 10):
        share = changed(augment, images, jnp.int32(step)).mean()
        np.testing.assert_allclose(share, step / 10, atol=0.03 if step == 3 else 0)


@pytest.mark.parametrize("deviation", [0.4, lambda step: 0.1 * (step + 1)])
def test_noise_is_gaussian(deviation):
    images = jax.random.uniform(jax.random.key(1), (1000, 4, 4, 2))
    noise = np.asarray(add_noise(deviation)(KEY, images, STEP) - images)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.01)
    np.testing.assert_allclose(noise.std(), 0.4, rtol=0.02)
    np.testing.assert_allclose((np.abs(noise) < 0.4).mean(), 0.6827, atol=0.01)
    np.testing.assert_allclose(
        np.corrcoef(noise[0::2].ravel(), noise[1::2].ravel())[0, 1], 0, atol=0.05
    )


def test_noise_has_the_type_of_the_images():
    assert add_noise(0.1)(KEY, jnp.zeros((2, 2, 2, 1), jnp.bfloat16), 0).dtype == jnp.bfloat16


def test_compositions_have_a_key_for_each_part():
    moved, noisy = make_augmentation(("translation",)), add_noise(lambda step: 0.1 * step)
    first, second = jax.random.split(KEY)
    expected = noisy(second, moved(first, IMAGES, STEP), STEP)
    np.testing.assert_array_equal(in_turn(moved, noisy)(KEY, IMAGES, STEP), expected)
    assert in_turn(moved) is moved
    twice = in_turn(add_noise(1.0), add_noise(1.0))(KEY, jnp.zeros((500, 2, 2, 1)), STEP)
    np.testing.assert_allclose(np.std(twice), 2**0.5, rtol=0.1)


def test_compositions_are_the_same_on_several_devices():
    augment = in_turn(make_augmentation(("flip", "cutout"), lambda step: step / 6), add_noise(0.2))
    parts = IMAGES.reshape(16, 4, *IMAGES.shape[1:]).swapaxes(0, 1)
    split = jax.vmap(lambda images: augment(KEY, images, STEP), axis_name=AXIS)(parts)
    whole = augment(KEY, IMAGES, STEP)
    np.testing.assert_allclose(split.swapaxes(0, 1).reshape(IMAGES.shape), whole, atol=1e-6)


def test_rotations_are_quarter_turns():
    turns = np.array([0, 1, 2, 3, 1, 0, 3, 2])
    found = rotate(IMAGES[:8], jnp.asarray(turns))
    expected = [np.rot90(image, turn) for image, turn in zip(IMAGES[:8], turns, strict=True)]
    np.testing.assert_array_equal(found, expected)
