"""`metrics.jsonl`: a line for each logged step and, with several members, for each of them."""

import contextlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.errors import RunError
from jaxgan.files import write_text
from jaxgan.metrics import METRICS
from jaxgan.parallel.chunks import Chunk
from jaxgan.state import FeedbackMetrics

SCORES = tuple(dict.fromkeys(metric.name for metric in METRICS if metric.quick))
"""The scores in lines of steps at which the generator was evaluated."""
NAMES = {*FeedbackMetrics._fields, *SCORES}
"""What a line may have beside its step and its member."""
REQUIRED = ("d_loss", "g_loss")
"""What every line has beside its step, whatever version of jaxgan wrote it."""


class MetricsLog:
    """The file `metrics.jsonl` of a run.

    labels: what lines say of their member, of each of several members; None for a single run.
    unwritten: the steps of lines that could not be written.
    """

    def __init__(self, path: Path, labels: Sequence[dict] | None = None):
        self.path, self.labels = path, labels
        self.unwritten: list[int] = []

    def read(self) -> list[dict]:
        """Returns the complete lines, none if the file is missing.

        Raises `RunError` for a damaged line.
        """
        labels = [*self.labels[0]] if self.labels else []
        required = ("step", *labels, *REQUIRED)
        known = {*required, *NAMES}
        as_number = lambda name, value: value if name in labels else value + 0
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                names = [name for name in (*required, *row) if name in known]
                rows.append({name: as_number(name, row[name]) for name in names})
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # The process was killed while it wrote this line.
                    break
                raise RunError(
                    f"line {number} of {self.path} is damaged: repair that line, or move the file "
                    "away, and run the same command again"
                ) from error
        return rows

    def rewrite(self, rows: Sequence[dict]) -> None:
        """Replaces all lines."""
        write_text(self.path, _text(rows))

    def append(self, rows: Sequence[dict]) -> None:
        """Appends all of the lines or, if that fails, none of them. Raises `OSError`.

        Once it has failed, later lines are only noted in `unwritten`.
        """
        if self.unwritten:
            self.unwritten += [row["step"] for row in rows]
        elif rows:
            size = self.path.stat().st_size if self.path.exists() else 0
            try:
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(_text(rows))
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)
                self.unwritten += [row["step"] for row in rows]
                raise

    def rows_of(
        self, chunk: Chunk, metrics: dict[str, np.ndarray], log_every: int, scores: dict[int, dict]
    ) -> list[dict]:
        """Returns the lines of a chunk: those of its steps that `log_every` divides.

        metrics: `[n]` or `[members, n]`, by name. Frozen members have no lines. scores: those of
        each member's generator after the last step, by the index of the member; a step with scores
        is logged in any case.
        """
        by_member = {name: np.atleast_2d(values) for name, values in metrics.items()}
        taken = np.atleast_1d(chunk.taken)
        last = chunk.last - chunk.first
        logged = range(-chunk.first % log_every, last + 1, log_every)
        rows = []
        for i in sorted({*logged, *([last] if scores else [])}):
            for k in np.flatnonzero(taken >= chunk.first + i):
                row = {"step": chunk.first + i}
                if self.labels is not None:
                    row |= self.labels[k]
                row |= {name: float(values[k, i]) for name, values in by_member.items()}
                rows.append(row | (scores.get(k, {}) if i == last else {}))
        return rows

    def describe_missing(
        self, rows: Sequence[dict], history: Sequence[dict], taken: dict[int | str | None, int]
    ) -> str:
        """Returns a message about the lines that `find_missing` finds; "" if it finds none."""
        missing = find_missing(rows, history, taken)
        if missing:
            lines = "a line" if len(missing) == 1 else f"{len(missing):,} lines"
            return (
                f"{self.path} lacks {lines} from step {missing[0]} on, and so do the curves and "
                "the summary"
            )
        if not rows and not any("log_every" in entry for entry in history):
            return f"{self.path} is empty: the curves begin at the present step"
        return ""


def member_of(row: dict) -> int | str | None:
    """Returns the member of a line: its name, its seed, or None in a single run."""
    return row.get("member", row.get("seed"))


def find_missing(
    rows: Sequence[dict], history: Sequence[dict], taken: dict[int | str | None, int]
) -> list[int]:
    """Returns the steps of the lines that a run must have written and that are missing.

    history: entries with the "step" from which their "log_every" applied; without that, nothing is
    known. taken: the number of steps that each member has taken; that of a single run is None.
    """
    present = {(member_of(row), row["step"]) for row in rows}
    ends = [*(entry["step"] for entry in history[1:]), max(taken.values())]
    missing = []
    for (entry, end), (member, last) in itertools.product(
        zip(history, ends, strict=True), taken.items()
    ):
        if every := entry.get("log_every"):
            first = (entry["step"] // every + 1) * every
            steps = range(first, min(end, last) + 1, every)
            missing += [step for step in steps if (member, step) not in present]
    return sorted(missing)


def _text(rows: Sequence[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
