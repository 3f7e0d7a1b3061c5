"""The lines of `metrics.jsonl`."""

import errno
import json
import resource
import signal

import pytest
from helpers import (
    make_chunk,
    make_state,
    open_directory,
    read_environments,
    read_metrics,
    resume_run,
    write_first_row,
    write_run,
)

from jaxgan.errors import RunError
from jaxgan.runs import metrics_log
from jaxgan.runs.metrics_log import MetricsLog


def test_incomplete_last_line_is_ignored(tmp_path, ring):
    with open_directory(tmp_path, ring) as directory:
        write_first_row(tmp_path)
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write('{"step": 2')
        assert [row["step"] for row in directory.log.read()] == [1]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b"{}", b'{"step": "a"}', b'{"step": 10}'])
def test_damaged_line_is_reported_and_the_file_unchanged(tmp_path, ring, line):
    with open_directory(tmp_path, ring) as directory:
        write_first_row(tmp_path)
        path = tmp_path / "metrics.jsonl"
        content = line + b"\n" + path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.log.read()
        assert path.read_bytes() == content


def test_lines_of_several_seeds_need_a_seed(tmp_path, ring):
    with open_directory(tmp_path, ring, seeds=2) as directory:
        write_first_row(tmp_path)
        (tmp_path / "metrics.jsonl").write_text((tmp_path / "metrics.jsonl").read_text() * 2)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.log.read()


@pytest.mark.parametrize(
    ("kept", "remark"),
    [
        (
            [],
            "{} lacks 3 lines from step 10 on, and so do the curves",
        ),
        (
            [10, 30],
            "{} lacks a line from step 20 on, and so do the curves",
        ),
        (
            [10, 20],
            "{} lacks a line from step 30 on, and so do the curves",
        ),
    ],
)
def test_missing_lines_are_reported(tmp_path, ring, kept, remark):
    write_run(tmp_path, ring, 10, 20, 30)
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    if kept:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] in kept))
    assert resume_run(tmp_path, ring, 30)[0].startswith(remark.format(path))


def test_lines_between_log_steps_are_not_missing(tmp_path, ring):
    write_run(tmp_path, ring, 10, 20, log_every=20)
    with open_directory(tmp_path, ring, log_every=5) as directory:
        directory.restore(make_state(0))
        directory.begin(20)
        directory.write(make_chunk(30))
        directory.save()
        assert directory.take_messages() == []
    assert [entry["log_every"] for entry in read_environments(tmp_path)] == [20, 5]
    assert resume_run(tmp_path, ring, 30, log_every=7) == []
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (remark,) = resume_run(tmp_path, ring, 30, log_every=7)
    assert remark.startswith(f"{path} lacks a line from step 30 on")


def test_lines_of_older_versions_may_lack_metrics(tmp_path, ring):
    with open_directory(tmp_path, ring) as directory:
        row = {"step": 1, "d_loss": 0.5, "g_loss": 2, "fid": 3.5}
        (tmp_path / "metrics.jsonl").write_text(json.dumps({**row, "unknown": "x"}) + "\n")
        assert directory.log.read() == [row]
        for name in ("d_loss", "g_loss", "fid", "d_real"):
            bad = json.dumps({**row, name: "0.5"}) + "\n"
            (tmp_path / "metrics.jsonl").write_text(bad + json.dumps(row) + "\n")
            with pytest.raises(RunError, match="line 1 of .* is damaged"):
                directory.log.read()


def test_lines_are_appended_atomically(tmp_path):
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


def test_logging_failure_ends_the_run_after_saving_the_state(tmp_path, ring, monkeypatch):
    def full(rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_directory(tmp_path, ring) as directory:
        directory.begin(0)
        directory.write(make_chunk(10))
    with open_directory(tmp_path, ring, log_every=5) as directory:
        assert directory.restore(make_state(0)).step == 10
        directory.begin(10)
        with monkeypatch.context() as patched:
            patched.setattr(metrics_log, "_text", full)
            directory.write(make_chunk(20, saving=False))
        assert directory.failure is not None
        # Not logged even if there is space again: that would leave a gap.
        directory.write(make_chunk(30))
        with pytest.raises(
            RunError,
            match=r"metrics.jsonl could not be written \(No space left on device\); metrics.jsonl "
            "lacks step 15 to step 30: the state of step 30 is saved",
        ):
            directory.save()
    assert [row["step"] for row in read_metrics(tmp_path)] == [10]
    (remark,) = resume_run(tmp_path, ring, 30, log_every=5)
    assert "lacks 4 lines" in remark


def test_unexpected_logging_error_does_not_prevent_saving(tmp_path, ring, monkeypatch):
    def fails(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(MetricsLog, "rows_of", fails)
    with pytest.raises(ZeroDivisionError), open_directory(tmp_path, ring) as directory:
        directory.write(make_chunk(10))
    monkeypatch.undo()
    with open_directory(tmp_path, ring) as directory:
        assert directory.restore(make_state(0)).step == 10
