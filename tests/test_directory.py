"""Opening run directories: ownership, locks and deletion."""

import errno
import fcntl
import json
import os
import threading

import pytest
from helpers import (
    open_directory,
    read_files,
    write_first_row,
    write_run,
)

from jaxgan.data import load
from jaxgan.errors import RunError, UsageError


def test_other_configurations_are_rejected_with_the_differences(tmp_path, ring):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    with open_directory(tmp_path, ring, steps=7, steps_per_call=3, sample_every=9):
        pass
    with (
        pytest.raises(
            UsageError,
            match="seed is 0 there and 4 now; loss is non_saturating there",
        ),
        open_directory(tmp_path, ring, loss="minimax", seed=4),
    ):
        pass
    with (
        pytest.raises(UsageError, match="ring there and grid now"),
        open_directory(tmp_path, load("grid")[0]),
    ):
        pass


def test_run_without_steps_accepts_another_configuration(tmp_path, ring):
    with open_directory(tmp_path, ring, latent_size=1_000_000):
        pass
    with open_directory(tmp_path, ring, latent_size=10):
        pass
    assert json.loads((tmp_path / "config.json").read_text())["config"]["latent_size"] == 10


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folder_is_rejected_and_unchanged(tmp_path, ring, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match="holds other files"),
        open_directory(tmp_path, ring, overwrite),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with (
        pytest.raises(UsageError, match="is a file"),
        open_directory(tmp_path / "thesis.tex", ring),
    ):
        pass


def test_overwrite_deletes_only_the_run(tmp_path, ring):
    with open_directory(tmp_path, ring):
        (tmp_path / "samples" / "000000000.png").write_bytes(b"")
        (tmp_path / "notes.txt").write_text("keep")
    with open_directory(tmp_path, ring, overwrite=True, seed=8):
        assert not list((tmp_path / "samples").iterdir())
    assert (tmp_path / "notes.txt").read_text() == "keep"
    assert json.loads((tmp_path / "config.json").read_text())["config"]["seed"] == 8


def test_directory_is_locked_while_open(tmp_path, ring):
    errors = []

    def second():
        try:
            with open_directory(tmp_path, ring):
                pass
        except RunError as error:
            errors.append(str(error))

    with open_directory(tmp_path, ring):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process" in errors[0]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert"}', "null"])
def test_folder_with_an_unrelated_config_json_is_foreign(tmp_path, ring, content, overwrite):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints").mkdir()
    with (
        pytest.raises(UsageError, match="choose another --out"),
        open_directory(tmp_path, ring, overwrite),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "checkpoints"}
    assert (tmp_path / "config.json").read_text() == content


def test_damaged_config_is_reported(tmp_path, ring):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 3)))
    with pytest.raises(RunError, match="damaged .*: restore it"), open_directory(tmp_path, ring):
        pass


@pytest.mark.parametrize("content", [None, "{", ""])
def test_missing_config_can_be_restored_or_overwritten(tmp_path, ring, content):
    write_run(tmp_path, ring, 10)
    config = tmp_path / "config.json"
    original = config.read_text()
    config.unlink() if content is None else config.write_text(content)
    before = read_files(tmp_path)
    what = "missing" if content is None else "damaged"
    with (
        pytest.raises(UsageError, match=f"config.json is {what}: restore it, start again with --"),
        open_directory(tmp_path, ring),
    ):
        pass
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match="--overwrite, after removing the files that are not"),
        open_directory(tmp_path, ring, overwrite=True),
    ):
        pass
    (tmp_path / "thesis.tex").unlink()
    assert read_files(tmp_path) == before
    write_run(tmp_path, ring, 10, overwrite=True)
    assert config.read_text() == original


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_reported(tmp_path, ring, monkeypatch, error):
    def flock(file, operation):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with open_directory(tmp_path, ring) as directory:
        (remark,) = directory.take_messages()
    assert remark.startswith(f"the file system of {tmp_path} has no locks: make sure that no two")


def test_disk_errors_while_locking_are_raised(tmp_path, ring, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.EIO, "it broke")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="it broke"), open_directory(tmp_path, ring):
        pass
