"""Helpers for runs whose states are quick to save."""

import json
from typing import NamedTuple

import numpy as np

from jaxgan.gan import Metrics
from jaxgan.parallel.chunks import Chunk, Snapshot
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.directory import open_run


class Saved(NamedTuple):
    """A state that is quick to save."""

    step: np.ndarray
    w: np.ndarray


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


def read_rows(path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
