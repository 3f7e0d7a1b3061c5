"""The augmentations of ADA, and the feedback to their probability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import read_json, small

from jaxgan import ada, train
from jaxgan.augment import make_augmentation
from jaxgan.feedback import Feedback, init_feedback, update_feedback
from jaxgan.outputs.logged_metrics import read_metrics
from jaxgan.runs.plots import PROBABILITY, curve_panels

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (4, 8, 8, 3))
COS, SIN = np.cos(np.pi / 2), np.sin(np.pi / 2)


def warp(*rows, images=IMAGES):
    matrix = jnp.asarray([*rows, (0, 0, 1)], jnp.float32)
    return ada.warp(images, jnp.broadcast_to(matrix, (len(images), 3, 3)))


@pytest.mark.parametrize("shape", [(8, 8), (7, 12)])
def test_exact_transformations_move_pixels(shape):
    """Those that map pixels to pixels change no value: the two filters undo each other."""
    images = jax.random.normal(KEY, (2, *shape, 3))
    close = lambda found, expected: np.testing.assert_allclose(found, expected, atol=1e-5)
    close(warp((1, 0, 0), (0, 1, 0), images=images), images)
    close(warp((1, 0, -2), (0, 1, 0), images=images)[:, :, 2:], images[:, :, :-2])
    close(warp((1, 0, 0), (0, 1, 3), images=images)[:, :-3], images[:, 3:])
    # Beyond the border, the image is reflected.
    close(warp((1, 0, -2), (0, 1, 0), images=images)[:, :, :2], images[:, :, 2:0:-1])


def test_rotations_and_mirror_images():
    """Up to the delays of the filters, which are not symmetric: by a tenth of a pixel."""
    smooth = np.linspace(0, 1, 16)
    images = jnp.asarray((smooth[:, None] ** 2 + 2 * smooth)[None, :, :, None], jnp.float32)
    inner = lambda x: x[:, 4:-4, 4:-4]
    mirrored = warp((-1, 0, 0), (0, 1, 0), images=images)
    np.testing.assert_allclose(inner(mirrored), inner(images[:, :, ::-1]), atol=0.02)
    turned = warp((COS, -SIN, 0), (SIN, COS, 0), images=images)
    np.testing.assert_allclose(inner(turned), inner(jnp.rot90(images, 1, (1, 2))), atol=0.02)


def test_scaling_magnifies():
    x = np.linspace(-1, 1, 16)
    images = jnp.asarray(np.broadcast_to(x[:, None], (1, 16, 16))[..., None], jnp.float32)
    larger = warp((0.5, 0, 0), (0, 0.5, 0), images=images)
    np.testing.assert_allclose(larger[0, 4:-4, 8, 0], x[4:-4] / 2, atol=0.03)


@pytest.mark.parametrize("change", [ada.geometry, ada.colors])
@pytest.mark.parametrize("channels", [1, 3])
def test_probability_decides(change, channels):
    images = IMAGES[..., :channels]
    same = change(KEY, images, 0.0)
    np.testing.assert_allclose(same, images, atol=1e-5)
    changed = change(KEY, images, 1.0)
    assert changed.shape == images.shape
    far = np.abs(changed - images).mean(axis=(1, 2, 3))
    assert (far > 0.01).all()
    # With half the probability, about half of the single changes happen.
    values = ada.Draws(KEY, 10_000, 0.5).normal(1.0)
    assert abs((values != 0).mean() - 0.5) < 0.02
    np.testing.assert_allclose(values[values != 0].std(), 1, rtol=0.05)


def test_rotations_before_or_after_scaling_have_the_probability():
    transforms = ada.draw_transforms(ada.Draws(KEY, 20_000, 0.3), 8, 8)
    # Matrices without a rotation by an angle are diagonal or, after quarter turns, have a zero.
    turned = np.abs(transforms[:, 0, 0] * transforms[:, 0, 1]) > 1e-6
    assert abs(turned.mean() - 0.3) < 0.02


def test_colors_are_those_of_the_paper():
    """Brightness, contrast, luma, hue, saturation; gray images stay gray."""
    changes = np.asarray(ada.draw_colors(ada.Draws(KEY, 5_000, 1.0), 3), np.float64)
    gray = np.array([1, 1, 1, 0]) / np.sqrt(3)
    of_gray = changes @ gray
    np.testing.assert_allclose(of_gray[:, :3].std(axis=1), 0, atol=1e-5)
    along = of_gray @ gray
    assert abs((along < 0).mean() - 0.5) < 0.03
    np.testing.assert_allclose(np.log2(np.abs(along)).std(), 0.5, rtol=0.05)
    across = np.linalg.norm(changes[:, :3, :3] @ np.array([1, -1, 0]) / np.sqrt(2), axis=1)
    np.testing.assert_allclose(np.log2(across).std(), np.sqrt(0.5**2 + 1), rtol=0.05)
    turned = changes[:, :3, :3] @ np.array([1, -1, 0]) / np.sqrt(2) / across[:, None]
    np.testing.assert_allclose(turned @ gray[:3], 0, atol=1e-4)
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=0.05)


def test_images_of_one_channel_have_the_luma_of_gray():
    gray = jnp.broadcast_to(IMAGES[..., :1], IMAGES.shape)
    draws = lambda channels: ada.draw_colors(ada.Draws(KEY, 4, 1.0), channels)
    first, all_three = draws(1), draws(3)
    expected = np.einsum("nij,nhwj->nhwi", first[:, :3, :3], gray) + first[:, None, None, :3, 3]
    np.testing.assert_allclose(
        ada.colors(KEY, IMAGES[..., :1], 1.0)[..., 0], expected[..., 0], rtol=1e-4, atol=1e-5
    )
    assert first.shape == all_three.shape


@pytest.mark.parametrize("change", [ada.geometry, ada.colors])
def test_second_derivatives(change):
    """Those of a smooth function of the augmented images, against differences of gradients."""
    images, direction = IMAGES[:2], jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    cost = lambda x: jnp.sin(change(KEY, x, 1.0)).sum()
    gradient = jax.jit(jax.grad(cost))
    product = jax.jit(jax.grad(lambda x: (gradient(x) * direction).sum()))(images)
    step = 1e-2
    differences = (gradient(images + step * direction) - gradient(images - step * direction)) / (
        2 * step
    )
    np.testing.assert_allclose(product, differences, rtol=0.02, atol=0.02)


def test_names_take_the_probability_of_the_feedback():
    augment = make_augmentation(("flip", "ada_color"), 0.0)
    np.testing.assert_allclose(augment(KEY, IMAGES, 0), IMAGES, atol=1e-6)
    assert not np.allclose(augment(KEY, IMAGES, 0, 1.0), IMAGES, atol=1e-2)
    always = make_augmentation(("translation",))
    assert not np.allclose(always(KEY, IMAGES, 0), IMAGES)
    np.testing.assert_array_equal(always(KEY, IMAGES, 0, 0.0), IMAGES)


def test_probability_follows_the_signs():
    feedback, state = Feedback(0.5, 64, every=2), init_feedback()
    sure, unsure = jnp.ones(8), jnp.array([1.0, -1.0] * 4)
    found = []
    for step, logits in enumerate((sure, sure, sure, unsure, sure, unsure, unsure, unsure)):
        state = update_feedback(feedback, state, logits, jnp.int32(step), 8)
        found.append(float(state.probability))
    # A change is 2 * 8 / 64; the mean sign of one sure and one unsure batch is the target.
    assert found == [0.0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.0]
    for step in range(20):
        state = update_feedback(feedback, state, sure, jnp.int32(step), 8)
    assert float(state.probability) == 1.0
    assert update_feedback(None, (), sure, jnp.int32(0), 8) == ()


def test_the_probability_is_logged(tmp_path):
    """With feedback only: it moves by 8 * 4 / 64 after every fourth step."""
    settings = {"width": 8, "batch_size": 8, "log_every": 1, "augment": ("translation",)}
    for name, own in (("fixed", {}), ("feedback", {"augment_target": 0.0, "augment_images": 64})):
        train.main(small(tmp_path / name, **settings, **own))
    fixed, feedback = (
        read_metrics(tmp_path / name / "metrics.jsonl").values[None]
        for name in ("fixed", "feedback")
    )
    assert "augment_probability" not in fixed
    found = feedback["augment_probability"]
    assert found[:4].tolist() == [0.0] * 4
    assert set(found.tolist()) == {0.0, 0.5, 1.0}
    assert ("augment_probability", "each augmentation") in curve_panels(feedback)[PROBABILITY]
    assert PROBABILITY not in curve_panels(fixed)


def test_continued_runs_keep_the_logged_probability(tmp_path):
    """The lines of the first part are read and written again; the summary has the mean of seeds."""
    settings = {"width": 8, "batch_size": 8, "log_every": 1, "seeds": 2, "steps": 8}
    settings |= {"augment": ("translation",), "augment_target": 0.0, "augment_images": 64}
    train.main(small(tmp_path / "whole", **settings))
    train.main(small(tmp_path / "parts", **settings | {"steps": 5}))
    train.main(small(tmp_path / "parts", **settings))
    whole, parts = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "parts"))
    assert parts == whole
    summary = read_json(tmp_path / "parts" / "summary.json")
    last = [of["final"]["augment_probability"] for of in summary["seeds"].values()]
    assert summary["mean"]["augment_probability"] == np.mean(last)


def test_gradients_of_interpolations():
    """Gradients are the transpose of the interpolation, which is linear; its transpose as well."""
    places = jax.random.uniform(jax.random.key(1), (2, 4, 5, 6), minval=-3, maxval=11)
    interpolate = lambda images: ada.interpolate(images, *places)
    values = jax.random.normal(jax.random.key(2), (4, 5, 6, 3))
    _, transpose = jax.vjp(interpolate, IMAGES)
    (spread,) = transpose(values)
    close = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-4)
    close((spread * IMAGES).sum(), (values * interpolate(IMAGES)).sum())
    _, twice = jax.vjp(lambda values: transpose(values)[0], values)
    np.testing.assert_allclose(twice(IMAGES)[0], interpolate(IMAGES), rtol=1e-5, atol=1e-5)
    # Outside of an image, there is nothing: values there have no effect.
    outside = [jnp.full((4, 5, 6), place) for place in (-1.0, 8.0)]
    _, transpose = jax.vjp(lambda images: ada.interpolate(images, *outside), IMAGES)
    assert not np.any(transpose(values)[0])
