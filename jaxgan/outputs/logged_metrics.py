"""The metrics of a run in columns, read from a `metrics.jsonl` of any size, complete or not."""

import json
import math
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.runs.metrics_log import NAMES, member_of


class LoggedMetrics(NamedTuple):
    """The metrics of a run.

    steps: `[n]`, by member; that of a single run is None. values: `[n]`, by member and name,
    with NaN where a line lacks the metric. damaged: the number of lines that were passed over.
    """

    steps: dict[int | str | None, np.ndarray]
    values: dict[int | str | None, dict[str, np.ndarray]]
    damaged: int

    @property
    def names(self) -> set[str]:
        """The names of the metrics that any member has."""
        return {name for columns in self.values.values() for name in columns}

    @property
    def last_step(self) -> int:
        """The last step that was logged, 0 if there is none."""
        return max((int(steps[-1]) for steps in self.steps.values()), default=0)


class _Columns:
    """The lines of one member while they are read."""

    def __init__(self):
        self.steps, self.values = array("q"), {}

    def add(self, row: dict) -> None:
        """Adds a line."""
        count = len(self.steps)
        self.steps.append(row["step"])
        for name in row.keys() & NAMES:
            column = self.values.setdefault(name, array("d"))
            if len(column) < count:
                column.extend([math.nan] * (count - len(column)))
            column.append(row[name])

    def sorted(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns the steps in order, and the metrics."""
        steps = np.array(self.steps, np.int64)
        order = np.argsort(steps, kind="stable")
        values = {}
        for name, column in self.values.items():
            padded = np.full(len(steps), np.nan)
            padded[: len(column)] = column
            padded[~np.isfinite(padded)] = np.nan
            values[name] = padded[order]
        return steps[order], values


def read_metrics(path: Path) -> LoggedMetrics:
    """Returns the metrics in a `metrics.jsonl`, of which there may be none.

    Damaged lines are passed over and counted, but for an unfinished one at the end of the file.
    Raises `OSError` for a file that cannot be read.
    """
    columns: dict[int | str | None, _Columns] = {}
    damaged, complete = 0, True
    if path.exists():
        with open(path, "rb") as file:
            for line in file:
                complete = line.endswith(b"\n")
                row = _parse(line)
                if row is None:
                    damaged += complete
                else:
                    columns.setdefault(member_of(row), _Columns()).add(row)
    found = {seed: own.sorted() for seed, own in sorted(columns.items(), key=_by_seed)}
    steps = {seed: own for seed, (own, _) in found.items()}
    return LoggedMetrics(steps, {seed: own for seed, (_, own) in found.items()}, damaged)


def _by_seed(item: tuple) -> int:
    """Returns the place of a member; named ones stay in the order of the file."""
    return item[0] if isinstance(item[0], int) else -1


def _parse(line: bytes) -> dict | None:
    """Returns the numbers in a line and its member, None for a damaged line."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    numbers = {k: v for k, v in row.items() if type(v) in (int, float)}
    whole = (numbers.get("step"), numbers.get("seed", 0))
    if not all(type(value) is int and 0 <= value < 2**62 for value in whole):
        return None
    named = isinstance(row.get("member"), str)
    return numbers | {"member": row["member"]} if named else numbers
