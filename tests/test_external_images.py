"""The evaluation of images that other programs generated."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import read_files, read_json, small
from PIL import Image

from jaxgan import data, evaluate, train
from jaxgan.errors import UsageError
from jaxgan.evaluation.external import check_shape
from jaxgan.evaluation.extractors import load_function
from jaxgan.metrics.fid import fid

pytestmark = pytest.mark.usefixtures("fast_evaluation")
MINE = """
def features(images):
    return images[:, 14, 10:18, 0] / 255 + images[:, 10, 10:18, 0] / 255
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A short run on digits, not conditional."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train.main(small(out, width=8, steps=10))
    return out


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """The name of a function of quick features."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "quick_features.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder))
        yield "quick_features:features"


@pytest.fixture(scope="module")
def shown():
    """Images of digits with noise, uint8 `[400, 28, 28, 1]`."""
    part, _ = data.load("digits", split="train")
    rng = np.random.default_rng(0)
    noisy = np.asarray(part.images)[:400] + rng.normal(0, 20, (400, 28, 28, 1))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def evaluate_images(*paths, **settings) -> dict:
    config = evaluate.Config(images=paths, **{"dataset": "digits", **settings})
    return evaluate.main(config)


def refused(*paths, **settings) -> str:
    with pytest.raises(UsageError) as error:
        evaluate_images(*paths, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_folder(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(path / f"{i}.png")
    return path


def test_images_of_other_programs_are_rows_of_one_table(tmp_path, features, shown, capsys):
    folder = write_folder(tmp_path / "folder", shown[:360])
    np.save(tmp_path / "flat.npy", shown[:360, ..., 0])
    np.savez(tmp_path / "labelled.npz", images=shown[:360], labels=np.arange(360) % 10)
    padded = np.pad(shown[:360], ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.save(tmp_path / "padded.npy", padded)
    paths = (folder, *(tmp_path / name for name in ("flat.npy", "labelled.npz", "padded.npy")))
    before = read_files(tmp_path)
    out = tmp_path / "results.json"
    found = evaluate_images(*paths, features=features, out=out)
    assert read_json(out) == found
    out.unlink()
    assert read_files(tmp_path) == before
    assert list(found) == [str(path) for path in paths]
    first, *others = found.values()
    assert all(other["mean"] == first["mean"] for other in others)
    extract, (test_part, _) = load_function(features).extract, data.load("digits", split="test")
    real = extract(np.asarray(test_part.images))[0]
    expected = fid(real, extract(shown[:360])[0])
    np.testing.assert_allclose(first["mean"]["fid"], expected, rtol=1e-4)
    assert first["protocol"]["samples"] == 360
    assert sum(first["class_histogram"]) == 360
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(str(tmp_path)) for line in lines) == 4
    assert not any("deviations" in line for line in lines)


def test_images_stand_beside_runs(trained, tmp_path, features, shown, capsys):
    np.save(tmp_path / "shown.npy", shown)
    kept = (trained / "config.json").read_bytes()
    settings = {"features": features, "samples": 300, "repeats": 2, "dataset": None}
    found = evaluate_images(tmp_path / "shown.npy", runs=(trained,), **settings)
    assert list(found) == [str(trained), str(tmp_path / "shown.npy")]
    own, other = found.values()
    assert own["real"] == other["real"]
    assert (own["protocol"]["keys"], other["protocol"]["keys"]) == ([0, 1], None)
    assert own["protocol"]["data"] == other["protocol"]["data"]
    assert "deviations over repeats" in capsys.readouterr().out
    assert (trained / "config.json").read_bytes() == kept
    message = refused(tmp_path / "shown.npy", runs=(trained,), dataset="mnist")
    assert "--dataset mnist:" in message
    assert message.endswith("is of digits")


def test_random_images_are_taken_of_more(tmp_path, features, shown):
    """Images that are sorted are not cut off at some place."""
    dark = shown[:200] // 8
    np.save(tmp_path / "sorted.npy", np.concatenate([dark, shown[:200]]))
    np.save(tmp_path / "darkest.npy", dark)
    found = evaluate_images(
        tmp_path / "sorted.npy", tmp_path / "darkest.npy", features=features, samples=200
    )
    whole, darkest = (each["mean"]["fid"] for each in found.values())
    assert whole < darkest / 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dataset": None}, "name the data to compare images with: --dataset or --data-file"),
        ({"dataset": "ring"}, "compared with images, and ring has none"),
        ({"stored": True}, "--stored shows earlier results as they are: remove --images"),
        ({"resize": 28}, "--resize is for folders of pictures"),
        ({"samples": 1}, "--samples 1 must be at least 2"),
    ],
)
def test_settings_that_do_not_fit_images_are_refused(tmp_path, shown, settings, words):
    np.save(tmp_path / "shown.npy", shown)
    assert words in refused(tmp_path / "shown.npy", **settings)


def test_nothing_to_evaluate_is_refused(tmp_path):
    for settings in ({}, {"dataset": "digits"}):
        with pytest.raises(UsageError, match="name the run directories to evaluate, or images"):
            evaluate.main(evaluate.Config(**settings))
    assert "a path of --images is given twice" in refused(tmp_path, tmp_path / ".")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((9, 28, 28, 3), np.uint8), "have 3 channels and the data 1: give --channels 1"),
        (np.zeros((9, 20, 28), np.uint8), "have 20x28 pixels and the data 28x28: give --resize"),
        (np.zeros((9, 64, 64), np.uint8), "have 64x64 pixels and the data 28x28"),
        (np.zeros((9, 28, 28), np.uint8), "has 9 images, fewer than the 360 .* --samples 9"),
        (np.zeros((9, 28, 28)), "must be uint8, 0 to 255: it holds other numbers"),
        (np.zeros((9, 28, 28), int), "--images .* has type int64: images must be uint8"),
        (None, "--images .* does not exist: give a folder of pictures"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, features, array, words):
    if array is not None:
        np.save(tmp_path / "x.npy", array)
    message = refused(tmp_path / "x.npy", features=features)
    assert re.search(words, message)
    assert "x.npy" in message
    assert "--data-file" not in message


def test_a_set_that_fails_does_not_hide_the_others(tmp_path, features, shown, capsys):
    np.save(tmp_path / "good.npy", shown)
    message = refused(tmp_path / "missing", tmp_path / "good.npy", features=features)
    assert "missing does not exist" in message
    assert f"\n{tmp_path / 'good.npy'}" in capsys.readouterr().out


def test_pictures_are_converted_on_request(tmp_path, features, shown):
    large = np.repeat(np.repeat(shown[:360], 2, axis=1), 2, axis=2)
    folder = write_folder(tmp_path / "large", large)
    assert "have 56x56 pixels" in refused(folder, features=features)
    found = evaluate_images(folder, features=features, resize=28)
    assert found[str(folder)]["protocol"]["samples"] == 360


def test_run_directories_are_not_folders_of_images(trained, features):
    assert "is a run directory: name it before --images" in refused(trained, features=features)


def test_data_may_be_a_file_of_the_user(tmp_path, features, shown):
    np.save(tmp_path / "real.npy", shown)
    np.save(tmp_path / "fake.npy", shown[::-1])
    found = evaluate_images(
        tmp_path / "fake.npy", dataset=None, data_file=tmp_path / "real.npy", features=features
    )
    (result,) = found.values()
    assert result["protocol"]["samples"] == 80
    assert result["mean"]["fid"] >= 0


def test_first_row_is_empty_if_the_other_split_is_too_small(tmp_path, features, shown, capsys):
    np.save(tmp_path / "real.npy", shown[:40])
    np.save(tmp_path / "fake.npy", shown[::-1])
    settings = {"dataset": None, "data_file": tmp_path / "real.npy", "features": features}
    (found,) = evaluate_images(tmp_path / "fake.npy", against="train", **settings).values()
    assert (found["real"], found["protocol"]["samples"]) == ({}, 32)
    assert found["mean"]["fid"] >= 0
    said = "the first row is empty: 8 real samples of the test split are too few: at least 9"
    assert said in capsys.readouterr().out
    assert "8 real samples are too few" in refused(tmp_path / "fake.npy", **settings)


@pytest.mark.parametrize(
    ("found", "shape", "fits"),
    [
        ((28, 28, 1), (28, 28, 1), True),
        ((32, 32, 1), (28, 28, 1), True),
        ((64, 64, 1), (28, 28, 1), False),
        ((24, 24, 1), (28, 28, 1), False),
        ((32, 28, 1), (28, 28, 1), False),
        ((256, 256, 3), (218, 178, 3), True),
        ((32, 32, 3), (32, 32, 3), True),
        ((64, 64, 3), (32, 32, 3), False),
        ((28, 28, 3), (28, 28, 1), False),
    ],
)
def test_images_may_have_the_border_of_padded_data(tmp_path, found, shape, fits):
    if fits:
        check_shape(tmp_path, found, shape)
        return
    with pytest.raises(UsageError, match="the images in"):
        check_shape(tmp_path, found, shape)
