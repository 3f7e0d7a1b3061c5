"""`metrics.jsonl`: a line for each step that is logged, of several seeds one for each of them."""

import contextlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.errors import RunError
from jaxgan.gan import Metrics
from jaxgan.loops import Call

SCORES = ("fid", "precision", "recall", "modes", "high_quality")
"""What lines hold, beside the metrics of the step, where a run is evaluated."""
REQUIRED = ("d_loss", "g_loss")
"""What every line has beside its step, whatever version of jaxgan wrote it."""


def read(path: Path, several: bool) -> list[dict]:
    """Returns the complete lines of a file, none where it is missing.

    several: whether each must have its seed. Raises `RunError` for a damaged line.
    """
    required = ("step", *(["seed"] if several else []), *REQUIRED)
    known = {*required, *Metrics._fields, *SCORES}
    lines = path.read_bytes().splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({name: row[name] + 0 for name in (*required, *row) if name in known})
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # A process was killed while it wrote.
                break
            raise RunError(
                f"line {number} of {path} is damaged: repair that line, or move the file away, "
                "and run the same command again"
            ) from error
    return rows


def append(path: Path, rows: Sequence[dict]) -> None:
    """Writes lines at the end of a file, all or none of them. Raises `OSError`."""
    if not rows:
        return
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text(rows))
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def text(rows: Sequence[dict]) -> str:
    """Returns lines as the file has them."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def rows_of(
    call: Call,
    metrics: dict[str, np.ndarray],
    log_every: int,
    seeds: Sequence[int] | None = None,
    scores: dict[int, dict] | None = None,
) -> list[dict]:
    """Returns the lines of a call: those of its steps that `log_every` divides.

    metrics: `[n]` or `[seeds, n]`, by name. Seeds that are frozen have none.
    scores: of each seed's generator after the last step, by its place; then that step has a line.
    """
    by_seed = {name: np.atleast_2d(values) for name, values in metrics.items()}
    taken, scores = np.atleast_1d(call.taken), scores or {}
    last = call.last - call.first
    logged = range(-call.first % log_every, last + 1, log_every)
    rows = []
    for i in sorted({*logged, *([last] if scores else [])}):
        for k in np.flatnonzero(taken >= call.first + i):
            row = {"step": call.first + i}
            if seeds is not None:
                row["seed"] = seeds[k]
            row |= {name: float(values[k, i]) for name, values in by_seed.items()}
            rows.append(row | (scores.get(k, {}) if i == last else {}))
    return rows


def missing(
    rows: Sequence[dict], history: Sequence[dict], taken: dict[int | None, int]
) -> list[int]:
    """Returns the steps of the lines that a run must have written and that are not there.

    history: entries with the "step" from which on the "log_every" in them held; where they lack
    that, nothing is known. taken: steps that each seed has taken, with None for a single one.
    """
    there = {(row.get("seed"), row["step"]) for row in rows}
    ends = [*(entry["step"] for entry in history[1:]), max(taken.values())]
    lost = []
    for (entry, end), (seed, last) in itertools.product(
        zip(history, ends, strict=True), taken.items()
    ):
        if every := entry.get("log_every"):
            first = (entry["step"] // every + 1) * every
            steps = range(first, min(end, last) + 1, every)
            lost += [step for step in steps if (seed, step) not in there]
    return sorted(lost)
