"""Whose a folder is: opening one for a run, and what a run may delete in it."""

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxgan.description import compared, history
from jaxgan.errors import RunError, UsageError
from jaxgan.files import read_json, write_json

CONTENTS = (
    "metrics.jsonl",
    "samples",
    "curves.png",
    "training.gif",
    "summary.json",
    "checkpoints",
    "damaged",
    "generator",
    "generator-best",
    "evaluation.json",
    "evaluation-best.json",
    "config.json",
)
"""Everything that a run writes; `config.json`, by which it is known, is the last to go."""
OWN = {".lock", *CONTENTS, *(f"{name}.tmp" for name in CONTENTS)}
EVIDENCE = (".lock", "metrics.jsonl", "generator")
"""By which a run is known whose `config.json` is gone."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a file system says that has none."""
WITHOUT_LOCKS = (
    "the file system of {} has no locks: see to it that no two processes train there at once"
)


def prepare(path: Path, description: dict, overwrite: bool, held: contextlib.ExitStack) -> dict:
    """Makes a folder ready for a run; returns "remarks", and the "history" of what is there.

    Locks it, into `held`, and writes `config.json` or compares it. Raises `UsageError` for a
    folder that is not a run's, or holds another run; then nothing in it is changed.
    """
    known = path / "config.json"
    _check_own(path, overwrite)
    path.mkdir(parents=True, exist_ok=True)
    remark = held.enter_context(_locked(path))
    if overwrite:
        for name in sorted(OWN - {".lock"}, key=lambda name: name.startswith("config.json")):
            _remove(path / name)
    past = description
    if _started(path):
        past = read_json(known)
        compared(path, past, description)
    else:
        write_json(known, description)
    (path / "samples").mkdir(exist_ok=True)
    return {"remarks": [remark] if remark else [], "history": history(past)}


def _check_own(path: Path, overwrite: bool) -> None:
    """Raises `UsageError` for what is not the folder of a run, or can not be known to be one."""
    known = path / "config.json"
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"--out {path} is a file; name a folder")
        return
    if {"config", "dataset"} <= read_json(known).keys():
        return
    names = {child.name for child in path.iterdir()}
    if names <= {".lock", "config.json.tmp"}:  # Of a process that was killed as it began.
        return
    readable = _is_json(known)
    of_a_run = not readable and bool(names & {*EVIDENCE})
    if of_a_run and names <= OWN and overwrite:
        return
    if of_a_run and names & {*CONTENTS} - {"config.json"}:
        others = "" if names <= OWN else ", once the files are gone that are not the run's"
        raise UsageError(
            f"{known} is {'damaged' if known.exists() else 'gone'}: restore it, start afresh with "
            f"--overwrite{others}, or name another --out"
        )
    if known.exists():
        raise UsageError(
            f"{known} is not the file of a run, or is damaged: restore it, or name another --out"
        )
    raise UsageError(f"--out {path} holds other files and no run; name another folder")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True


def _started(path: Path) -> bool:
    """Whether a run has left more there than its configuration and a first picture."""
    metrics, checkpoints = path / "metrics.jsonl", path / "checkpoints"
    return (
        (metrics.exists() and metrics.stat().st_size > 0)
        or (checkpoints.is_dir() and any(checkpoints.iterdir()))
        or has_saved(path)
    )


def has_saved(path: Path) -> bool:
    """Returns whether a run has left what it writes only once a checkpoint is complete."""
    return (path / "summary.json").exists() or any((path / "generator").rglob("generator.json"))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[str]:
    """Keeps other processes out, and gives a remark where that cannot be.

    The lock goes with the process, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        yield ""
        return
    with open(directory / ".lock", "w") as file:
        remark = ""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process is training in {directory}") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            remark = WITHOUT_LOCKS.format(directory)
        yield remark


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
