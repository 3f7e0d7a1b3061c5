"""The summary of a run in which settings have several values: `sweep.json`, `.md` and `.png`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation.results import (
    check_protocols,
    find_diverged,
    read_description,
    read_stored,
)
from jaxgan.evaluation.table import protocol_line
from jaxgan.files import read_json, replacing, write_json, write_text
from jaxgan.metrics import BY_NAME
from jaxgan.runs.axes import (
    check_axes,
    combinations,
    count_members,
    labels_of,
    members_of,
    name_of,
)
from jaxgan.runs.config import Config
from jaxgan.runs.metrics_log import MetricsLog, member_of
from jaxgan.runs.summary import mean_and_std

SWEEP, TABLE, PICTURE = "sweep.json", "sweep.md", "sweep.png"
LOSSES = ("d_loss", "g_loss")
MOST_LINES = 8
"""The largest number of lines in a panel of the picture that have a name."""


class Results(NamedTuple):
    """The members of a run by their settings: scores by name, and why they were frozen, or None."""

    settings: list[dict[str, Any]]
    scores: list[dict[str, float]]
    diverged: list[str | None]


def write_sweep(
    out: Path, runs: Sequence[Path], config: Config, failures: dict[str, str] | None = None
) -> dict:
    """Writes the summary of a sweep into its directory, and returns the content of `sweep.json`.

    runs: the run directories of its programs. A combination of settings has the mean and the
    deviation over its seeds; the combinations are ranked by a score. failures: why all members of a
    program diverged, by its folder. Raises `OSError`.
    """
    found, failures = Results([], [], []), failures or {}
    stored, scores_are = read_comparable_scores(runs)
    for run in runs:
        if (run / "config.json").exists():
            failure = failures.get(str(run.relative_to(out)))
            for own, more in zip(found, read_results(run, stored.get(run), failure), strict=True):
                own.extend(more)
    rows = [_summarize(settings, found) for settings in combinations(config)]
    known = any(config.rank_by in row["mean"] for row in rows)
    ranked_by = config.rank_by if known else choose_score(rows)
    rows = rank(rows, ranked_by) if ranked_by else rows
    content = {
        "axes": {axis: list(values) for axis, values in config.axes.items()},
        "seeds": [config.seed, config.seeds],
        "runs": [str(run.relative_to(out)) for run in runs],
        "failures": failures,
        "rank_by": config.rank_by,
        "ranked_by": ranked_by,
        "scores": scores_are,
        "combinations": rows,
    }
    write_json(out / SWEEP, content)
    write_text(out / TABLE, format_sweep(content))
    with replacing(out / PICTURE) as temporary, open(temporary, "wb") as file:
        draw_sweep(content).savefig(file, format="png")
    return content


def update_sweep(out: Path) -> dict:
    """Writes the summary of a sweep again, with the scores that its runs have now.

    Returns the content of `sweep.json`. Raises `RunError` for one that is damaged.
    """
    content = read_json(out / SWEEP)
    try:
        runs = [out / name for name in content["runs"]]
        begun = next(run for run in runs if (run / "config.json").exists())
        config = dataclasses.replace(
            read_description(begun).config,
            axes={axis: tuple(values) for axis, values in content["axes"].items()},
            rank_by=content.get("rank_by"),
        )
        check_axes(dataclasses.replace(config, most_members=count_members(config)))
        failures = dict(content.get("failures", {}))
    except (KeyError, TypeError, AttributeError, StopIteration, UsageError) as error:
        raise RunError(
            f"{out / SWEEP} is damaged ({error}): continue the run, which writes it again"
        ) from error
    return write_sweep(out, runs, config, failures)


def read_comparable_scores(runs: Sequence[Path]) -> tuple[dict[Path, dict], str]:
    """Returns the stored results of runs, and in words how their scores were computed.

    Those of `jaxgan.evaluate` count if all runs have them, computed alike; else there are no stored
    results, and the scores are those of the evaluations during training.
    """
    during = "scores during training"
    try:
        stored = {run: read_stored(run, read_description(run), best=False) for run in runs}
        check_protocols({str(run): result for run, result in stored.items()})
    except (RunError, UsageError):
        return {}, during
    return stored, f"scores of {protocol_line([{**next(iter(stored.values())), **NO_DEVIATION}])}"


NO_DEVIATION = {"deviation_over": None}


def read_results(run: Path, stored: dict | None, failure: str | None = None) -> Results:
    """Returns the results of the members of a run directory.

    Scores are those of stored results or, without these, the last ones in `metrics.jsonl`; the
    losses are the last ones there. failure: why all members diverged, None if they did not.
    """
    about = read_description(run)
    lost = find_diverged(run)
    logged: dict[str, dict] = {}
    for row in MetricsLog(run / "metrics.jsonl", labels_of(about.config)).read():
        logged.setdefault(member_of(row), {}).update(row)
    results = Results(members_of(about.config), [], [])
    for name in map(name_of, results.settings):
        known = logged.get(name, {})
        scores = known if stored is None else stored["seeds"].get(name, {}).get("mean", {})
        results.scores.append(
            {each: known[each] for each in LOSSES if each in known}
            | {each: scores[each] for each in BY_NAME if each in scores}
        )
        results.diverged.append(failure or lost.get(name))
    return results


def _summarize(settings: dict[str, Any], found: Results) -> dict:
    """Returns what is known of a combination of settings: its members, and their mean."""
    members = {}
    for own, scores, diverged in zip(*found, strict=True):
        if {**own, **settings} == own:
            members[str(own["seed"])] = scores | ({"diverged": diverged} if diverged else {})
    alive = [scores for scores in members.values() if "diverged" not in scores]
    return {"settings": settings, "seeds": members, **mean_and_std(alive)}


def rank(rows: Sequence[dict], score: str) -> list[dict]:
    """Returns combinations of settings from the best mean of a score on; last, those without it."""
    sign = -1 if BY_NAME[score].direction == "higher" else 1
    return sorted(rows, key=lambda row: sign * row["mean"].get(score, sign * np.inf))


def choose_score(rows: Sequence[dict]) -> str | None:
    """Returns the score to rank by: fid or else the first known one with a better direction."""
    known = [name for name in BY_NAME if any(name in row["mean"] for row in rows)]
    directed = [name for name in known if BY_NAME[name].direction]
    return "fid" if "fid" in known else next(iter(directed), None)


def format_sweep(content: dict) -> str:
    """Returns a table in Markdown, with a title."""
    titles, *rows = make_table(content)
    lines = [f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles), *rows)]
    return f"{describe_table(content)}:\n\n" + "\n".join(lines) + "\n"


def describe_table(content: dict) -> str:
    """Returns what the numbers of the table are, and their order."""
    ranked, (_, seeds) = content["ranked_by"], content["seeds"]
    order = f", ranked by {BY_NAME[ranked].title}" if ranked else ""
    what = f"Mean and standard deviation over {seeds} seeds" if seeds > 1 else "Of one seed"
    scores = f"; {content['scores']}" if ranked else ""
    return f"{what}{order}{scores}"


def make_table(content: dict) -> list[list[str]]:
    """Returns the titles and the cells of a table: a row for each combination, the best one first.

    content: of `sweep.json`.
    """
    rows, axes = content["combinations"], [*content["axes"]]
    known = [name for name in (*LOSSES, *BY_NAME) if any(name in row["mean"] for row in rows)]
    scores = [name for name in known if name in BY_NAME] or known
    lines = [
        [*axes, "seeds", *(BY_NAME[name].title if name in BY_NAME else name for name in scores)]
    ]
    for row in rows:
        lost = sum("diverged" in own for own in row["seeds"].values())
        seeds = f"{len(row['seeds'])}{f' ({lost} diverged)' if lost else ''}"
        cells = [_format(name, row["mean"].get(name), row["std"].get(name)) for name in scores]
        lines.append([*(str(row["settings"][axis]) for axis in axes), seeds, *cells])
    return lines


def _format(name: str, mean: float | None, std: float | None) -> str:
    if mean is None:
        return "-"
    if name in BY_NAME:
        return BY_NAME[name].format(mean, std)
    return f"{mean:.3f}" + ("" if std is None else f" ± {std:.3f}")


def draw_sweep(content: dict):
    """Returns a figure of the score against each setting, with the deviation over seeds.

    A panel has a line for each combination of the other settings.
    """
    from matplotlib.figure import Figure

    axes = content["axes"]
    order = lambda row: [values.index(row["settings"][axis]) for axis, values in axes.items()]
    rows = sorted(content["combinations"], key=order)
    score = content["ranked_by"] or "g_loss"
    figure = Figure(figsize=(4.5 * len(axes), 3.6), layout="constrained")
    panels = figure.subplots(1, len(axes), squeeze=False)[0]
    for panel, (axis, values) in zip(panels, axes.items(), strict=True):
        lines: dict[str, list[dict]] = {}
        for row in rows:
            others = {name: value for name, value in row["settings"].items() if name != axis}
            lines.setdefault(name_of(others), []).append(row)
        places = _places(panel, values)
        for name, own in lines.items():
            points = [
                (places[values.index(row["settings"][axis])], row["mean"][score], row["std"])
                for row in own
                if score in row["mean"]
            ]
            points.sort(key=lambda point: point[0])
            x, y = ([point[i] for point in points] for i in range(2))
            error = [std.get(score, 0.0) for *_, std in points]
            panel.errorbar(x, y, error, label=name or None, marker="o", capsize=3, linewidth=1)
        title = BY_NAME[score].title if score in BY_NAME else score
        panel.set(xlabel=axis, ylabel=title)
        found = [row["mean"][score] for row in rows if score in row["mean"]]
        if found and _spans_decades(found):
            panel.set_yscale("log")
        panel.grid(alpha=0.3)
        if 1 < len(lines) <= MOST_LINES:
            panel.legend(fontsize="x-small")
    return figure


def _places(panel, values: Sequence) -> list[float]:
    """Returns where values stand on the horizontal axis of a panel, and labels them."""
    numbers = all(isinstance(value, int | float) for value in values)
    if numbers and _spans_decades(values):
        panel.set_xscale("log")
        return [float(value) for value in values]
    if numbers:
        return [float(value) for value in values]
    panel.set_xticks(range(len(values)), [str(value) for value in values])
    return [float(i) for i in range(len(values))]


def _spans_decades(values: Sequence[float]) -> bool:
    """Returns whether a logarithmic scale suits positive values."""
    return min(values) > 0 and max(values) >= 10 * min(values)
