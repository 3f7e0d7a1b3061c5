"""Opening the directory of a run: whose it is, its lock, and what may be deleted in it."""

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxgan.errors import ReadError, RunError, UsageError
from jaxgan.files import read_json, write_json
from jaxgan.parallel import connection, distributed
from jaxgan.runs import description
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.config import Config
from jaxgan.runs.description import Description, check_same_run
from jaxgan.runs.run import Run, has_saved

SWEEP = ("sweep.json", "sweep.md", "sweep.png")
"""The comparison of settings with several values."""
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
    "profiles",
    "evaluations",
    "evaluation.json",
    "evaluation-best.json",
    "nearest.png",
    "sample.png",
    "interpolation.png",
    "interpolation.gif",
    "inversion.png",
    "inversion.npz",
    "verification.json",
    *SWEEP,
    "export.safetensors",
    "export.stablehlo",
    "export.onnx",
    "report.html",
    "tensorboard",
    "config.json",
)
"""Everything that a run writes. `config.json`, which identifies a run, is deleted last."""
OWN = {".lock", *CONTENTS, *(f"{name}.tmp" for name in CONTENTS)}
EVIDENCE = {".lock", "metrics.jsonl", "generator"}
"""Names that identify a run whose `config.json` is missing or damaged."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""The errors of a file system without locks."""


@contextlib.contextmanager
def open_run(
    path: Path, new: Description, overwrite: bool, score: Callable | None = None
) -> Iterator[Run]:
    """Opens a run directory, new or with a run of the same configuration, for this run alone.

    new: the description, which becomes the `config.json` of a new run. score: from the variables of
    a generator to its scores by name, for a run that is evaluated during training.
    Raises `UsageError` for a folder that is not a run's or holds another run, and `RunError` if
    another process trains there. Then nothing in it has changed.
    """
    with contextlib.ExitStack() as lock:
        remark = distributed.broadcast(
            distributed.on_first(lambda: _prepare(path, new, overwrite, lock))
        )
        if not path.is_dir():
            raise RunError(f"{path} is not the same folder in every process: choose a shared --out")
        started = distributed.broadcast(distributed.on_first(lambda: _has_started(path)))
        past = description.read(path / "config.json") if started else new
        run = Run(path, new, past, Checkpoints(path / "checkpoints"), score)
        if remark:
            run.messages.append(remark)
        with contextlib.closing(run):
            yield run


def open_sweep(path: Path, config: Config, names: Sequence[str]) -> None:
    """Makes a folder ready for a run in which settings have several values.

    names: of its programs, which have a folder each; "" for a single one in the folder itself. Of
    several programs, it writes a `sweep.json`, without results, unless there is one.
    Raises `UsageError` for a folder that holds something else. With --overwrite, it deletes the
    programs of another run there.
    """
    before = read_json(path / SWEEP[0])
    now = {"axes": {axis: list(values) for axis, values in config.axes.items()}, "runs": [*names]}
    alone = list(names) == [""]
    others = [name for name in before.get("runs", []) if name != "." and name not in names]
    differs = bool(others) or (not alone and before.get("axes", now["axes"]) != now["axes"])
    if differs and not config.overwrite:
        raise UsageError(
            f"{path} holds a run of other settings with several values "
            f"({', '.join(before.get('axes', {}))}): choose another --out, or start again with "
            "--overwrite"
        )
    for name in others:
        if Path(name).name == name and (path / name / "config.json").exists():
            shutil.rmtree(path / name)
    if differs:
        for name in SWEEP:
            _remove(path / name)
    if alone:
        return
    if (path / "config.json").exists() or not before:
        _check_is_run(path, config.overwrite)
    if (path / "config.json").exists():
        if not config.overwrite:
            raise UsageError(
                f"{path} holds a run, and this one needs several programs, with a folder each: "
                "choose another --out, or start again with --overwrite"
            )
        for name in sorted(OWN, key=lambda name: name.startswith("config.json")):
            _remove(path / name)
    if config.overwrite or not (path / SWEEP[0]).exists():
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / SWEEP[0], {**now, "combinations": []})


@contextlib.contextmanager
def save_if_unreadable(run: Run) -> Iterator[None]:
    """Saves the run if its data can no longer be read, and raises `RunError` with what to do next.

    A run of several processes is not saved again: it continues from its last checkpoint.
    """
    try:
        yield
    except ReadError as error:
        if distributed.process_count() > 1:
            raise RunError(f"{error}: restore the data, and {connection.AGAIN}") from error
        run.save()
        saved = run.checkpoints.newest() or 0
        raise RunError(
            f"{error}: the state of step {saved} is saved; restore the data, and run the same "
            "command again"
        ) from error


def _prepare(path: Path, new: Description, overwrite: bool, lock: contextlib.ExitStack) -> str:
    """Makes a folder ready for a run, locks it, and returns a remark on the lock."""
    _check_is_run(path, overwrite)
    path.mkdir(parents=True, exist_ok=True)
    remark = lock.enter_context(_locked(path))
    if overwrite:
        for name in sorted(OWN - {".lock"}, key=lambda name: name.startswith("config.json")):
            _remove(path / name)
    if _has_started(path):
        check_same_run(path, description.read(path / "config.json"), new)
    else:
        new.write(path / "config.json")
    (path / "samples").mkdir(exist_ok=True)
    return remark


def _check_is_run(path: Path, overwrite: bool) -> None:
    """Raises `UsageError` for a folder that is not a run's or cannot be recognized as one."""
    known = path / "config.json"
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"--out {path} is a file: choose a folder")
        return
    content = _read_any_json(known)
    if isinstance(content, dict) and {"config", "dataset"} <= content.keys():
        return
    names = {child.name for child in path.iterdir()}
    if names <= {".lock", "config.json.tmp"}:  # Of a process that was killed as it began.
        return
    run_without_config = content is None and bool(names & EVIDENCE)
    if run_without_config and names <= OWN and overwrite:
        return
    if run_without_config and names & {*CONTENTS} - {"config.json"}:
        others = "" if names <= OWN else ", after removing the files that are not the run's"
        raise UsageError(
            f"{known} is {'damaged' if known.exists() else 'missing'}: restore it, start again "
            f"with --overwrite{others}, or choose another --out"
        )
    if known.exists():
        raise UsageError(
            f"{known} is not the config.json of a run, or is damaged: restore it, or choose "
            "another --out"
        )
    raise UsageError(f"--out {path} holds other files and no run: choose another folder")


def _read_any_json(path: Path):
    """Returns the content of a JSON file, None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _has_started(path: Path) -> bool:
    """Returns whether a run has left more than its configuration and a first picture."""
    metrics, checkpoints = path / "metrics.jsonl", path / "checkpoints"
    return (
        (metrics.exists() and metrics.stat().st_size > 0)
        or (checkpoints.is_dir() and any(checkpoints.iterdir()))
        or has_saved(path)
    )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[str]:
    """Keeps other processes out, and yields a remark if that is impossible.

    The operating system releases the lock when the process ends, however it ends.
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
            remark = (
                f"the file system of {directory} has no locks: make sure that no two processes "
                "train there at the same time"
            )
        yield remark


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
