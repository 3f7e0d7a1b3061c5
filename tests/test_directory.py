"""Opening run directories: whose they are, locks, and what is deleted."""

import errno
import fcntl
import json
import os
import threading

import pytest
from run_helpers import (
    a_run,
    begin,
    everything,
    opened,
)

from jaxgan.data import load
from jaxgan.errors import RunError, UsageError


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
    with pytest.raises(RunError, match="damaged .*: restore it"), opened(tmp_path, ring):
        pass


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
