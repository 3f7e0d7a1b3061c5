"""Paths between latents and between classes: python -m jaxgan.interpolate."""

import dataclasses
import sys

import jax
import numpy as np
import pytest
from helpers import SMALL, assert_one_line
from PIL import Image

from jaxgan import interpolate
from jaxgan.command import run_command
from jaxgan.errors import UsageError
from jaxgan.keys import key_of_seed
from jaxgan.outputs import interpolation
from jaxgan.outputs.interpolation import Paths, slerp
from jaxgan.outputs.samples import compile_decode
from jaxgan.runs import plots
from jaxgan.runs.build import build_gan
from jaxgan.runs.description import DatasetInfo, Description
from jaxgan.runs.generators import Generator, load_generator, make_sampler

KEY = jax.random.key(4)


def make_generator(shape=(8, 8, 1), **settings) -> Generator:
    """Returns a generator of three classes with random variables."""
    config = dataclasses.replace(SMALL, conditional=True, width=8, **settings)
    images = len(shape) == 3
    info = DatasetInfo("made", "", "", shape, images, 3, class_frequencies=(1 / 3,) * 3)
    shapes = jax.eval_shape(build_gan(config, info).init, key_of_seed(1)).generator
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        values = 0.3 * rng.normal(size=leaf.shape)
        return (1 + abs(values) if path[-1].key == "var" else values).astype(np.float32)

    variables = {"params": shapes.params, **shapes.stats}
    variables = jax.tree.map_with_path(fill, variables)
    of_run = Description(config, info, {}, {}, {}, None, ())
    return Generator(make_sampler(of_run), variables, of_run, 0)


def test_slerp_keeps_norms_and_ends():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 1, 40))
    a, b = (3 * each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (a, b))
    points = np.asarray(slerp(a, b, np.linspace(0, 1, 7)))
    assert points.shape == (5, 7, 40)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 3, rtol=1e-5)
    np.testing.assert_allclose(points[:, 0], a[:, 0], atol=1e-5)
    np.testing.assert_allclose(points[:, -1], b[:, 0], atol=1e-5)
    angles = np.arccos((points[:, 1:] * points[:, :-1]).sum(-1) / 9)
    np.testing.assert_allclose(angles, np.broadcast_to(angles[:, :1], angles.shape), rtol=1e-2)


def test_slerp_of_parallel_vectors_is_a_line():
    a = np.array([[3.0, 4.0], [3.0, 4.0]])
    b = np.array([[6.0, 8.0], [-3.0, -4.0]])
    np.testing.assert_allclose(slerp(a, b, np.full(2, 0.25)), 0.75 * a + 0.25 * b, rtol=1e-5)


