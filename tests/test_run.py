import errno
import fcntl
import json
import os
import platform
import resource
import shutil
import signal
import threading
from typing import NamedTuple

import numpy as np
import pytest

from jaxgan.data import load
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.gan import Metrics
from jaxgan.parallel.chunks import Chunk, Snapshot
from jaxgan.runs import metrics_log, plots
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.directory import open_run
from jaxgan.runs.metrics_log import MetricsLog


@pytest.fixture(scope="module")
def ring():
    return load("ring")[0]


def opened(path, dataset, overwrite=False, **settings):
    return open_run(path, describe_run(Config(**settings), dataset), overwrite)


def test_config_json_says_what_the_run_depends_on(tmp_path, ring):
    with opened(tmp_path / "r", ring, seed=3) as directory:
        assert directory.messages == []
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
        pytest.raises(
            UsageError,
            match="seed is 0 there and 4 now; loss is non_saturating there",
        ),
        opened(tmp_path, ring, loss="minimax", seed=4),
    ):
        pass
    with (
        pytest.raises(UsageError, match="ring there and grid now"),
        opened(tmp_path, load("grid")[0]),
    ):
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
    content["environments"][-1]["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        directory.begin(1)
        (remark,) = directory.take_messages()
    assert remark.startswith("no longer exactly repeatable: jax was 0.0.1 and is ")


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
        assert [row["step"] for row in directory.log.read()] == [1]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b"{}", b'{"step": "a"}', b'{"step": 10}'])
def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path, ring, line):
    with opened(tmp_path, ring) as directory:
        begin(tmp_path)
        path = tmp_path / "metrics.jsonl"
        content = line + b"\n" + path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.log.read()
        assert path.read_bytes() == content


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert"}', "null"])
def test_a_folder_with_another_config_json_is_foreign(tmp_path, ring, content, overwrite):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="choose another --out"), opened(tmp_path, ring, overwrite):
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
        assert directory.summary_at(1) is None


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
        summary = directory.finish(Steps(np.array([30, 14, 30])), {})
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
            directory.log.read()


def call_of(taken: list[int], g_loss: np.ndarray) -> Chunk:
    """A call of steps 11 to 15 after which two seeds have taken so many steps."""
    ones = np.ones((2, 5))
    metrics = Metrics(**dict.fromkeys(Metrics._fields, ones) | {"g_loss": g_loss})
    return Chunk(11, 15, metrics, np.array(taken), None, None)


def test_a_frozen_seed_is_told_once_and_logged_no_more(tmp_path, ring):
    g_loss = np.ones((2, 5))
    g_loss[0, 3:] = np.nan
    with opened(tmp_path, ring, seed=5, seeds=2, log_every=1) as directory:
        means = directory.write(call_of([13, 15], g_loss))
        assert means["g_loss"] == 1
        (news,) = directory.take_messages()
        assert "seed 5 diverged: g_loss is nan at step 14; it keeps its state after step 13" in news
        logged = [(row["step"], row["seed"]) for row in directory.log.read()]
        assert logged == [(11, 5), (11, 6), (12, 5), (12, 6), (13, 5), (13, 6), (14, 6), (15, 6)]
        directory.write(call_of([13, 15], g_loss))
        assert directory.take_messages() == []
        with pytest.raises(
            Diverged, match="every seed .seed 5: g_loss is nan at step 14; seed 6: the state is"
        ):
            directory.write(call_of([13, 14], g_loss))


def test_the_number_of_seeds_makes_another_run_and_that_of_devices_does_not(tmp_path, ring):
    with opened(tmp_path, ring, seeds=2):
        begin(tmp_path)
    with (
        pytest.raises(UsageError, match="seeds is 2 there"),
        opened(tmp_path, ring, seeds=3),
    ):
        pass
    description = describe_run(Config(seeds=2, devices=2), ring, devices=2)
    with open_run(tmp_path, description, overwrite=False) as directory:
        directory.begin(1)
        assert directory.take_messages() == ["no longer exactly repeatable: devices was 1 and is 2"]


