"""Helpers for tests of the train command."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan import train
from jaxgan.evaluation.results import VERSION
from jaxgan.gan import Metrics
from jaxgan.parallel.chunks import Chunk, Snapshot
from jaxgan.runs import description
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.directory import open_run
from jaxgan.runs.states import read_state
from jaxgan.trees import leaves_by_path

SMALL = Config(
    dataset="digits",
    batch_size=8,
    latent_size=8,
    steps=60,
    steps_per_call=10,
    sample_every=20,
    checkpoint_every=20,
)
"""A quick run with several chunks, sample images and checkpoints."""
LONG = {"steps": 1_200, "checkpoint_every": 400, "sample_every": 400}
"""Settings of a run that takes long enough to be interrupted."""

EVALUATED = Config(
    dataset="digits",
    batch_size=16,
    latent_size=8,
    width=8,
    steps=60,
    steps_per_call=10,
    sample_every=30,
    checkpoint_every=30,
    evaluate_every=20,
    conditional=True,
)
"""A conditional run that is evaluated during training."""

TINY = {"width": 8, "latent_size": 4, "batch_size": 8}
"""Settings of small networks."""
GRID = {"r1": (0.1, 1.0), "learning_rate": (1e-4, 1e-3)}
"""Settings with two values each."""


def small(out: Path, **settings) -> Config:
    """Returns `SMALL` with another run directory and other settings."""
    return dataclasses.replace(SMALL, out=out, **settings)


def flags(config: Config) -> list[str]:
    """Returns the command-line arguments of a configuration."""
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default and field.name != "axes"
    }
    return [part for k, v in changed.items() for part in (f"--{k.replace('_', '-')}", str(v))]


def launch(config: Config, **options) -> subprocess.Popen:
    """Starts the train command with a configuration."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxgan.train", *flags(config)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )


def assert_same_run(found: Path, expected: Path):
    assert digest(found) == digest(expected)
    names = sorted(path.name for path in (expected / "samples").iterdir())
    assert sorted(path.name for path in (found / "samples").iterdir()) == names
    for name in ("metrics.jsonl", *(f"samples/{name}" for name in names)):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name


def assert_one_line(stderr: str, *words: str):
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("jaxgan: ")
    for word in words:
        assert word in lines[0]


def wait_until(process, condition, path: Path):
    """Waits until the path exists and the condition holds; fails if the process ends first."""
    while not (path.exists() and condition()):
        try:
            process.wait(0.002)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(process.communicate())


def read_metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def run_command(monkeypatch, arguments: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    try:
        return train.command()
    except SystemExit as end:
        return end.code


def digest(out: Path) -> str:
    return json.loads((out / "summary.json").read_text())["state_sha256"]


def states_of(run: Path):
    """Returns the last state of a run."""
    return read_state(run, description.read(run / "config.json"))


def assert_close(found, expected, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Compares trees leaf by leaf, to float tolerance."""
    found = leaves_by_path(found)
    for path, leaf in leaves_by_path(expected).items():
        np.testing.assert_allclose(found[path], leaf, rtol=rtol, atol=atol, err_msg=path)


class Saved(NamedTuple):
    """A state that is quick to save."""

    step: np.ndarray
    w: np.ndarray
    profiles: tuple = ()


def open_directory(path, dataset, overwrite=False, **settings):
    return open_run(path, describe_run(Config(**settings), dataset), overwrite)


def write_first_row(path):
    """Writes the metrics of a first step."""
    row = dict.fromkeys(("step", *Metrics._fields), 1)
    (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")


def make_state(step: int) -> Saved:
    return Saved(np.int32(step), np.full(3, step, np.float32))


def make_chunk(last: int, images=None, saving: bool = True) -> Chunk:
    """Returns a chunk of ten steps that ends at `last`, with a snapshot if `saving`."""
    metrics = Metrics(**dict.fromkeys(Metrics._fields, np.ones(10)))
    snapshot = Snapshot(make_state(last), {"params": {"w": np.full(3, last)}}, {})
    return Chunk(last - 9, last, metrics, np.int32(last), images, snapshot if saving else None)


def write_run(path, ring, *lasts: int, **settings):
    """Writes a finished run of chunks that end at the steps `lasts`; returns its summary."""
    with open_directory(path, ring, **settings) as directory:
        assert directory.restore(make_state(0)) is None
        directory.begin(0)
        for last in lasts:
            directory.write(make_chunk(last))
        return directory.finish(make_state(lasts[-1]), {})


def read_files(path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in list_files(path)}


def list_files(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def resume_run(path, ring, step: int, **settings) -> list[str]:
    """Resumes a run at a step and returns its messages."""
    with open_directory(path, ring, **settings) as directory:
        assert directory.restore(make_state(0)).step == step
        directory.begin(step)
        return directory.take_messages()


def read_environments(path) -> list[dict]:
    return json.loads((path / "config.json").read_text())["environments"]


def read_json(path: Path) -> dict:
    """Returns the content of a JSON file."""
    return json.loads(path.read_text())


def copy_run(run: Path, to: Path, **settings) -> Path:
    """Copies a run with other settings, which its files do not follow from."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints"))
    content = read_json(to / "config.json")
    content["config"] |= settings
    (to / "config.json").write_text(json.dumps(content))
    return to


def write_scores(run: Path, fid: float, digest: str = "a" * 64) -> None:
    """Writes an evaluation of a run of one seed."""
    protocol = {"version": VERSION, "digest": digest, "samples": 500, "samples_of_modes": 500}
    protocol |= {"split": "test", "keys": [0, 1, 2], "features": "classifier of digits"}
    seed = read_json(run / "config.json")["config"]["seed"]
    result = {
        "protocol": protocol,
        "real": {"fid": 1.25, "precision": 0.9},
        "seeds": {str(seed): {"step": 60}},
        "mean": {"fid": fid, "precision": 0.5},
        "std": {"fid": 0.75, "precision": 0.025},
        "deviation_over": "repeats",
        "remarks": ["few samples"],
    }
    (run / "evaluation.json").write_text(json.dumps(result))


def write_lines(path: Path, rows: list[dict]) -> Path:
    """Writes a JSON object on each line of a file, and returns its path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
