"""Training a part of a run again: python -m jaxgan.verify."""

import dataclasses
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from helpers import assert_one_line, digest, read_json, small

from jaxgan import train, verify
from jaxgan.errors import UsageError
from jaxgan.runs import description
from jaxgan.runs.verification import compare_states


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    out = tmp_path_factory.mktemp("seeds") / "run"
    train.main(small(out, seeds=2, seed=5, width=8))
    return out


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of a run, which a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "begin"), [({}, 40), ({"begin": 20}, 20), ({"from_scratch": True}, 0)]
)
def test_an_unchanged_run_comes_out_the_same(copy, settings, begin):
    result = verify.main(verify.Config(copy, **settings))
    assert result.same
    assert (result.begin, result.end, result.difference) == (begin, 60, None)
    assert result.found == digest(copy)
    written = read_json(copy / verify.NAME)
    assert (written["same"], written["found"]) == (True, digest(copy))


def test_several_seeds_on_one_and_on_two_devices(seeds):
    assert verify.main(verify.Config(seeds)).same
    result = verify.main(verify.Config(seeds, devices=2))
    assert any("devices was 1 and is 2" in change for change in result.changes)
    assert result.same or result.difference.share < 1e-4


def test_a_run_of_other_settings_is_found_out(copy):
    """The configuration claims another rate than the one that the run was trained with."""
    about = read_json(copy / "config.json")
    about["config"]["learning_rate"] *= 2
    (copy / "config.json").write_text(json.dumps(about))
    result = verify.main(verify.Config(copy))
    assert not result.same
    assert result.difference.share > 0.1
    assert "files of the run were changed" in result.describe()
    assert not read_json(copy / verify.NAME)["same"]


def test_a_published_run_is_trained_from_its_configuration(finished, tmp_path):
    path = shutil.copy(finished / "config.json", tmp_path / "published.json")
    result = verify.main(verify.Config(config=path, expect=digest(finished)))
    assert result.same
    assert (result.begin, result.end) == (0, 60)
    other = verify.main(verify.Config(config=path, expect="0" * 64))
    assert not other.same
    assert digest(finished) in other.describe()
    assert [file.name for file in tmp_path.iterdir()] == ["published.json"]


def test_other_versions_are_named(copy):
    about = read_json(copy / "config.json")
    about["environments"][0]["versions"]["jax"] = "0.0.1"
    (copy / "config.json").write_text(json.dumps(about))
    changes = verify.main(verify.Config(copy)).changes
    assert changes == [f"jax was 0.0.1 and is {jax.__version__}"]


def test_difference_is_relative_to_what_training_changed():
    before = {"w": np.zeros(4, np.float32), "step": np.int32(0)}
    expected = {"w": np.float32([1, 1, 1, 1]), "step": np.int32(10)}
    found = {"w": np.float32([1, 1, 1, 1.5]), "step": np.int32(10)}
    assert compare_states(before, expected, expected) is None
    assert compare_states(before, expected, found) == ("w", 0.5, 0.25)
    not_finite = {"w": np.float32([1, 1, 1, np.nan]), "step": np.int32(10)}
    assert compare_states(before, expected, not_finite).largest == np.inf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ("run directory", "--config")),
        ("{run} --begin 3", ("--begin 3", "20, 40, 60")),
        ("{run} --end 70", ("--end 70", "20, 40, 60")),
        ("{run} --begin 20 --from-scratch", ("exclude",)),
        ("{run} --expect abc", ("--expect",)),
        ("--config {run}/config.json", ("together",)),
        ("{run}/samples", ("no run to verify",)),
        ("{run} --data-file x", ("--data-file",)),
    ],
)
def test_bad_requests_end_in_one_line(finished, arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["verify", *arguments.format(run=finished).split()])
    assert verify.command() == 2
    assert_one_line(capsys.readouterr().err, *words)


def test_a_different_state_ends_with_status_1(copy, monkeypatch, capsys):
    about = read_json(copy / "config.json")
    about["config"]["beta1"] = 0.9
    (copy / "config.json").write_text(json.dumps(about))
    monkeypatch.setattr(sys, "argv", ["verify", str(copy)])
    assert verify.command() == 1
    assert_one_line(capsys.readouterr().err, "steps 40 to 60", "another state")


def test_other_data_are_refused(copy):
    about = read_json(copy / "config.json")
    about["dataset"]["fingerprint"] = "0" * 64
    (copy / "config.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match="differs from the data"):
        verify.main(verify.Config(copy))


def test_a_damaged_checkpoint_is_named_and_kept(copy, monkeypatch, capsys):
    files = [path for path in (copy / "checkpoints" / "60").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.setattr(sys, "argv", ["verify", str(copy)])
    assert verify.command() == 1
    assert_one_line(capsys.readouterr().err, "checkpoint of step 60", "damaged")
    assert all(path.exists() for path in files)


def test_a_run_of_more_devices_than_there_are(finished):
    config = verify.Config(finished)
    about = description.read(finished / "config.json")
    device = {**about.environments[-1]["device"], "devices": 1000}
    about = about._replace(environments=({**about.environments[-1], "device": device},))
    assert verify.choose_devices(config, about) == 1
    assert verify.choose_devices(dataclasses.replace(config, devices=4), about) == 4