def test_a_run_from_before_a_setting_existed_has_its_default(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["config"]["seeds"], content["environments"], content["environment"]
    del content["versions"]["python"], content["parameters"]
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        directory.begin(1)
        assert directory.take_messages() == []
    with (
        pytest.raises(UsageError, match="seeds is 1 there"),
        opened(tmp_path, ring, seeds=2),
    ):
        pass


def history_of(path) -> list[dict]:
    return json.loads((path / "config.json").read_text())["environments"]


def test_every_environment_that_a_run_went_on_in_is_recorded_by_step(tmp_path, ring, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")

    def goes_on_from(step, version, **settings):
        monkeypatch.setattr(platform, "python_version", lambda: version)
        with opened(tmp_path, ring, **settings) as directory:
            if step == 0:
                begin(tmp_path)
            directory.begin(step)
            return directory.take_messages()

    assert goes_on_from(0, "3.11.7") == []
    assert goes_on_from(10, "3.11.7") == []
    (remark,) = goes_on_from(20, "3.13.0")
    assert "python was 3.11.7 and is 3.13.0" in remark
    assert goes_on_from(30, "3.13.0") == []  # What a run was last computed in is compared.
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    (remark,) = goes_on_from(40, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert "XLA_FLAGS was not set and is --xla_cpu_enable_fast_math=true" in remark
    assert goes_on_from(50, "3.11.7", log_every=5) == []
    found = [
        (entry["step"], entry["versions"]["python"], entry["log_every"])
        for entry in history_of(tmp_path)
    ]
    expected = [(0, "3.11.7", 10), (20, "3.13.0", 10), (40, "3.11.7", 10), (50, "3.11.7", 5)]
    assert found == expected
    assert history_of(tmp_path)[2]["environment"] == {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"
    }
    assert json.loads((tmp_path / "config.json").read_text())["versions"]["python"] == "3.11.7"
    # Of a checkpoint of step 30 nothing is left of what came after it.
    (remark,) = goes_on_from(30, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert [entry["step"] for entry in history_of(tmp_path)] == [0, 20, 30]


def test_networks_of_another_version_are_no_damage(tmp_path, ring):
    def with_parameters(generator):
        parameters = {"generator": generator, "discriminator": 7} if generator else None
        about = describe_run(Config(), ring, parameters=parameters)
        return open_run(tmp_path, about, overwrite=False)

    with with_parameters(5):
        begin(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with (
        pytest.raises(
            UsageError, match=r"networks \(generator\) have other .* continue it with jaxgan \d"
        ),
        with_parameters(6),
    ):
        pass
    assert (tmp_path / "config.json").read_bytes() == before
    with with_parameters(5):
        pass


def test_a_history_that_says_nothing_is_a_damaged_config(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    for entry in (3, {}, {"step": 0}):
        path.write_text(json.dumps(content | {"environments": [entry]}))
        with pytest.raises(RunError, match="damaged: restore it"), opened(tmp_path, ring):
            pass


class Saved(NamedTuple):
    """A state that is quick to save."""

    step: np.ndarray
    w: np.ndarray


def saved(step: int) -> Saved:
    return Saved(np.int32(step), np.full(3, step, np.float32))


def call_to(last: int, images=None, saving: bool = True) -> Chunk:
    """A call of ten steps, after which the state is saved."""
    metrics = Metrics(**dict.fromkeys(Metrics._fields, np.ones(10)))
    snapshot = Snapshot(saved(last), {"params": {"w": np.full(3, last)}}, {})
    return Chunk(last - 9, last, metrics, np.int32(last), images, snapshot if saving else None)


def a_run(path, ring, *lasts: int, **settings):
    """Leaves a run that has ended after some calls, and was summed up."""
    with opened(path, ring, **settings) as directory:
        assert directory.restore(saved(0)) is None
        directory.begin(0)
        for last in lasts:
            directory.write(call_to(last))
        return directory.finish(saved(lasts[-1]), {})


def everything(path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in files_in(path)}


def files_in(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def continued_at(path, ring, step: int, **settings) -> list[str]:
    """Continues a run from a step on and returns the remarks."""
    with opened(path, ring, **settings) as directory:
        assert directory.restore(saved(0)).step == step
        directory.begin(step)
        return directory.take_messages()


@pytest.mark.parametrize("keep", ["generator", "summary.json"])
def test_checkpoints_that_are_gone_are_no_new_run(tmp_path, ring, keep):
    a_run(tmp_path, ring, 10, 20)
    shutil.rmtree(tmp_path / "checkpoints")
    if keep == "generator":
        (tmp_path / "summary.json").unlink()
    else:
        shutil.rmtree(tmp_path / "generator")
    before = everything(tmp_path)
    with (
        pytest.raises(UsageError, match="without its checkpoints: restore .*checkpoints.*--overwr"),
        opened(tmp_path, ring) as directory,
    ):
        directory.restore(saved(0))
    assert everything(tmp_path) == before
    assert a_run(tmp_path, ring, 10, overwrite=True)["steps"] == 10


def test_a_generator_is_there_only_beside_its_checkpoint(tmp_path, ring, monkeypatch):
    """So that a process killed during the first save leaves none, and can start again."""
    generator = tmp_path / "generator" / "generator.json"
    with opened(tmp_path, ring) as directory:
        monkeypatch.setattr(directory.checkpoints, "saving", lambda: True)
        directory.write(call_to(10))
        directory.write(call_to(20, saving=False))
        assert not generator.exists()
        monkeypatch.setattr(directory.checkpoints, "saving", lambda: False)
        directory.write(call_to(30, saving=False))
        assert json.loads(generator.read_text())["step"] == 10
        assert directory.checkpoints.newest() == 10
        directory.write(call_to(40))
    assert json.loads(generator.read_text())["step"] == 40


def test_a_first_checkpoint_that_fails_leaves_no_generator(tmp_path, ring, monkeypatch):
    def full():
        raise RunError("no room")

    with pytest.raises(RunError, match="no room"), opened(tmp_path, ring) as directory:
        directory.write(call_to(10))
        monkeypatch.setattr(directory.checkpoints, "wait", full)
        directory.save()
    assert not (tmp_path / "generator").exists()


def test_a_generator_that_is_gone_or_old_is_lacking(tmp_path, ring):
    a_run(tmp_path, ring, 10, 20)
    with opened(tmp_path, ring) as directory:
        state = directory.restore(saved(0))
        assert not directory.lacks_generator(state)
        about = tmp_path / "generator" / "generator.json"
        content = json.loads(about.read_text())
        about.write_text(json.dumps(content | {"step": 10}))
        assert directory.lacks_generator(state)
        directory.restore_generator(state, {"params": {"w": np.full(3, 20)}})
        assert json.loads(about.read_text()) == content
        (remark,) = directory.take_messages()
        assert remark == f"{tmp_path / 'generator'} was not of step 20: written again"
        for name in ("generator.json", "weights.safetensors"):
            directory.restore_generator(state, {"params": {"w": np.full(3, 20)}})
            assert not directory.lacks_generator(state)
            (tmp_path / "generator" / name).unlink()
            assert directory.lacks_generator(state)


@pytest.mark.parametrize("content", [None, "{", ""])
def test_a_config_that_is_gone_leaves_two_ways_out(tmp_path, ring, content):
    a_run(tmp_path, ring, 10)
    config = tmp_path / "config.json"
    original = config.read_text()
    config.unlink() if content is None else config.write_text(content)
    before = everything(tmp_path)
    what = "missing" if content is None else "damaged"
    with (
        pytest.raises(UsageError, match=f"config.json is {what}: restore it, start again with --"),
        opened(tmp_path, ring),
    ):
        pass
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match="--overwrite, after removing the files that are not"),
        opened(tmp_path, ring, overwrite=True),
    ):
        pass
    (tmp_path / "thesis.tex").unlink()
    assert everything(tmp_path) == before
    a_run(tmp_path, ring, 10, overwrite=True)
    assert config.read_text() == original


@pytest.mark.parametrize(
    ("kept", "remark"),
    [
        (
            [],
            "3 lines are missing in {}, from step 10 on: the curves and the summary do not have them",
        ),
        (
            [10, 30],
            "a line is missing in {}, from step 20 on: the curves and the summary do not have them",
        ),
        (
            [10, 20],
            "a line is missing in {}, from step 30 on: the curves and the summary do not have them",
        ),
    ],
)
def test_lines_that_are_gone_are_remarked(tmp_path, ring, kept, remark):
    a_run(tmp_path, ring, 10, 20, 30)
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    if kept:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] in kept))
    assert continued_at(tmp_path, ring, 30)[0].startswith(remark.format(path))


def test_lines_that_were_never_asked_for_are_not_missing(tmp_path, ring):
    a_run(tmp_path, ring, 10, 20, log_every=20)
    with opened(tmp_path, ring, log_every=5) as directory:
        directory.restore(saved(0))
        directory.begin(20)
        directory.write(call_to(30))
        directory.save()
        assert directory.take_messages() == []
    assert [entry["log_every"] for entry in history_of(tmp_path)] == [20, 5]
    assert continued_at(tmp_path, ring, 30, log_every=7) == []
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (remark,) = continued_at(tmp_path, ring, 30, log_every=7)
    assert remark.startswith(f"a line is missing in {path}, from step 30 on")


def test_lines_of_an_older_version_lack_what_was_logged_since(tmp_path, ring):
    with opened(tmp_path, ring) as directory:
        row = {"step": 1, "d_loss": 0.5, "g_loss": 2, "fid": 3.5}
        (tmp_path / "metrics.jsonl").write_text(json.dumps({**row, "unknown": "x"}) + "\n")
        assert directory.log.read() == [row]
        for name in ("d_loss", "g_loss", "fid", "d_real"):
            bad = json.dumps({**row, name: "0.5"}) + "\n"
            (tmp_path / "metrics.jsonl").write_text(bad + json.dumps(row) + "\n")
            with pytest.raises(RunError, match="line 1 of .* is damaged"):
                directory.log.read()


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_remarked(tmp_path, ring, monkeypatch, error):
    def flock(file, operation):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with opened(tmp_path, ring) as directory:
        (remark,) = directory.take_messages()
    assert remark.startswith(f"the file system of {tmp_path} has no locks: make sure that no two")


def test_an_error_of_the_disk_is_no_missing_lock(tmp_path, ring, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.EIO, "it broke")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="it broke"), opened(tmp_path, ring):
        pass


@pytest.mark.parametrize("name", ["save_samples", "save_curves", "save_animation"])
def test_what_cannot_be_drawn_is_remarked_once_and_the_state_is_saved(
    tmp_path, ring, monkeypatch, name
):
    def fails(*arguments):
        raise ZeroDivisionError("of a library")

    monkeypatch.setattr(plots, name, fails)
    points = np.zeros((4, 2))
    with opened(tmp_path, ring) as directory:
        directory.write(call_to(10, points))
        directory.write(call_to(20, points))
        assert directory.finish(saved(20), {})["steps"] == 20
        (remark,) = directory.take_messages()
        assert "could not be drawn (ZeroDivisionError: of a library)" in remark
        assert directory.checkpoints.newest() == 20


def test_what_cannot_be_logged_ends_the_run_with_its_state_saved(tmp_path, ring, monkeypatch):
    def full(rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path, ring) as directory:
        directory.begin(0)
        directory.write(call_to(10))
    with opened(tmp_path, ring, log_every=5) as directory:
        assert directory.restore(saved(0)).step == 10
        directory.begin(10)
        with monkeypatch.context() as patched:
            patched.setattr(metrics_log, "_text", full)
            directory.write(call_to(20, saving=False))
        assert directory.failure is not None
        directory.write(call_to(30))  # There may be room again: a gap would be worse.
        with pytest.raises(
            RunError,
            match=r"metrics.jsonl could not be written \(No space left on device\); metrics.jsonl "
            "lacks step 15 to step 30: the state of step 30 is saved",
        ):
            directory.save()
    assert [row["step"] for row in rows_in(tmp_path)] == [10]
    (remark,) = continued_at(tmp_path, ring, 30, log_every=5)
    assert "4 lines are missing" in remark


def rows_in(path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_an_unforeseen_error_of_logging_does_not_keep_the_state_from_being_saved(
    tmp_path, ring, monkeypatch
):
    def fails(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(MetricsLog, "rows_of", fails)
    with pytest.raises(ZeroDivisionError), opened(tmp_path, ring) as directory:
        directory.write(call_to(10))
    monkeypatch.undo()
    with opened(tmp_path, ring) as directory:
        assert directory.restore(saved(0)).step == 10


def test_lines_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).append([{"step": 1}])
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            MetricsLog(path).append([{"step": 2}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
