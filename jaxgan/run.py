"""The run directory: what a run leaves on disk."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

import jaxgan
from jaxgan import plots
from jaxgan.checkpoint import Checkpoints, save_generator, sha256
from jaxgan.config import BOOKKEEPING, Config
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.files import write_text
from jaxgan.gan import GANState, Metrics, averaged
from jaxgan.loops import Call

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
CONTENTS = (
    "metrics.jsonl",
    "samples",
    "curves.png",
    "training.gif",
    "summary.json",
    "checkpoints",
    "damaged",
    "generator",
    "config.json",
)
"""Everything that a run writes; `config.json`, by which it is known, is the last to go."""


class Run:
    """A run directory, held by this process.

    description: the content of `config.json`.
    remarks: what the user should know of what was found there.
    """

    def __init__(self, path: Path, description: dict, checkpoints: Checkpoints, remarks: list[str]):
        self.path, self.description, self.remarks = path, description, remarks
        self.checkpoints = checkpoints

    def latest(self, template: GANState) -> GANState | None:
        """Returns the newest state that was saved whole, None in a new run.

        template: a state of shapes. What a killed process logged beyond that state is dropped.
        """
        found = self.checkpoints.latest(template)
        step, state, damaged = found or (0, None, [])
        rows = self.rows()
        if rows and not found:
            self.remarks.append("no checkpoint had been saved: starting from step 0 again")
        for bad in damaged:
            self.remarks.append(
                f"the checkpoint of step {bad} is damaged (moved to {self.path / 'damaged'}): "
                f"continuing from step {step}"
            )
        kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(kept))
        return state

    def record(self, call: Call, log_every: int) -> dict[str, float]:
        """Writes what a call of the device computed and returns the metrics of its last step.

        Raises `Diverged`, before anything of it is written, where a value is not finite.
        """
        metrics = {name: np.asarray(values) for name, values in call.metrics._asdict().items()}
        self._check_finite(call, metrics)
        with open(self.path / "metrics.jsonl", "a") as file:
            for i in range(-call.first % log_every, call.last - call.first + 1, log_every):
                row = {name: float(values[i]) for name, values in metrics.items()}
                file.write(json.dumps({"step": call.first + i, **row}) + "\n")
        if call.images is not None:
            self.picture(call.last, call.images)
        if call.snapshot is not None:
            state, _ = call.snapshot
            self.checkpoints.save(call.last, state)
            about = {"step": call.last, **self.description}
            save_generator(self.path / "generator", averaged(state), about)
        return {name: float(values[-1]) for name, values in metrics.items()}

    def picture(self, step: int, images: jax.Array) -> None:
        """Writes samples `[n, ...]` into `samples/`."""
        plots.save_samples(self.path / "samples" / f"{step:09d}.png", np.asarray(images))

    def summarise(self, state: GANState, speed: dict) -> dict:
        """Writes the curves, the animation and `summary.json`, and returns what the last one says.

        speed: entries of the summary. Waits for the checkpoints that are still being written.
        """
        self.checkpoints.wait()
        rows = self.rows()
        plots.save_curves(self.path / "curves.png", rows)
        plots.save_animation(
            self.path / "training.gif", sorted((self.path / "samples").glob("*.png"))
        )
        summary = {
            "steps": int(state.step),
            **speed,
            "final": rows[-1] if rows else {},
            "state_sha256": sha256(state),
        }
        write_json(self.path / "summary.json", summary)
        return summary

    def worth_opening(self) -> list[Path]:
        """Returns the files that a person looks at first."""
        files = (self.path / name for name in ("training.gif", "curves.png", "summary.json"))
        return [file for file in files if file.exists()]

    def summary(self) -> dict | None:
        """Returns what `summary.json` says, None where it does not say that the run has ended."""
        summary = read_json(self.path / "summary.json")
        return summary if "steps" in summary and "state_sha256" in summary else None

    def rows(self) -> list[dict]:
        """Returns the complete lines of `metrics.jsonl`. Raises `RunError` where it is damaged."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                rows.append({name: row[name] + 0 for name in ("step", *Metrics._fields)})
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # A process was killed while it wrote.
                    break
                raise RunError(
                    f"line {number} of {path} is damaged: repair that line, or move the file away, "
                    "and run the same command again"
                ) from error
        return rows

    def _check_finite(self, call: Call, metrics: dict[str, np.ndarray]) -> None:
        bad = {name: int(np.argmin(np.isfinite(values))) for name, values in metrics.items()}
        bad = {name: i for name, i in bad.items() if not np.isfinite(metrics[name][i])}
        if bad:
            name = min(bad, key=bad.get)
            self._diverged(call.first + bad[name], name, metrics[name][bad[name]])
        for path, is_bad in (call.snapshot[1] if call.snapshot else {}).items():
            if is_bad:
                self._diverged(call.last, path, "not finite")

    def _diverged(self, step: int, quantity: str, value) -> None:
        saved = self.checkpoints.newest()
        kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
        raise Diverged(
            f"training diverged: {quantity} is {value} at step {step} ({kept} in {self.path}); "
            "start afresh with --overwrite and, perhaps, a smaller --learning-rate"
        )


