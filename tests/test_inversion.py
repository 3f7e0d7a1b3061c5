"""Latents of images, and completed images: python -m jaxgan.invert."""

import dataclasses
import sys

import jax
import numpy as np
import pytest
from helpers import SMALL, assert_one_line
from PIL import Image

from jaxgan import invert
from jaxgan.command import run_command
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import UsageError
from jaxgan.outputs import inversion, inversion_files
from jaxgan.outputs.inversion import Settings
from jaxgan.runs.build import build_gan
from jaxgan.runs.description import DatasetInfo, Description
from jaxgan.runs.generators import Generator, make_sampler

KEY = jax.random.key(4)
QUICK = Settings(restarts=2, steps=60)


@pytest.fixture(scope="module", autouse=True)
def few_candidates():
    """A search that begins from few samples, which is quick."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inversion, "CANDIDATES", 64)
        yield


def make_generator(scale=1.0, **settings) -> Generator:
    """Returns a generator of small images with random variables."""
    config = dataclasses.replace(SMALL, width=8, latent_size=4, **settings)
    classes = {"num_classes": 3, "class_frequencies": (1 / 3,) * 3} if config.conditional else {}
    info = DatasetInfo("made", shape=(8, 8, 1), **classes)
    shapes = jax.eval_shape(build_gan(config, info).init, KEY).generator
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        own = 4 if path[-1].key == "embedding" else scale  # Classes that differ clearly.
        return (own * rng.normal(size=leaf.shape)).astype(np.float32)

    variables = {"params": jax.tree.map_with_path(fill, shapes.params)}
    of_run = Description(config, info, {}, {}, {}, None, ())
    return Generator(make_sampler(of_run), variables, of_run, 0)


@pytest.fixture(scope="module")
def generator():
    return make_generator(0.5)


@pytest.fixture(scope="module")
def conditional():
    return make_generator(0.5, conditional=True)


def draw(generator, count=3, labels=None):
    """Returns samples of other latents than those that the search begins from."""
    return np.asarray(generator(jax.random.key(99), count, labels))


def all_known(images):
    return np.ones((*images.shape[:3], 1), bool)


def left_half(images):
    known = all_known(images)
    known[:, :, 4:] = False
    return known


def test_generated_images_are_recovered(generator):
    images = draw(generator)
    found = inversion.invert(generator, images, all_known(images), KEY, QUICK)
    candidates = np.asarray(generator(KEY, inversion.CHUNK))
    best_random = ((candidates[:, None] - images) ** 2).mean(axis=(2, 3, 4)).min(axis=0)
    assert (found.errors < best_random / 20).all()
    np.testing.assert_allclose(found.images, generator.decode(found.latents), atol=1e-4)
    errors = ((np.asarray(found.images) - images) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.errors, errors, rtol=1e-2, atol=1e-6)
    np.testing.assert_array_equal(found.objectives, found.errors)  # No pixel is missing.
    np.testing.assert_array_equal(found.completed, images)
    assert found.labels is None


def test_without_steps_the_nearest_sample_is_found(generator):
    images = draw(generator)
    masks = left_half(images)
    none = QUICK._replace(restarts=1, steps=0, prior=0.0)
    found = inversion.invert(generator, images, masks, KEY, none)
    latents = generator.latents(KEY, inversion.CHUNK)
    distances = (masks * (np.asarray(generator.decode(latents))[:, None] - images) ** 2).sum(
        axis=(2, 3, 4)
    )
    np.testing.assert_array_equal(found.latents, latents[distances.argmin(axis=0)])
    np.testing.assert_allclose(found.errors, distances.min(axis=0) / 32, rtol=1e-3)


def test_missing_pixels_are_filled_in_and_do_not_influence_the_latents(generator):
    images, others = draw(generator), draw(generator).copy()
    masks = left_half(images)
    others[:, :, 4:] = np.nan
    first, second = (
        inversion.invert(generator, each, masks, KEY, QUICK) for each in (images, others)
    )
    np.testing.assert_array_equal(first.latents, second.latents)
    np.testing.assert_array_equal(first.completed, second.completed)
    np.testing.assert_array_equal(first.completed[:, :, :4], images[:, :, :4])
    np.testing.assert_array_equal(first.completed[:, :, 4:], first.images[:, :, 4:])
    hidden = ((np.asarray(first.completed) - images)[:, :, 4:] ** 2).mean()
    assert hidden < images[:, :, 4:].var() / 4


def test_a_restart_more_is_never_worse(generator):
    images = draw(generator, 16)
    one, four = (
        inversion.invert(generator, images, all_known(images), KEY, Settings(restarts, 40))
        for restarts in (1, 4)
    )
    assert (four.objectives <= one.objectives + 1e-6).all()
    assert (four.objectives < 0.9 * one.objectives).any()


def test_a_prior_gives_latents_closer_to_zero(generator):
    images = draw(generator)
    masks = left_half(images)
    found = [
        inversion.invert(generator, images, masks, KEY, QUICK._replace(prior=prior))
        for prior in (0.0, 2.0)
    ]
    sizes = [np.square(np.asarray(each.latents)).mean(axis=1) for each in found]
    assert sizes[1].mean() < sizes[0].mean() / 2
    # Half of the pixels are missing.
    np.testing.assert_allclose(found[1].objectives, found[1].errors + sizes[1], rtol=1e-4)


def test_classes_are_found_or_given(conditional):
    labels = np.array([2, 0, 1])
    images = draw(conditional, 3, labels)
    many = Settings(restarts=6, steps=60)
    found = inversion.invert(conditional, images, all_known(images), KEY, many)
    np.testing.assert_array_equal(found.labels, labels)
    expected = conditional.decode(found.latents, labels)
    np.testing.assert_allclose(found.images, expected, atol=1e-4)
    given = inversion.invert(conditional, images, all_known(images), KEY, many._replace(label=1))
    np.testing.assert_array_equal(given.labels, [1, 1, 1])
    assert (given.errors[:2] > 3 * found.errors[:2]).all()


def test_searches_go_through_the_classes_in_turn():
    distances = np.array([[9, 1, 5, 2, 3, 4], [0, 9, 9, 1, 9, 8]])
    chosen = np.asarray(inversion.choose_starts(distances, 3, 5))
    np.testing.assert_array_equal(chosen[0], [1, 3, 5, 4, 0])
    np.testing.assert_array_equal(chosen[1][:2], [0, 5])
    np.testing.assert_array_equal(inversion.choose_starts(distances, 1, 3)[0], [1, 3, 4])


def test_a_network_with_convolutions():
    generator = make_generator(0.1, network="dcgan", g_norm="layer")
    images = draw(generator, 2)
    found = inversion.invert(generator, images, all_known(images), KEY, Settings(1, 3))
    assert np.isfinite(found.latents).all()
    np.testing.assert_allclose(found.images, generator.decode(found.latents), atol=1e-4)


def write(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


@pytest.fixture
def files(tmp_path):
    """A picture of 28 x 28 pixels, with a mask, and files that cannot be used."""
    write(tmp_path / "a.png", np.arange(784).reshape(28, 28) % 256)
    mask = np.full((28, 28), 255)
    mask[14:, :14] = 0
    write(tmp_path / "mask.png", mask)
    write(tmp_path / "black.png", np.zeros((28, 28)))
    (tmp_path / "text.png").write_text("no picture")
    np.save(tmp_path / "small.npy", np.zeros((5, 5), np.uint8))
    np.save(tmp_path / "float.npy", np.zeros((28, 28)))
    np.save(tmp_path / "two.npy", np.full((2, 28, 28), 255, np.uint8))
    (tmp_path / "text.npy").write_text("no array")
    return tmp_path


def test_the_command_writes_a_picture_and_arrays(finished, files):
    out = files / "new" / "found.png"
    images = files / "a.png", files / "two.npy"
    found = invert.main(
        invert.Config(finished, images=images, mask=files / "mask.png", steps=2, out=out)
    )
    with np.load(out.with_suffix(".npz"), allow_pickle=False) as saved:
        assert set(saved) == {"latents", "images", "completed", "errors"}
        np.testing.assert_array_equal(saved["latents"], found.latents)
        completed = saved["completed"]
    assert completed.shape == (3, 28, 28, 1)
    given = np.asarray(Image.open(files / "a.png"))
    np.testing.assert_array_equal(completed[0, :14, :, 0], given[:14])
    np.testing.assert_array_equal(completed[0, 14:, :14], to_uint8(found.images)[0, 14:, :14])
    picture = np.asarray(Image.open(out))
    assert picture.shape == (3 * 30 + 2, 3 * 30 + 2)
    np.testing.assert_array_equal(picture[2:16, 2:30], given[:14])
    assert (picture[16:30, 2:16] == 128).all()
    np.testing.assert_array_equal(picture[2:30, 62:90], completed[0, ..., 0])


def test_found_classes_are_printed(capsys):
    zeros = np.zeros(2)
    found = inversion.Inversion(zeros, np.array([1, 0]), zeros, zeros, np.array([0.5, 0.25]), zeros)
    invert.report(found, ("cat", "dog"), searched=True, masked=True)
    lines = capsys.readouterr().out.splitlines()
    assert "image 1: mean squared error of known pixels 0.1250, class dog" in lines[0]
    assert [line.split(", class ")[1] for line in lines] == ["dog", "cat"]
    invert.report(found, (), searched=False, masked=False)
    printed = capsys.readouterr().out
    assert "of all pixels 0.1250\n" in printed
    assert "class" not in printed


def test_pictures_and_masks_get_the_shape_of_the_data(generator, tmp_path):
    of_run = generator.of_run
    color = np.zeros((16, 16, 3))
    color[:8, :, 0] = 200
    write(tmp_path / "color.png", color)
    mask = np.full((16, 32), 255)
    mask[:, :10], mask[:4] = 0, 0
    write(tmp_path / "mask.png", mask)
    images = inversion_files.read_images([tmp_path / "color.png"], of_run)
    assert (images.shape, images.dtype) == ((1, 8, 8, 1), np.uint8)
    known = inversion_files.read_masks(tmp_path / "mask.png", 2, of_run)
    assert known.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(known[1, ..., 0], np.pad(np.ones((6, 7), bool), ((2, 0), (1, 0))))
    padded = of_run._replace(
        config=dataclasses.replace(of_run.config, image_size=8),
        dataset=of_run.dataset._replace(shape=(8, 8, 1)),
    )
    write(tmp_path / "small.png", np.full((4, 4), 9))
    image = inversion_files.read_images([tmp_path / "small.png"], padded)[0, ..., 0]
    np.testing.assert_array_equal(image, np.pad(np.full((4, 4), 9), 2))
    write(tmp_path / "small.png", np.eye(4) * 255)
    known = inversion_files.read_masks(tmp_path / "small.png", 1, padded)[0, ..., 0]
    np.testing.assert_array_equal(known, np.pad(np.eye(4, dtype=bool), 2, constant_values=True))


def test_masks_are_arrays_of_truth_values_or_of_brightness(generator, tmp_path):
    mask = np.eye(8, dtype=bool)
    for array in (mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255):
        np.save(tmp_path / "mask.npy", array)
        known = inversion_files.read_masks(tmp_path / "mask.npy", 3, generator.of_run)
        assert known.dtype == bool
        np.testing.assert_array_equal(known, np.broadcast_to(mask[..., None], (3, 8, 8, 1)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ("name the images",)),
        ("{0}/none.png", ("none.png", "No such file")),
        ("{0}", ("cannot be read",)),
        ("{0}/text.png", ("text.png", "cannot be used as a picture")),
        ("{0}/small.npy", ("uint8 of shape 28 x 28 or", "5 x 5")),
        ("{0}/float.npy", ("uint8", "float64")),
        ("{0}/text.npy", ("not a .npy file",)),
        ("{0}/a.png --mask {0}/black.png", ("black.png", "known pixels must be white")),
        ("{0}/a.png --mask {0}/none.png", ("none.png",)),
        ("{0}/a.png --mask {0}/two.npy", ("2 masks for 1 images",)),
        ("{0}/a.png --out found.jpg", (".png",)),
        ("{0}/a.png --class 1", ("conditional",)),
        ("{0}/a.png --restarts 0", ("--restarts",)),
    ],
)
def test_bad_requests_end_in_one_line(finished, files, arguments, words, monkeypatch, capsys):
    line = [str(finished), *arguments.format(files).split()]
    monkeypatch.setattr(sys, "argv", ["invert", *line])
    assert run_command(invert.Config, invert.main, "invert") == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert not list(finished.glob("inversion*"))


def test_data_other_than_images_cannot_be_inverted(generator):
    of_run = generator.of_run
    plane = of_run._replace(dataset=of_run.dataset._replace(shape=(2,), bounded=False))
    with pytest.raises(UsageError, match="only images"):
        inversion_files.check_data(plane)


def test_pictures_are_not_scaled_to_sides_of_different_lengths(generator, tmp_path):
    of_run = generator.of_run
    wide = of_run._replace(dataset=of_run.dataset._replace(shape=(8, 16, 1)))
    fitting = write(tmp_path / "fitting.png", np.zeros((8, 16)))
    assert inversion_files.read_images([fitting], wide).shape == (1, 8, 16, 1)
    with pytest.raises(UsageError, match="must have 8 x 16 pixels, and has 16 x 16"):
        inversion_files.read_images([write(tmp_path / "a.png", np.zeros((16, 16)))], wide)
