"""What a report says of runs, gathered from their directories, complete or not."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan.evaluation.results import read_description
from jaxgan.files import read_json
from jaxgan.losses import LOSSES
from jaxgan.outputs.curves import Curve, Panel, make_panels
from jaxgan.outputs.logged_metrics import LoggedMetrics, read_metrics
from jaxgan.outputs.report_pictures import Picture, draw_interpolation, read_frames
from jaxgan.outputs.report_plots import draw_panel
from jaxgan.outputs.report_settings import (
    all_settings,
    changed_settings,
    differing_settings,
    format_seconds,
)
from jaxgan.outputs.report_sweep import Sweep, gather_sweeps, read_sweep
from jaxgan.outputs.run_names import name_runs
from jaxgan.outputs.stored_scores import Scores, compare_scores, last_scores, read_scores
from jaxgan.runs.config import Config
from jaxgan.runs.description import Description, describe_changes
from jaxgan.runs.plots import FRAMES
from jaxgan.runs.states import kept_steps

MOST_SECTIONS = 24
"""The largest number of runs that have a section each; further ones are in the table alone."""
MOST_FRAMES = 240
"""About the largest number of pictures of samples in a report."""
DIGITS = 12
"""The number of digits of a digest in tables."""

Pairs = list[tuple[str, str]]


class Overview(NamedTuple):
    """What is quick to read of a run. summary: `summary.json`, empty if there is none."""

    name: str
    path: Path
    about: Description
    summary: dict
    scores: list[Scores]
    score_remarks: list[str]

    @property
    def steps(self) -> int:
        """The number of steps that are known to be done."""
        return max([_number(self.summary.get("steps")) or 0, *kept_steps(self.path)[-1:]])


class DrawnPanel(NamedTuple):
    """A panel of curves. legend: by curve, its label, and its last value."""

    title: str
    svg: str
    legend: Pairs


class Section(NamedTuple):
    """Everything that a report says of one run; pairs are names and values.

    sweep: the comparison of settings with several values, if that is in the run's own folder.
    """

    overview: Overview
    sweep: Sweep | None
    facts: Pairs
    notes: list[str]
    changed: list[tuple[str, str, str]]
    groups: list[tuple[str, Pairs]]
    frames: dict[int, Picture]
    samples_caption: str
    panels: list[DrawnPanel]
    curves_caption: str
    interpolation: Picture | str | None
    evaluate: str
    speed: Pairs
    digests: Pairs
    surroundings: Pairs
    history: list[tuple[int, list[str]]]


class Comparison(NamedTuple):
    """The table of several runs.

    columns: titles, and a cell for each run. scores: titles, and a cell for real data and for each
    run. remark: on the scores.
    """

    names: list[str]
    columns: list[tuple[str, list[str]]]
    scores: list[tuple[str, list[str]]]
    remark: str


class Report(NamedTuple):
    """The content of a report. left_out: the number of runs that have no section.

    sweeps: of folders that have several of the runs.
    """

    title: str
    comparison: Comparison | None
    sweeps: list[Sweep]
    sections: list[Section]
    left_out: int


def gather_report(runs: Sequence[Path]) -> Report:
    """Returns what a report says of runs.

    Raises `UsageError` for a folder that is not a run directory or is given twice, and `RunError`
    for a damaged `config.json`.
    """
    overviews = []
    for name, run in zip(name_runs(runs), runs, strict=True):
        about = read_description(run)
        scores, remarks = read_scores(run, about)
        if about.config.axes:
            scores, remarks = [], ["See the table of settings with several values."]
        summary = read_json(run / "summary.json")
        overviews.append(Overview(name, run, about, summary, scores, remarks))
    shown = overviews[:MOST_SECTIONS]
    frames = min(FRAMES, max(8, MOST_FRAMES // len(shown)))
    several = len(overviews) > 1
    return Report(
        title=f"{len(overviews)} runs" if several else overviews[0].name,
        comparison=compare_runs(overviews) if several else None,
        sweeps=gather_sweeps([run.path for run in overviews if run.about.config.axes]),
        sections=[gather_section(overview, frames) for overview in shown],
        left_out=len(overviews) - len(shown),
    )


def compare_runs(runs: Sequence[Overview]) -> Comparison:
    """Returns the table of several runs."""
    columns = []
    if len({run.about.dataset.name for run in runs}) > 1:
        columns.append(("data", [run.about.dataset.name for run in runs]))
    columns += differing_settings([run.about.config for run in runs])
    columns.append(("steps", [f"{run.steps:,}" for run in runs]))
    rates = [_number(run.summary.get("images_per_second")) for run in runs]
    columns.append(("images/s", ["-" if rate is None else f"{rate:,.0f}" for rate in rates]))
    digests = [str(run.summary.get("state_sha256", "-"))[:DIGITS] for run in runs]
    columns.append(("state", digests))
    scores, remark = compare_scores(
        {run.name: last_scores(run.scores) for run in runs},
        {run.name: run.about.dataset.fingerprint for run in runs},
    )
    return Comparison([run.name for run in runs], columns, scores, remark)


def gather_section(run: Overview, most_frames: int) -> Section:
    """Returns everything that a report says of one run. most_frames: pictures of samples."""
    metrics = read_metrics(run.path / "metrics.jsonl")
    panels = make_panels(metrics, LOSSES[run.about.config.loss]().outputs)
    drawn = [
        DrawnPanel(panel.title, draw_panel(panel), [_legend(curve, metrics) for curve in panel[1]])
        for panel in panels
    ]
    return Section(
        overview=run,
        sweep=read_sweep(run.path) if run.about.config.axes else None,
        facts=_facts(run, metrics),
        notes=_notes(run, metrics),
        changed=changed_settings(run.about.config),
        groups=all_settings(run.about.config),
        frames=read_frames(run.path, most_frames),
        samples_caption=_samples_caption(run.about),
        panels=drawn,
        curves_caption=_caption(metrics, panels),
        interpolation=draw_interpolation(run.path, run.about),
        evaluate=f"python -m jaxgan.evaluate {shlex.quote(str(run.path))}",
        speed=_speed(run.summary),
        digests=_digests(run),
        surroundings=_surroundings(run),
        history=_history(run.about),
    )


def _facts(run: Overview, metrics: LoggedMetrics) -> Pairs:
    about, config = run.about, run.about.config
    data = about.dataset.name + (f": {about.dataset.holds}" if about.dataset.holds else "")
    recipe = f"recipe {config.recipe}, " if config.recipe else ""
    conditional = ", conditional" if config.conditional else ""
    device = about.device
    count = _number(device.get("devices")) or 1
    kind = device.get("processor") or device.get("kind") or device.get("platform")
    cores = f", {device['cores']} cores" if device.get("cores") else ""
    steps = f"{max(run.steps, metrics.last_step):,} of {config.steps:,}"
    members = about.members
    parameters = [f"{name} {n:,}" for name, n in about.parameters.items() if _number(n) is not None]
    return [
        ("Data", data),
        ("Method", f"{recipe}{config.network}, {config.loss}{conditional}"),
        _members(config, members),
        ("Steps", steps),
        *([("Parameters", ", ".join(parameters))] if parameters else []),
        ("Device", f"{f'{count} x ' if count > 1 else ''}{kind}{cores}"),
    ]


def _members(config: Config, members: Sequence[int | str] | None) -> tuple[str, str]:
    """Returns the seeds of a run or, if settings have several values, how many members it has."""
    if config.axes:
        return "Members", f"{len(members)}, of {', '.join(config.axes)} and seed"
    if members is None:
        return "Seed", str(config.seed)
    return "Seeds", f"{members[0]} to {members[-1]}"


def _notes(run: Overview, metrics: LoggedMetrics) -> list[str]:
    """Returns what is missing of a run, and what went wrong."""
    notes = []
    if not run.summary:
        notes.append("The run is not finished: it has no summary.json yet.")
    elif (_number(run.summary.get("steps")) or 0) < run.about.config.steps:
        notes.append("The run was stopped before its last step.")
    if metrics.damaged:
        notes.append(f"Damaged lines of metrics.jsonl that are passed over: {metrics.damaged:,}.")
    for kind in ("seeds", "members"):
        members = run.summary.get(kind)
        for member, own in (members if isinstance(members, dict) else {}).items():
            if isinstance(own, dict) and "diverged" in own:
                notes.append(f"{kind[:-1].capitalize()} {member} diverged: {own['diverged']}.")
    if run.about.dataset.remark:
        notes.append(f"Data: {run.about.dataset.remark}")
    return notes


def _legend(curve: Curve, metrics: LoggedMetrics) -> tuple[str, str]:
    """Returns the label of a curve and its last value, with the deviation over the seeds."""
    value = f"{curve.middle[-1]:.3g}"
    deviation = curve.high[-1] - curve.middle[-1]
    if len(metrics.steps) > 1 and deviation == deviation:
        value += f" ± {deviation:.2g}"
    return curve.label, value


def _samples_caption(about: Description) -> str:
    """Returns which seeds the rows of a picture are of; "" for other pictures."""
    if about.members is None or not about.dataset.bounded:
        return ""
    if about.config.axes:
        return f"Rows: the members, from {about.members[0]} to {about.members[-1]}."
    return f"Rows: the seeds {about.members[0]} to {about.members[-1]}."


def _caption(metrics: LoggedMetrics, panels: Sequence[Panel]) -> str:
    if (count := len(metrics.steps)) > 1:
        kind = "seeds" if isinstance(next(iter(metrics.steps)), int) else "members"
        return f"Lines: mean over {count} {kind}. Bands: one standard deviation on either side."
    if all((curve.low == curve.high).all() for panel in panels for curve in panel.curves):
        return "Lines: values of single steps."
    return "Lines: mean over nearby steps. Bands: their smallest and largest value."


def _speed(summary: dict) -> Pairs:
    pairs = []
    if (rate := _number(summary.get("images_per_second"))) is not None:
        pairs.append(("Rate", f"{rate:,.0f} real images per second"))
    if (seconds := _number(summary.get("seconds"))) is not None:
        pairs.append(("Time", f"{format_seconds(seconds)}, from its last start to its end"))
    return pairs


def _digests(run: Overview) -> Pairs:
    digests = [("State", run.summary.get("state_sha256")), ("Data", run.about.dataset.fingerprint)]
    return [(name, str(digest)) for name, digest in digests if digest]


def _surroundings(run: Overview) -> Pairs:
    """Returns what a run was computed with at first, and whether training again gives the same."""
    about, pairs = run.about, []
    verified = read_json(run.path / "verification.json")
    if {"begin", "end", "same"} <= verified.keys():
        outcome = "the same state, bit for bit" if verified["same"] is True else "another state"
        steps = f"steps {verified['begin']} to {verified['end']}"
        pairs.append(("Trained again", f"{steps}: {outcome}"))
    for name in ("versions", "device", "environment"):
        if known := {k: v for k, v in (getattr(about, name) or {}).items() if v is not None}:
            pairs.append((name.capitalize(), ", ".join(f"{k} {v}" for k, v in known.items())))
    return pairs


def _history(about: Description) -> list[tuple[int, list[str]]]:
    """Returns from which steps versions, device or environment were others, and how."""
    changes = []
    for before, now in zip(about.environments, about.environments[1:], strict=False):
        if found := describe_changes(before, {"environment": before.get("environment"), **now}):
            changes.append((now["step"], found))
    return changes


def _number(value: Any) -> float | int | None:
    return value if type(value) in (int, float) else None
