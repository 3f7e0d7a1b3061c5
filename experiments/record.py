"""Runs of experiments, each with its scores as a line of JSON from which it can be run again."""

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan import evaluate, train
from jaxgan.command import run_command
from jaxgan.constraints import check_fields
from jaxgan.errors import Diverged, RunError, UsageError
from jaxgan.evaluation.results import find_diverged
from jaxgan.files import read_json
from jaxgan.runs.axes import names_of
from jaxgan.runs.config import BOOKKEEPING, Config
from jaxgan.runs.states import kept_steps

RESULTS = Path(__file__).parent / "results"
PLACES = {"data_dir", "data_file", "out", "overwrite"}
"""Settings that say where files are. They are no part of a published run."""
OUTCOMES = {
    "state_sha256",
    "training_seconds",
    "scores",
    "diverged",
    "without_scores",
    "seconds",
    "run",
}
"""The entries of a line that are not given, but found."""
DIGITS = 12
"""Length of the digests in tables."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Where an experiment finds and leaves its files."""

    smoke: bool = False
    """take a few steps of a few runs, to see that the experiment works; its results are worthless"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets"""
    work: Path = Path("runs/experiments")
    """directory of the runs"""
    seeds_apart: bool = False
    """train the seeds one after another, as runs of their own, which takes half the time on a CPU"""
    results: Path | None = None
    """file to which a line is added for each run, such as experiments/results/mixtures.jsonl; runs
    whose lines it has are not repeated; if not given, results.jsonl in the directory of the runs"""


class Record:
    """The results of an experiment, in a file with a line of JSON for each run.

    name: of the experiment. options: of its command. Raises `RunError` for a damaged file, and
    `UsageError` for numbers outside of their limits, and if the results of `--smoke` would be added
    to a given file.
    """

    def __init__(self, name: str, options: Options):
        check_fields(options)
        if options.smoke and options.results:
            raise UsageError("--smoke and --results exclude each other: remove --results")
        self.options = options
        self.work = options.work / "smoke" / name if options.smoke else options.work / name
        self.file = options.results or self.work / "results.jsonl"
        self.work.mkdir(parents=True, exist_ok=True)
        self.lines = read_lines(self.file)

    def place(self, names: dict[str, str], config: Config) -> Config:
        """Returns the settings of a run with its run directory and the directory of the data.

        names: the cells of the table that identify the run, such as {"method": "SAN"}. The
        directory does not depend on the number of steps, so that a longer run continues it.
        Settings that already have their place keep it.
        """
        config = dataclasses.replace(config, deterministic=True)
        lasting = {k: v for k, v in settings_of(config).items() if k not in BOOKKEEPING}
        digest = hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
        out = self.work / folder_name([*names.values(), digest[:6]])
        where = {"out": out, "data_dir": self.options.data_dir}
        return dataclasses.replace(config, **where)

    def find(self, names: dict[str, str], config: Config, evaluation: dict) -> dict | None:
        """Returns the line of a run, None if there is none yet."""
        asked = {**names, "settings": settings_of(config), "evaluation": evaluation}
        return next((line for line in self.lines if line.items() >= asked.items()), None)

    def measure(
        self, names: dict[str, str], config: Config, more: dict | None = None, **evaluation
    ) -> dict:
        """Trains and evaluates the seeds of a run, adds its line, and returns it.

        names: as in `place`. more: entries that the line gets. evaluation: settings of
        `jaxgan.evaluate`. If all seeds diverge, the line has no scores. Of a run that was
        interrupted, the durations are not known, and are None.
        """
        config = self.place(names, config)
        if line := self.find(names, config, evaluation):
            return line
        asked = {**names, "settings": settings_of(config), "evaluation": evaluation}
        begin, interrupted = time.perf_counter(), was_interrupted(config.out)
        line = {**asked, **(more or {}), **train_and_evaluate(config, evaluation)}
        line["seconds"] = round(time.perf_counter() - begin, 1)
        if interrupted:
            line |= {"seconds": None, "training_seconds": None}
        self.add(line | {"run": describe(config.out)})
        return self.lines[-1]

    def measure_seeds(
        self, names: dict[str, str], config: Config, seeds: range, **evaluation
    ) -> dict:
        """Returns the line of several seeds, trained and evaluated as in `measure`."""
        if not self.options.seeds_apart:
            together = dataclasses.replace(config, seed=seeds[0], seeds=len(seeds))
            return self.measure(names, together, **evaluation)
        each = (dataclasses.replace(config, seed=seed) for seed in seeds)
        return merge_seeds([self.measure(names, own, **evaluation) for own in each])

    def add(self, line: dict) -> None:
        """Adds a line to the file, and prints it without the description of its run."""
        self.lines.append(line)
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps({name: value for name, value in line.items() if name != "run"}))