@contextlib.contextmanager
def opened(path: Path, description: dict, overwrite: bool) -> Iterator[Run]:
    """Opens a run directory, new or with a run of the same configuration, for this process alone.

    description: what `describe` returned; it becomes the `config.json` of a new run.
    Raises `UsageError` for a folder that is not a run's, or holds another run, and `RunError` where
    another process trains there.
    """
    known = path / "config.json"
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out {path} is a file; name a folder")
    if path.is_dir() and not known.exists() and _foreign(path):
        raise UsageError(f"--out {path} holds other files and no run; name another folder")
    if known.exists() and not description.keys() <= read_json(known).keys():
        raise UsageError(
            f"{known} is not the file of a run, or is damaged: restore it, or name another --out"
        )
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if overwrite:
            for name in CONTENTS:
                _remove(path / name)
        remarks = []
        if _started(path):
            remarks = _compared(path, read_json(known), description)
        else:
            write_json(known, description)
        (path / "samples").mkdir(exist_ok=True)
        with contextlib.closing(Checkpoints(path / "checkpoints")) as checkpoints:
            yield Run(path, description, checkpoints, remarks)


def describe(config: Config, dataset, remark: str) -> dict:
    """Returns what `config.json` says of a run: settings, data, versions and device."""
    settings = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
    }
    device = jax.devices()[0]
    return {
        "config": settings,
        "dataset": {
            "name": dataset.name,
            "holds": dataset.describe(),
            "fingerprint": dataset.fingerprint,
            "shape": dataset.shape,
            "bounded": dataset.bounded,
            "remark": remark,
        },
        "versions": {
            "jaxgan": jaxgan.__version__,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        },
    }


def read_json(path: Path) -> dict:
    """Returns the object in a file, an empty one where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict) -> None:
    """Writes a file, all or nothing."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def _foreign(directory: Path) -> bool:
    leftovers = (".lock", "config.json.tmp")  # Of a process that was killed as it began.
    return any(child.name not in leftovers for child in directory.iterdir())


def _started(path: Path) -> bool:
    """Whether a run has left more there than its configuration and a first picture."""
    metrics, checkpoints = path / "metrics.jsonl", path / "checkpoints"
    return (metrics.exists() and metrics.stat().st_size > 0) or (
        checkpoints.is_dir() and any(checkpoints.iterdir())
    )


def _compared(directory: Path, before: dict, now: dict) -> list[str]:
    """Returns remarks on what changed around a run; raises `UsageError` for another run."""
    try:
        old, new = before["config"], now["config"]
        old_data, new_data = before["dataset"], now["dataset"]
        pairs = {name: (old.get(name), new[name]) for name in new if name not in BOOKKEEPING}
        pairs["dataset"] = (old_data["name"], new_data["name"])
        if old_data["name"] == new_data["name"]:
            pairs["data (fingerprint)"] = (old_data["fingerprint"], new_data["fingerprint"])
        around = [
            (name, before[part].get(name), now[part][name])
            for part in ("versions", "device")
            for name in now[part]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{directory / 'config.json'} is damaged: restore it, or name another --out"
        ) from error
    differing = [f"{name} {a} there, {b} now" for name, (a, b) in pairs.items() if a != b]
    if differing:
        raise UsageError(
            f"{directory} holds a run of another configuration ({'; '.join(differing)}): name "
            "another --out, or start afresh with --overwrite"
        )
    changed = [f"{name} was {a} and is {b}" for name, a, b in around if a != b]
    return [f"not exactly repeatable any more: {'; '.join(changed)}"] if changed else []


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps other processes out; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        yield
        return
    with open(directory / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process is training in {directory}") from error
        yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
