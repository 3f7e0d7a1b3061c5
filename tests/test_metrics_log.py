"""The lines of `metrics.jsonl`."""

import errno
import json
import resource
import signal

import pytest
from run_helpers import (
    a_run,
    begin,
    call_to,
    continued_at,
    history_of,
    opened,
    rows_in,
    saved,
)

from jaxgan.errors import RunError
from jaxgan.runs import metrics_log
from jaxgan.runs.metrics_log import MetricsLog


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


def test_lines_of_several_seeds_need_their_seed(tmp_path, ring):
    with opened(tmp_path, ring, seeds=2) as directory:
        begin(tmp_path)
        (tmp_path / "metrics.jsonl").write_text((tmp_path / "metrics.jsonl").read_text() * 2)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.log.read()


@pytest.mark.parametrize(
    ("kept", "remark"),
    [
        (
            [],
            "3 lines are missing in {}, from step 10 on: the curves",
        ),
        (
            [10, 30],
            "a line is missing in {}, from step 20 on: the curves",
        ),
        (
            [10, 20],
            "a line is missing in {}, from step 30 on: the curves",
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