def run(options: type, experiment: Callable) -> int:
    """Runs the command of an experiment, a function of its options, and returns the exit status."""
    return run_command(options, experiment, f"python -m experiments.{experiment.__name__}")


def folder_name(names: Iterable[str]) -> str:
    """Returns the name of a folder, made of some names."""
    text = "-".join(name.removeprefix("--") for name in names if name)
    return text.replace(" ", "_").replace("/", "_of_")


def was_interrupted(run: Path) -> bool:
    """Returns whether a run was begun or continued, and did not end."""
    ended = [read_json(run / "summary.json").get("steps")]
    return (run / "config.json").exists() and kept_steps(run)[-1:] != ended


def train_and_evaluate(config: Config, evaluation: dict) -> dict:
    """Returns the scores of each seed of a run, and the digest of its final state.

    Raises `UsageError` for settings with several values that need more than one program.
    """
    try:
        train.main(config)
    except Diverged as error:
        diverged = {str(name): str(error) for name in names_of(config) or [config.seed]}
        none = {"state_sha256": None, "training_seconds": None, "scores": {}}
        return none | {"diverged": diverged, "without_scores": {}}
    settings = evaluate.Config((config.out,), **{"repeats": 1, "cas": False, **evaluation})
    found = [*evaluate.main(settings).values()]
    if len(found) > 1:
        raise UsageError("the values of the settings need several programs: measure each of them")
    summary = read_json(config.out / "summary.json")
    return {
        "state_sha256": summary["state_sha256"],
        "training_seconds": round(summary["seconds"], 1),
        "scores": {seed: own["mean"] for seed, own in found[0]["seeds"].items()},
        "diverged": find_diverged(config.out),
        "without_scores": found[0].get("without_scores", {}),
    }


def describe(run: Path) -> dict:
    """Returns what a line holds of a run's `config.json`, beside its settings."""
    content = read_json(run / "config.json")
    about = {name: content["dataset"][name] for name in ("name", "fingerprint", "shape", "bounded")}
    kept = ["parameters", "versions", "device", "environment"]
    if len(content["environments"]) > 1:
        kept.append("environments")
    return {"dataset": about} | {name: content[name] for name in kept if name in content}


def make_description(line: dict) -> dict:
    """Returns the content of a `config.json` with which `jaxgan.verify` repeats a line's run."""
    return {"config": line["settings"], **line["run"]}


def settings_of(config: Config) -> dict:
    """Returns the settings that differ from the defaults, as JSON holds them."""
    default = dataclasses.asdict(Config())
    changed = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if value != default[name] and name not in PLACES
    }
    return json.loads(json.dumps(changed))


