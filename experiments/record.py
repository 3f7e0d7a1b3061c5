"""Runs of experiments, each with its scores as a line of JSON from which it can be run again."""

import dataclasses
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan import evaluate, train
from jaxgan.errors import Diverged
from jaxgan.files import read_json
from jaxgan.runs.config import Config

RESULTS = Path(__file__).parent / "results"
PLACES = {"data_dir", "data_file", "out", "overwrite"}
"""Settings that say where files are: no part of a published run."""
DIGITS = 12
"""Length of the digests in tables."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Where an experiment finds and leaves its files, and how long it takes."""

    smoke: bool = False
    """take a few steps of everything, to see that it works"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets"""
    work: Path = Path("runs/experiments")
    """directory of the runs, and of results for which no file is given"""
    results: Path | None = None
    """file of JSON lines to which results are added; what it already has is not computed again"""


class Record:
    """The results of an experiment, in a file of JSON lines.

    name: of the experiment. options: of its command line.
    """

    def __init__(self, name: str, options: Options):
        self.name, self.options = name, options
        self.work = options.work / name
        self.file = options.results or self.work / "results.jsonl"
        self.work.mkdir(parents=True, exist_ok=True)
        self.lines = read_lines(self.file)

    def measure(self, names: dict[str, str], config: Config, **evaluation) -> dict:
        """Trains and evaluates the seeds of a run, and returns its line.

        names: what the line is of, such as {"method": "relativistic"}. evaluation: settings of
        `jaxgan.evaluate`. If all seeds diverge, the line has no scores.
        """
        out = self.work / folder_name(names.values())
        data_dir = {} if config.data_file else {"data_dir": self.options.data_dir}
        config = dataclasses.replace(config, out=out, deterministic=True, **data_dir)
        asked = {**names, "settings": settings_of(config), "evaluation": evaluation}
        for line in self.lines:
            if line.items() >= asked.items():
                return line
        begin, continued = time.perf_counter(), (out / "config.json").exists()
        line = {**asked, **train_and_evaluate(config, evaluation)}
        seconds = round(time.perf_counter() - begin, 1)
        line |= {"seconds": None if continued else seconds, "run": describe(out)}
        self.add(line)
        return line

    def add(self, line: dict) -> None:
        """Adds a line to the file, and prints it without the description of its run."""
        self.lines.append(line)
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps({name: value for name, value in line.items() if name != "run"}))


def folder_name(names: Iterable[str]) -> str:
    """Returns the name of the folder of a run, from what the run is of."""
    text = "-".join(name.removeprefix("--") for name in names if name)
    return text.replace(" ", "_").replace("/", "_of_")


def train_and_evaluate(config: Config, evaluation: dict) -> dict:
    """Returns the scores of each seed of a run, and the digest of its final state."""
    try:
        train.main(config)
    except Diverged as error:
        return {"state_sha256": None, "scores": {}, "diverged": str(error)}
    summary = read_json(config.out / "summary.json")
    settings = evaluate.Config((config.out,), **{"repeats": 1, "cas": False, **evaluation})
    (found,) = evaluate.main(settings).values()
    return {
        "state_sha256": summary["state_sha256"],
        "training_seconds": round(summary["seconds"], 1),
        "scores": {seed: own["mean"] for seed, own in found["seeds"].items()},
        "diverged": {
            seed: own["diverged"] for seed, own in found["seeds"].items() if "diverged" in own
        },
    }


def describe(run: Path) -> dict:
    """Returns what a line holds of a run's `config.json`, beside its settings."""
    content = read_json(run / "config.json")
    about = {name: content["dataset"][name] for name in ("name", "fingerprint", "shape", "bounded")}
    kept = ("parameters", "versions", "device", "environment")
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
    """Returns the lines of a file of results, none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def scores_of(line: dict, metric: str) -> list[float]:
    """Returns a score of each seed that has one."""
    return [own[metric] for own in line["scores"].values() if metric in own]


def format_mean(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """Returns the mean of some values and its standard error."""
    if not values:
        return "-"
    values = [factor * value for value in values]
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


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


def describe_machines(lines: Iterable[dict]) -> str:
    """Returns a sentence on the devices, versions and durations of some lines.

    A run that was interrupted has no duration.
    """
    found: dict[str, list[float | None]] = {}
    for line in lines:
        device, versions = line["run"]["device"], line["run"]["versions"]
        kind = device["kind"]
        if device["platform"] == "cpu":
            kind = f"{device['cores']} cores ({device['processor']})"
        found.setdefault(f"{kind}, jax {versions['jax']}", []).append(line["seconds"])
    texts = []
    for name, seconds in found.items():
        known = [each for each in seconds if each is not None]
        count = f"{len(known)} of {len(seconds)}" if len(known) < len(seconds) else f"{len(known)}"
        texts.append(f"{name}: {sum(known) / 60:.0f} minutes ({count} runs)")
    return f"Measured on {'; '.join(texts)}."
