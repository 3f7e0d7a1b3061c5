import json
import threading
from typing import NamedTuple

import numpy as np
import pytest

from jaxgan import run
from jaxgan.config import Config
from jaxgan.data import load
from jaxgan.description import describe
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.gan import Metrics
from jaxgan.loops import Call


@pytest.fixture(scope="module")
def ring():
    return load("ring")[0]


def opened(path, dataset, overwrite=False, **settings):
    return run.opened(path, describe(Config(**settings), dataset), overwrite)


def test_config_json_says_what_the_run_depends_on(tmp_path, ring):
    with opened(tmp_path / "r", ring, seed=3) as directory:
        assert directory.remarks == []
    content = json.loads((tmp_path / "r" / "config.json").read_text())
    assert content["config"]["seed"] == 3
    assert content["dataset"]["fingerprint"] == ring.fingerprint
    assert {"jax", "flax", "optax", "jaxgan"} <= content["versions"].keys()
    assert content["device"]["platform"] == "cpu"


def begin(path):
    """Leaves the trace of a first step."""
    row = dict.fromkeys(("step", *Metrics._fields), 1)
    (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")


def test_another_configuration_is_refused_with_what_differs(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    with opened(tmp_path, ring, steps=7, steps_per_call=3, sample_every=9):
        pass
    with (
        pytest.raises(UsageError, match="seed 0 there, 4 now; loss non_saturating there, minimax"),
        opened(tmp_path, ring, loss="minimax", seed=4),
    ):
        pass
    with pytest.raises(UsageError, match="ring there, grid now"), opened(tmp_path, load("grid")[0]):
        pass


def test_a_run_without_a_step_takes_another_configuration(tmp_path, ring):
    with opened(tmp_path, ring, latent_size=1_000_000):
        pass
    with opened(tmp_path, ring, latent_size=10):
        pass
    assert json.loads((tmp_path / "config.json").read_text())["config"]["latent_size"] == 10


def test_changed_versions_are_remarked(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        assert "jax was 0.0.1" in directory.remarks[0]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, ring, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"), opened(tmp_path, ring, overwrite):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"), opened(tmp_path / "thesis.tex", ring):
        pass


def test_overwrite_deletes_the_run_and_nothing_else(tmp_path, ring):
    with opened(tmp_path, ring):
        (tmp_path / "samples" / "000000000.png").write_bytes(b"")
        (tmp_path / "notes.txt").write_text("keep")
    with opened(tmp_path, ring, overwrite=True, seed=8):
        assert not list((tmp_path / "samples").iterdir())
    assert (tmp_path / "notes.txt").read_text() == "keep"
    assert json.loads((tmp_path / "config.json").read_text())["config"]["seed"] == 8


def test_one_process_at_a_time(tmp_path, ring):
    errors = []

    def second():
        try:
            with opened(tmp_path, ring):
                pass
        except RunError as error:
            errors.append(str(error))

    with opened(tmp_path, ring):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process" in errors[0]


def test_a_half_written_line_is_not_a_line(tmp_path, ring):
    with opened(tmp_path, ring) as directory:
        begin(tmp_path)
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write('{"step": 2')
        assert [row["step"] for row in directory.rows()] == [1]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b"{}", b'{"step": "a"}', b'{"step": 10}'])
def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path, ring, line):
    with opened(tmp_path, ring) as directory:
        begin(tmp_path)
        path = tmp_path / "metrics.jsonl"
        content = line + b"\n" + path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.rows()
        assert path.read_bytes() == content


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert"}', "null"])
def test_a_folder_with_another_config_json_is_foreign(tmp_path, ring, content, overwrite):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="name another --out"), opened(tmp_path, ring, overwrite):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "checkpoints"}
    assert (tmp_path / "config.json").read_text() == content


def test_a_damaged_config_of_a_run_is_one_clear_line(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 3)))
    with pytest.raises(RunError, match="damaged: restore it"), opened(tmp_path, ring):
        pass


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"steps": 1}'])
def test_a_summary_that_says_nothing_is_none(tmp_path, ring, content):
    with opened(tmp_path, ring) as directory:
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
        assert directory.summary() is None