def test_paths_form_a_closed_loop_through_the_latents(finished):
    generator = load_generator(finished)
    latents = generator.latents(KEY, 3)
    samples = interpolation.interpolate(generator, KEY, Paths(3, 5))
    assert samples.shape == (3, 5, 28, 28, 1)
    decode = compile_decode(generator)
    ends = np.asarray(decode(latents))
    np.testing.assert_allclose(samples[:, 0], ends, atol=1e-5)
    np.testing.assert_allclose(samples[:, -1], np.roll(ends, -1, axis=0), atol=1e-5)
    middle = decode(slerp(latents[:1], latents[1:2], np.full(1, 0.5)))
    np.testing.assert_allclose(samples[0, 2], middle[0], atol=1e-5)
    alone = interpolation.interpolate(generator, KEY, Paths(1, 5))
    assert np.abs(alone[0, 0] - alone[0, -1]).max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "mlp"},
        {"network": "r3gan"},
        {"network": "dcgan", "g_conditioning": "norm"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_paths_between_classes_mix_what_the_network_keeps_for_them(settings):
    generator = make_generator(**settings)
    samples = interpolation.interpolate(generator, KEY, Paths(2, 3, classes=(2, 0, 1)))
    assert samples.shape == (2, 5, 8, 8, 1)
    latents = generator.latents(KEY, 2)
    decode = jax.jit(generator.sampler.decode)
    for frame, label in ((0, 2), (2, 0), (4, 1)):
        expected = decode(generator.variables, latents, label)
        np.testing.assert_allclose(samples[:, frame], expected, rtol=1e-4, atol=1e-5)
    expected = decode(mix_tables(generator.variables), latents, 0)
    np.testing.assert_allclose(samples[:, 1], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(samples[:, 1] - samples[:, 0]).max() > 1e-3


def mix_tables(variables):
    """Returns variables in which class 0 is the mean of the classes 0 and 2."""

    def mix(path, leaf):
        if path[-1].key != "embedding":
            return leaf
        assert len(leaf) == 3
        return np.concatenate([[(leaf[0] + leaf[2]) / 2], leaf[1:]])

    return jax.tree.map_with_path(mix, variables)


def test_a_class_is_that_of_all_samples():
    generator = make_generator(network="mlp")
    latents = generator.latents(KEY, 4)
    for label, labels in ((None, np.arange(4) % 3), (1, np.full(4, 1))):
        samples = interpolation.interpolate(generator, KEY, Paths(4, 3, label))
        np.testing.assert_allclose(samples[:, 0], generator.decode(latents, labels), atol=1e-5)
    sampler = generator.sampler._replace(num_classes=None)
    without_classes = dataclasses.replace(generator, sampler=sampler)
    with pytest.raises(UsageError, match="conditional"):
        interpolation.with_mixed_classes(without_classes, np.ones((1, 3)))


def test_the_picture_has_a_row_for_each_path_and_the_animation_goes_there_and_back(
    finished, tmp_path
):
    out = tmp_path / "new" / "paths.png"
    written = interpolate.main(interpolate.Config(finished, num=3, frames=4, seed=2, out=out))
    assert written == [out, out.with_suffix(".gif")]
    generator = load_generator(finished)
    samples = interpolation.interpolate(generator, key_of_seed(2), Paths(3, 4))
    expected = plots.grid(samples.reshape(12, 28, 28, 1), 4)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)
    np.testing.assert_array_equal(
        interpolation.strip(generator, key_of_seed(2), Paths(3, 4)), expected
    )
    with Image.open(written[1]) as animation:
        assert animation.n_frames == 6
        animation.seek(5)
        last = np.asarray(animation.convert("L")).astype(int)
    assert np.abs(last - plots.grid(samples[:, 1])).max() <= 2


def test_data_other_than_images_are_drawn_in_another_way(tmp_path):
    plane = make_generator(shape=(2,), network="mlp")
    out = tmp_path / "paths.png"
    assert interpolation.write_interpolation(out, plane, KEY, Paths(2, 3)) == [out]
    assert [path.name for path in tmp_path.iterdir()] == ["paths.png"]
    assert Image.open(out).size[0] > 100
    with pytest.raises(UsageError, match="no images"):
        interpolation.strip(plane, KEY)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--out paths.jpg", (".png",)),
        ("--frames 1", ("--frames", "at least 2")),
        ("--num 5000", ("too large", "--num")),
        ("--class 1", ("--class", "conditional")),
        ("--classes 1 2", ("--classes", "conditional")),
        ("--classes all", ("--classes", "conditional")),
    ],
)
def test_bad_requests_end_in_one_line(finished, arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["interpolate", str(finished), *arguments.split()])
    assert run_command(interpolate.Config, interpolate.main, "interpolate") == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert not list(finished.glob("interpolation*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("1",)}, "at least two"),
        ({"classes": ("1", "7")}, "--classes 7 is not a class"),
        ({"classes": ("1", "2"), "class_": "1"}, "exclude each other"),
    ],
)
def test_classes_that_cannot_be_used(settings, message, tmp_path):
    generator = make_generator(network="mlp")
    with pytest.raises(UsageError, match=message):
        interpolate.choose_paths(interpolate.Config(tmp_path, **settings), generator)


def test_all_classes_go_in_turn(tmp_path):
    config = interpolate.Config(tmp_path, classes=("all",))
    assert interpolate.choose_paths(config, make_generator(network="mlp")).classes == (0, 1, 2)
