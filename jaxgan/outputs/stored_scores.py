"""The stored scores of runs, beside those of real data."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation.results import (
    check_comparable,
    check_protocols,
    read_stored,
    result_name,
)
from jaxgan.evaluation.table import ARROWS, format_cell, protocol_line
from jaxgan.metrics import BY_NAME
from jaxgan.runs.description import Description

GENERATORS = {False: "last generator", True: "generator with the best FID during training"}
DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "": "best near real data"}


class Scores(NamedTuple):
    """The scores of a generator.

    best: whether they are of the best generator instead of the last one. steps: at which it was
    evaluated, by seed. rows: of each metric its title, the better direction in words, the score of
    real data, and that of the samples. protocol: how they were computed, in one line.
    result: the content of the file.
    """

    best: bool
    steps: dict[str, int]
    rows: list[tuple[str, str, str, str]]
    protocol: str
    result: dict

    @property
    def generator(self) -> str:
        """Which generator of the run was evaluated, in words."""
        return GENERATORS[self.best]


def read_scores(run: Path, about: Description) -> tuple[list[Scores], list[str]]:
    """Returns the scores of a run's generators, and a line about each file that does not apply."""
    found, remarks = [], []
    for best in GENERATORS:
        path = run / result_name(best)
        if not path.exists():
            continue
        try:
            result = read_stored(run, about, best)
        except RunError:
            flag = " --best" if best else ""
            remarks.append(
                f"{path.name} is damaged, or of another step or version: evaluate again, by "
                f"python -m jaxgan.evaluate {run}{flag}"
            )
            continue
        steps = {seed: own["step"] for seed, own in result["seeds"].items()}
        rows = [
            (
                BY_NAME[name].title,
                DIRECTIONS[BY_NAME[name].direction],
                format_cell(name, result["real"]),
                format_cell(name, result["mean"], result["std"]),
            )
            for name in BY_NAME
            if name in result["mean"]
        ]
        remarks += result["remarks"]
        found.append(Scores(best, steps, rows, protocol_line([result]), result))
    return found, remarks


def compare_scores(
    scores: dict[str, Scores | None], fingerprints: dict[str, str]
) -> tuple[list[tuple[str, list[str]]], str]:
    """Returns the scores of several runs, a column for each metric, and a remark on them.

    scores: by run. fingerprints: of the data of the runs. A column has the title of a metric, with
    an arrow to better values, and a cell for real data and each run.
    """
    known = {run: own.result for run, own in scores.items() if own is not None}
    if not known:
        return [], ""
    remark, real = protocol_line(list(known.values())), next(iter(known.values()))["real"]
    try:
        check_comparable("data", {run: fingerprints[run] for run in known})
        check_protocols(known)
    except UsageError as error:
        remark, real = str(error), {}
    names = [name for name in BY_NAME if any(name in result["mean"] for result in known.values())]
    titles = {name: BY_NAME[name].title + ARROWS[BY_NAME[name].direction] for name in names}
    return [(title, _column(name, real, scores)) for name, title in titles.items()], remark


def _column(name: str, real: dict, scores: dict[str, Scores | None]) -> list[str]:
    """Returns the cells of a metric, the first one for real data."""
    cells = [format_cell(name, real)]
    for own in scores.values():
        mean, std = ({}, {}) if own is None else (own.result["mean"], own.result["std"])
        cells.append(format_cell(name, mean, std))
    return cells


def last_scores(found: Sequence[Scores]) -> Scores | None:
    """Returns the scores of the last generator, None if it has none."""
    return next((own for own in found if not own.best), None)
