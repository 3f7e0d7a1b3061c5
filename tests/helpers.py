"""Helpers for tests of the train command."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from jaxgan import train
from jaxgan.runs.config import Config
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


def small(out: Path, **settings) -> Config:
    """Returns `SMALL` with another run directory and other settings."""
    return dataclasses.replace(SMALL, out=out, **settings)


def flags(config: Config) -> list[str]:
    """Returns the command-line arguments of a configuration."""
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
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


def assert_close(found, expected, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Compares trees leaf by leaf, to float tolerance."""
    found = leaves_by_path(found)
    for path, leaf in leaves_by_path(expected).items():
        np.testing.assert_allclose(found[path], leaf, rtol=rtol, atol=atol, err_msg=path)
