"""A run and its files."""

import json
import shutil
from typing import NamedTuple

import numpy as np
import pytest
from helpers import make_chunk, make_state, open_directory, read_files, write_run

from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.gan import Metrics
from jaxgan.parallel.chunks import Chunk
from jaxgan.runs import plots


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"steps": 1}'])
def test_incomplete_summary_is_none(tmp_path, ring, content):
    with open_directory(tmp_path, ring) as directory:
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
        assert directory.summary_at(1) is None


def make_rows(seeds: dict[int, int]) -> list[dict]:
    """Returns rows of several seeds, each up to its last step; every metric is seed + step."""
    return [
        {"step": step, "seed": seed, **dict.fromkeys(Metrics._fields, float(seed + step))}
        for step in range(10, 40, 10)
        for seed, last in seeds.items()
        if step <= last
    ]


class Steps(NamedTuple):
    step: np.ndarray


def test_summary_of_several_seeds(tmp_path, ring):
    rows = make_rows({5: 30, 6: 10, 7: 30})
    with open_directory(tmp_path, ring, seed=5, seeds=3) as directory:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "metrics.jsonl").write_text(lines)
        directory.frozen[6] = "g_loss is nan at step 15"
        summary = directory.finish(Steps(np.array([30, 14, 30])), {})
    assert summary["steps"] == 30
    assert [seed["steps"] for seed in summary["seeds"].values()] == [30, 14, 30]
    assert summary["seeds"]["6"]["diverged"] == "g_loss is nan at step 15"
    assert "diverged" not in summary["seeds"]["5"]
    assert summary["seeds"]["6"]["final"] == {"step": 10, **dict.fromkeys(Metrics._fields, 16.0)}
    assert summary["mean"] == dict.fromkeys(Metrics._fields, 36.0)  # Of 35 and 37.
    assert summary["std"] == dict.fromkeys(Metrics._fields, pytest.approx(2**0.5))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def make_chunk_of_two_seeds(taken: list[int], g_loss: np.ndarray) -> Chunk:
    """Returns the chunk of steps 11 to 15, after which two seeds have taken `taken` steps."""
    ones = np.ones((2, 5))
    metrics = Metrics(**dict.fromkeys(Metrics._fields, ones) | {"g_loss": g_loss})
    return Chunk(11, 15, metrics, np.array(taken), None, None)


def test_frozen_seed_is_reported_once_and_no_longer_logged(tmp_path, ring):
    g_loss = np.ones((2, 5))
    g_loss[0, 3:] = np.nan
    with open_directory(tmp_path, ring, seed=5, seeds=2, log_every=1) as directory:
        means = directory.write(make_chunk_of_two_seeds([13, 15], g_loss))
        assert means["g_loss"] == 1
        (news,) = directory.take_messages()
        assert "seed 5 diverged: g_loss is nan at step 14; it keeps its state after step 13" in news
        logged = [(row["step"], row["seed"]) for row in directory.log.read()]
        assert logged == [(11, 5), (11, 6), (12, 5), (12, 6), (13, 5), (13, 6), (14, 6), (15, 6)]
        directory.write(make_chunk_of_two_seeds([13, 15], g_loss))
        assert directory.take_messages() == []
        with pytest.raises(
            Diverged, match="every seed .seed 5: g_loss is nan at step 14; seed 6: the state is"
        ):
            directory.write(make_chunk_of_two_seeds([13, 14], g_loss))


@pytest.mark.parametrize("keep", ["generator", "summary.json"])
def test_missing_checkpoints_do_not_start_a_new_run(tmp_path, ring, keep):
    write_run(tmp_path, ring, 10, 20)
    shutil.rmtree(tmp_path / "checkpoints")
    if keep == "generator":
        (tmp_path / "summary.json").unlink()
    else:
        shutil.rmtree(tmp_path / "generator")
    before = read_files(tmp_path)
    with (
        pytest.raises(UsageError, match="without its checkpoints: restore .*checkpoints.*--overwr"),
        open_directory(tmp_path, ring) as directory,
    ):
        directory.restore(make_state(0))
    assert read_files(tmp_path) == before
    assert write_run(tmp_path, ring, 10, overwrite=True)["steps"] == 10


def test_generator_is_written_after_its_checkpoint(tmp_path, ring, monkeypatch):
    """So that a process killed during the first save leaves none and can start from scratch."""
    generator = tmp_path / "generator" / "generator.json"
    with open_directory(tmp_path, ring) as directory:
        monkeypatch.setattr(directory.checkpoints, "saving", lambda: True)
        directory.write(make_chunk(10))
        directory.write(make_chunk(20, saving=False))
        assert not generator.exists()
        monkeypatch.setattr(directory.checkpoints, "saving", lambda: False)
        directory.write(make_chunk(30, saving=False))
        assert json.loads(generator.read_text())["step"] == 10
        assert directory.checkpoints.newest() == 10
        directory.write(make_chunk(40))
    assert json.loads(generator.read_text())["step"] == 40


def test_failed_first_checkpoint_leaves_no_generator(tmp_path, ring, monkeypatch):
    def full():
        raise RunError("no room")

    with pytest.raises(RunError, match="no room"), open_directory(tmp_path, ring) as directory:
        directory.write(make_chunk(10))
        monkeypatch.setattr(directory.checkpoints, "wait", full)
        directory.save()
    assert not (tmp_path / "generator").exists()


def test_missing_or_outdated_generator_is_restored(tmp_path, ring):
    write_run(tmp_path, ring, 10, 20)
    with open_directory(tmp_path, ring) as directory:
        state = directory.restore(make_state(0))
        assert not directory.lacks_generator(state)
        about = tmp_path / "generator" / "generator.json"
        content = json.loads(about.read_text())
        about.write_text(json.dumps(content | {"step": 10}))
        assert directory.lacks_generator(state)
        directory.restore_generator(state, {"params": {"w": np.full(3, 20)}})
        assert json.loads(about.read_text()) == content
        (remark,) = directory.take_messages()
        assert (
            remark
            == f"{tmp_path / 'generator'} was missing or older than step 20: it was rewritten"
        )
        for name in ("generator.json", "weights.safetensors"):
            directory.restore_generator(state, {"params": {"w": np.full(3, 20)}})
            assert not directory.lacks_generator(state)
            (tmp_path / "generator" / name).unlink()
            assert directory.lacks_generator(state)


@pytest.mark.parametrize("name", ["save_samples", "save_curves", "save_animation"])
def test_plot_failures_are_reported_once_and_do_not_prevent_saving(
    tmp_path, ring, monkeypatch, name
):
    def fails(*arguments):
        raise ZeroDivisionError("of a library")

    monkeypatch.setattr(plots, name, fails)
    points = np.zeros((4, 2))
    with open_directory(tmp_path, ring) as directory:
        directory.write(make_chunk(10, points))
        directory.write(make_chunk(20, points))
        assert directory.finish(make_state(20), {})["steps"] == 20
        (remark,) = directory.take_messages()
        assert "could not be drawn (ZeroDivisionError: of a library)" in remark
        assert directory.checkpoints.newest() == 20