def read_lines(path: Path) -> list[dict]:
    """Returns the lines of a file of results, none if there is no file.

    Raises `RunError` for a damaged file.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}): remove the lines that are not JSON"
        ) from error


def scores_of(line: dict, metric: str) -> dict[str, float]:
    """Returns a score by seed, without those that diverged."""
    scores, diverged = line["scores"], line["diverged"]
    known = {seed: own for seed, own in scores.items() if metric in own and seed not in diverged}
    return {seed: own[metric] for seed, own in known.items()}


def merge_seeds(lines: Sequence[dict]) -> dict:
    """Returns the lines of runs that differ in their seeds as one line, as of one run of them all."""
    of_all = {name: {} for name in ("scores", "diverged")}
    for line in lines:
        for name, by_seed in of_all.items():
            by_seed |= line[name]
    seconds = [line.get("training_seconds") for line in lines]
    of_all["training_seconds"] = None if None in seconds else sum(seconds)
    seeds = sum(line["settings"].get("seeds", 1) for line in lines)
    return lines[0] | of_all | {"settings": lines[0]["settings"] | {"seeds": seeds}}


def merge_runs(lines: Sequence[dict]) -> list[dict]:
    """Returns the lines, of which those that differ only in their seeds are merged."""
    groups: dict[str, list[dict]] = {}
    for line in lines:
        same = {name: value for name, value in line.items() if name not in OUTCOMES}
        settings = {k: v for k, v in line["settings"].items() if k not in ("seed", "seeds")}
        groups.setdefault(json.dumps(same | {"settings": settings}), []).append(line)
    return [merge_seeds(own) for own in groups.values()]


def count_seeds(line: dict, metric: str) -> str:
    """Returns how many seeds the mean of a score is over, and of how many if some have none."""
    known, trained = len(scores_of(line, metric)), line["settings"].get("seeds", 1)
    return str(known) if known == trained else f"{known} of {trained}"


def format_steps(line: dict) -> str:
    """Returns the number of steps of a run."""
    return f"{line['settings'].get('steps', Config.steps):,}"


def format_mean(scores: dict[str, float], digits: int, factor: float = 1) -> str:
    """Returns the mean over seeds of a score, multiplied by a factor, and its standard error."""
    if not scores:
        return "-"
    values = [factor * value for value in scores.values()]
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


def format_scores(line: dict, columns: dict[str, tuple[int, float]]) -> list[str]:
    """Returns means and standard errors of several scores.

    columns: digits after the point, and the factor, of each score.
    """
    return [format_mean(scores_of(line, metric), *how) for metric, how in columns.items()]


class Table(NamedTuple):
    """A table of results. The last column holds the digests of the runs' states."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_markdown(self, digests: bool = True) -> str:
        """Returns the table in Markdown, without its last column if `digests` is false."""
        columns = len(self.titles) - (not digests)
        lines = [self.titles, ["---"] * len(self.titles), *self.rows]
        return "\n".join(f"| {' | '.join(line[:columns])} |" for line in lines)


def short_digest(line: dict) -> str:
    """Returns the first digits of the digest of a run's state, as `verify.py` takes them."""
    return (line["state_sha256"] or "")[:DIGITS]


def duration_of(line: dict) -> float | None:
    """Returns how many seconds the training and the evaluation of a line took, None if not known.

    A line with "command_seconds" has those of a training that went before, beside "seconds".
    """
    trained_before = line.get("command_seconds", 0) if "training_seconds" in line else 0
    return None if line["seconds"] is None else line["seconds"] + trained_before


def describe_machines(lines: Iterable[dict]) -> str:
    """Returns a sentence on the devices, versions and durations of some runs."""
    found: dict[str, list[float | None]] = {}
    for line in lines:
        device, versions = line["run"]["device"], line["run"]["versions"]
        kind = device["kind"]
        if device["platform"] == "cpu":
            cores = device["cores"]
            kind = f"{cores} core{'s' * (cores > 1)} ({device['processor']})"
        found.setdefault(f"{kind}, jax {versions['jax']}", []).append(duration_of(line))
    texts = []
    for name, seconds in found.items():
        known = [each for each in seconds if each is not None]
        text = f"{name}: {len(seconds)} runs, {sum(known) / 60:.0f} minutes"
        if missing := len(seconds) - len(known):
            text += f", not counting {missing} interrupted run{'s' * (missing > 1)}"
        texts.append(text)
    return f"Measured on {'; '.join(texts)}." if texts else "Not measured yet."
