"""Runs of states that are quick to save."""

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


def opened(path, dataset, overwrite=False, **settings):
    return open_run(path, describe_run(Config(**settings), dataset), overwrite)


def begin(path):
    """Leaves the trace of a first step."""
    row = dict.fromkeys(("step", *Metrics._fields), 1)
    (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")


def saved(step: int) -> Saved:
    return Saved(np.int32(step), np.full(3, step, np.float32))


def call_to(last: int, images=None, saving: bool = True) -> Chunk:
    """A call of ten steps, after which the state is saved."""
    metrics = Metrics(**dict.fromkeys(Metrics._fields, np.ones(10)))
    snapshot = Snapshot(saved(last), {"params": {"w": np.full(3, last)}}, {})
    return Chunk(last - 9, last, metrics, np.int32(last), images, snapshot if saving else None)


def a_run(path, ring, *lasts: int, **settings):
    """Leaves a run that has ended after some calls, and was summed up."""
    with opened(path, ring, **settings) as directory:
        assert directory.restore(saved(0)) is None
        directory.begin(0)
        for last in lasts:
            directory.write(call_to(last))
        return directory.finish(saved(lasts[-1]), {})


def everything(path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in files_in(path)}


def files_in(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def continued_at(path, ring, step: int, **settings) -> list[str]:
    """Continues a run from a step on and returns the remarks."""
    with opened(path, ring, **settings) as directory:
        assert directory.restore(saved(0)).step == step
        directory.begin(step)
        return directory.take_messages()


def history_of(path) -> list[dict]:
    return json.loads((path / "config.json").read_text())["environments"]


def rows_in(path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
