"""Samples from the generator of a run: the loaded object, and python -m jaxgan.sample."""

import dataclasses
import sys

import jax
import numpy as np
import pytest
from helpers import assert_one_line, read_json, small
from PIL import Image

from jaxgan import sample, train
from jaxgan.command import run_command
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import RunError, UsageError
from jaxgan.keys import key_of_seed
from jaxgan.outputs import samples
from jaxgan.runs import plots
from jaxgan.runs.generators import load_generator

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A conditional run with batch norm in its generator and three kept checkpoints."""
    out = tmp_path_factory.mktemp("conditional") / "run"
    train.main(small(out, network="dcgan", width=8, conditional=True, batch_size=16))
    return out


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    out = tmp_path_factory.mktemp("seeds") / "run"
    train.main(small(out, seeds=3, seed=5, width=8))
    return out


@pytest.mark.parametrize("run", ["finished", "conditional"])
def test_generator_is_its_latents_decoded(run, request):
    generator = load_generator(request.getfixturevalue(run))
    latents = generator.latents(KEY, 6)
    assert latents.shape == (6, generator.latent_size)
    np.testing.assert_array_equal(generator.decode(latents), generator(KEY, 6))
    assert np.ptp(generator(KEY, 6), axis=0).max() > 0


def test_the_newest_checkpoint_has_the_saved_generator(conditional):
    saved, last = load_generator(conditional), load_generator(conditional, step=60)
    np.testing.assert_array_equal(saved(KEY, 20), last(KEY, 20))
    assert (saved.step, last.step) == (60, 60)
    earlier = load_generator(conditional, step=20)
    assert earlier.step == 20
    assert not np.array_equal(earlier(KEY, 20), last(KEY, 20))
    raw = load_generator(conditional, "raw")
    assert not np.array_equal(raw(KEY, 20), last(KEY, 20))


def test_the_raw_generator_has_the_trained_parameters(finished):
    from jaxgan.runs import description
    from jaxgan.runs.states import read_state

    state = read_state(finished, description.read(finished / "config.json"), 40)
    found = load_generator(finished, "raw", step=40).variables["params"]
    jax.tree.map(np.testing.assert_array_equal, found, state.generator.params)


def test_each_seed_has_its_generator(seeds):
    drawn = [load_generator(seeds, seed=seed)(KEY, 4) for seed in (5, 6, 7)]
    for seed, images in zip((5, 6, 7), drawn, strict=True):
        of_folder = load_generator(seeds / "generator" / str(seed))
        np.testing.assert_array_equal(images, of_folder(KEY, 4))
        np.testing.assert_allclose(
            images, load_generator(seeds, seed=seed, step=60)(KEY, 4), atol=1e-6
        )
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(load_generator(seeds)(KEY, 4), drawn[0])
    with pytest.raises(UsageError, match="seeds 5 to 7, and no seed 8"):
        load_generator(seeds, seed=8)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"step": 33}, RunError, "it keeps those of the steps 20, 40, 60"),
        ({"which": "best"}, UsageError, "--evaluate-every"),
        ({"which": "best", "step": 20}, UsageError, "leave out --step"),
    ],
)
def test_generators_that_a_run_does_not_have(finished, settings, error, message):
    with pytest.raises(error, match=message):
        load_generator(finished, **settings)
    with pytest.raises(UsageError, match="is the folder of one generator"):
        load_generator(finished / "generator", step=20)


def test_paths_without_a_generator_say_why(finished, seeds, tmp_path):
    for path, message in (
        (tmp_path / "none", "none: it does not exist"),
        (finished / "metrics.jsonl", "it is a file"),
        (tmp_path, "neither a run directory nor the folder of a generator"),
        (seeds / "generator", "it holds several .5, 6, 7.: choose one"),
    ):
        with pytest.raises(RunError, match=message):
            load_generator(path)


def draw(run, tmp_path, **settings):
    """Returns the array that the command writes."""
    out = tmp_path / "samples.npy"
    sample.main(sample.Config(run, out=out, **settings))
    return np.load(out)


def test_samples_do_not_depend_on_their_number(finished, tmp_path):
    many, few = (draw(finished, tmp_path, num=num, seed=1) for num in (150, 70))
    assert many.dtype == np.uint8
    assert many.shape == (150, 28, 28, 1)
    np.testing.assert_array_equal(many[:70], few)
    assert len(np.unique(many, axis=0)) == 150
    generator = load_generator(finished)
    latents = generator.latents(key_of_seed(1), samples.CHUNK)
    np.testing.assert_array_equal(few[:64], to_uint8(np.asarray(generator.decode(latents))))
    assert not np.array_equal(few, draw(finished, tmp_path, num=70, seed=2))


def test_classes_go_in_turn_or_are_chosen(conditional, tmp_path):
    generator = load_generator(conditional)
    sample.main(sample.Config(conditional, num=70, out=tmp_path / "a.npz"))
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["labels"], np.arange(70) % 10)
        drawn = file["images"]
    sevens = draw(conditional, tmp_path, num=64, class_="7")
    latents = generator.latents(key_of_seed(0), 64)
    np.testing.assert_allclose(sevens, to_uint8(np.asarray(generator.decode(latents, 7))), atol=1)
    np.testing.assert_allclose(drawn[7:64:10], sevens[7::10], atol=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "samples.npy"]


def test_truncation_limits_the_latents(finished, tmp_path):
    latents = load_generator(finished).latents(KEY, 500, truncation=0.5)
    assert 0.45 < np.abs(latents).max() <= 0.5
    assert np.abs(latents).mean() > 0.2
    spread = [draw(finished, tmp_path, truncation=t).std(axis=0).mean() for t in (None, 0.1)]
    assert spread[1] < spread[0] / 3


def test_a_picture_and_a_folder_show_the_same_samples(conditional, tmp_path):
    array = draw(conditional, tmp_path, num=20)
    out = sample.main(sample.Config(conditional, num=20))
    assert out == conditional / "sample.png"
    expected = plots.grid(array / np.float32(127.5) - 1, 10)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)
    sample.main(sample.Config(conditional, num=20, out=tmp_path / "folder"))
    files = sorted((tmp_path / "folder").rglob("*.png"), key=lambda path: path.name)
    names = [path.parent.name for path in files]
    assert names == [f"{i % 10:03d}" for i in range(20)]
    np.testing.assert_array_equal([np.asarray(Image.open(path)) for path in files], array[..., 0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--out samples.jpg", (".png", ".npy", ".npz")),
        ("--num 20000", ("too large", "samples.npy")),
        ("--class 1", ("conditional",)),
        ("--out {run}/samples", ("not empty",)),
        ("--truncation 0", ("--truncation",)),
        ("--run-seed 3", ("no seed 3",)),
    ],
)
def test_bad_requests_end_in_one_line(finished, arguments, words, monkeypatch, capsys):
    line = [str(finished), *arguments.format(run=finished).split()]
    monkeypatch.setattr(sys, "argv", ["sample", *line])
    assert run_command(sample.Config, sample.main, "sample") == 2
    assert_one_line(capsys.readouterr().err, *words)


def test_unknown_classes_are_named(conditional):
    about = read_json(conditional / "config.json")["dataset"]
    assert about["class_frequencies"] == pytest.approx([0.1] * 10, abs=0.01)
    dataset = load_generator(conditional).of_run.dataset
    named = dataset._replace(class_names=tuple("abcdefghij"))
    assert samples.find_class(named, 10, "c") == 2
    for name in ("10", "-1", "k"):
        with pytest.raises(UsageError, match="from 0 to 9, or one of a, b"):
            samples.find_class(named, 10, name)


def test_names_that_are_paths_do_not_name_folders(conditional, tmp_path):
    generator = load_generator(conditional)
    dataset = generator.of_run.dataset._replace(class_names=("../outside", *"bcdefghij"))
    of_run = generator.of_run._replace(dataset=dataset)
    named = dataclasses.replace(generator, of_run=of_run)
    samples.write_samples(tmp_path / "in" / "folder", named, samples.Request(10))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list((tmp_path / "in" / "folder").iterdir())) == 10