def rows_of(seeds: dict[int, int]) -> list[dict]:
    """Lines of several seeds, each up to its own last step, where every metric is seed + step."""
    return [
        {"step": step, "seed": seed, **dict.fromkeys(Metrics._fields, float(seed + step))}
        for step in range(10, 40, 10)
        for seed, last in seeds.items()
        if step <= last
    ]


class Steps(NamedTuple):
    step: np.ndarray


def test_the_summary_of_several_seeds(tmp_path, ring):
    rows = rows_of({5: 30, 6: 10, 7: 30})
    with opened(tmp_path, ring, seed=5, seeds=3) as directory:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "metrics.jsonl").write_text(lines)
        directory.frozen[6] = "g_loss is nan at step 15"
        summary = directory.summarise(Steps(np.array([30, 14, 30])), {})
    assert summary["steps"] == 30
    assert [seed["steps"] for seed in summary["seeds"].values()] == [30, 14, 30]
    assert summary["seeds"]["6"]["diverged"] == "g_loss is nan at step 15"
    assert "diverged" not in summary["seeds"]["5"]
    assert summary["seeds"]["6"]["final"] == {"step": 10, **dict.fromkeys(Metrics._fields, 16.0)}
    assert summary["mean"] == dict.fromkeys(Metrics._fields, 36.0)  # Of 35 and 37.
    assert summary["std"] == dict.fromkeys(Metrics._fields, pytest.approx(2**0.5))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_lines_of_several_seeds_need_their_seed(tmp_path, ring):
    with opened(tmp_path, ring, seeds=2) as directory:
        begin(tmp_path)
        (tmp_path / "metrics.jsonl").write_text((tmp_path / "metrics.jsonl").read_text() * 2)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.rows()


def call_of(taken: list[int], g_loss: np.ndarray) -> Call:
    """A call of steps 11 to 15 after which two seeds have taken so many steps."""
    ones = np.ones((2, 5))
    metrics = Metrics(ones, g_loss, *[ones] * 4)
    return Call(11, 15, metrics, np.array(taken), None, None)


def test_a_frozen_seed_is_told_once_and_logged_no_more(tmp_path, ring):
    g_loss = np.ones((2, 5))
    g_loss[0, 3:] = np.nan
    with opened(tmp_path, ring, seed=5, seeds=2) as directory:
        means = directory.record(call_of([13, 15], g_loss), log_every=1)
        assert means["g_loss"] == 1
        (news,) = directory.news()
        assert "seed 5 diverged: g_loss is nan at step 14; it stays as it was after step 13" in news
        logged = [(row["step"], row["seed"]) for row in directory.rows()]
        assert logged == [(11, 5), (11, 6), (12, 5), (12, 6), (13, 5), (13, 6), (14, 6), (15, 6)]
        directory.record(call_of([13, 15], g_loss), log_every=1)
        assert directory.news() == []
        with pytest.raises(
            Diverged, match="every seed .seed 5: g_loss is nan at step 14; seed 6: the state is"
        ):
            directory.record(call_of([13, 14], g_loss), log_every=1)


def test_the_number_of_seeds_makes_another_run_and_that_of_devices_does_not(tmp_path, ring):
    with opened(tmp_path, ring, seeds=2):
        begin(tmp_path)
    with pytest.raises(UsageError, match="seeds 2 there, 3 now"), opened(tmp_path, ring, seeds=3):
        pass
    description = describe(Config(seeds=2, devices=2), ring, devices=2)
    with run.opened(tmp_path, description, overwrite=False) as directory:
        assert directory.news() == ["not exactly repeatable any more: devices was 1 and is 2"]


def test_a_run_from_before_a_setting_existed_has_its_default(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["config"]["seeds"]
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        assert directory.news() == []
    with pytest.raises(UsageError, match="seeds 1 there, 2 now"), opened(tmp_path, ring, seeds=2):
        pass
