"""python -m jaxgan.evaluate: say in numbers what the samples of runs are worth."""

import dataclasses
import os
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgan.command import keep_compiled, run_command, say
from jaxgan.environment import pinned
from jaxgan.errors import RunError, UsageError, explained
from jaxgan.files import expand_paths, given_path, read_json, write_json
from jaxgan.table import table

VERSION = 2
"""Of the protocol; numbers of another one are not shown."""
PROTOCOL = ("version", "digest", "samples", "split", "keys")
"""What has to be the same for numbers to go into one table."""
LABELS = "as frequent as in the training split; for CAS in equal shares"
"""Which classes a conditional generator is asked for."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Judge the samples of runs against the test split of their data; writes evaluation.json."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run directories, of the same data"""
    samples: int = 10_000
    """how many generated ones are compared with as many real ones; fewer where these are fewer"""
    keys: int = 3
    """how often they are drawn, each time from other latents"""
    seed: int = 0
    """the first of these keys, which have nothing to do with the seeds of the training"""
    best: bool = False
    """judge the best generator by FID (of --evaluate-every) in the place of the last one"""
    inception: Path | None = None
    """weights of Inception-v3, .safetensors or .pth, for its features in the place of a
    classifier's"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data (by default where the run found it)"""
    data_file: Path | None = None
    """where images of your own are (by default where the run found them)"""
    stored: bool = False
    """show what was found before, and compute nothing"""

    def __post_init__(self):
        runs = (self.runs,) if isinstance(self.runs, str | os.PathLike) else self.runs
        object.__setattr__(self, "runs", tuple(given_path(run) for run in runs))
        expand_paths(self, "inception", "data_dir", "data_file")


def main(config: Config) -> dict[str, dict]:
    """Judges runs, prints a table, and returns by run what its `evaluation.json` says.

    Raises `UsageError` for runs whose numbers do not go into one table, and `RunError` where a run,
    its data or a classifier cannot be read.
    """
    check(config)
    abouts = {str(run): described(run) for run in config.runs}
    for run, about in abouts.items():
        generators(Path(run), about, config.best)
    check_same("data", {run: about["dataset"]["fingerprint"] for run, about in abouts.items()})
    if config.stored:
        results = {run: stored(Path(run), about, config.best) for run, about in abouts.items()}
        failures = []
    else:
        with pinned():
            results, failures = all_judged(config, abouts)
    for what in PROTOCOL:
        check_same(what, {run: result["protocol"][what] for run, result in results.items()})
    if results:
        print(table(results), flush=True)
    for run, error in failures:
        reason, status = explained(error)
        raise (UsageError if status == 2 else RunError)(f"{run}: {reason}") from error
    return results


def all_judged(config: Config, abouts: dict[str, dict]) -> tuple[dict, list]:
    """Judges runs, writes and returns what was found, by run, and for which runs which error."""
    keep_compiled()
    from jaxgan.protocol import real_data

    about = located(config, *next(iter(abouts.items())))
    conditional = any(about["config"].get("conditional") for about in abouts.values())
    real = real_data(about, config.samples, config.inception, conditional)
    results, failures = {}, []
    for run, about in abouts.items():
        try:
            results[run] = judged(config, Path(run), about, real)
            write_json(Path(run) / result_name(config.best), results[run])
        except (UsageError, RunError, OSError) as error:
            failures.append((run, error))
    return results, failures


def located(config: Config, run: str, about: dict) -> dict:
    """Returns what `config.json` says of a run, with its data where they are.

    Raises `UsageError` where images of the user's own are not found.
    """
    settings = dict(about["config"])
    file, folder = settings.get("data_file"), settings.get("data_dir")
    if config.data_file is not None and not file:
        raise UsageError(
            f"--data-file is for runs on images of their own: {run} was trained on "
            f"{about['dataset']['name']}"
        )
    if file:
        place = config.data_file or place_of(file, Path(run))
        if place is None:
            raise UsageError(f"{file}, which {run} was trained on, is gone: name its --data-file")
        settings["data_file"] = str(place)
    settings["data_dir"] = config.data_dir or (folder and place_of(folder, Path(run))) or folder
    return about | {"config": settings}


def place_of(path: str, run: Path) -> Path | None:
    """Returns where a path that a run recorded leads, None where to nothing.

    A relative one is looked for in the working directory, in the run directory, and in those that
    hold it.
    """
    bases = Path.cwd(), run.absolute(), *run.absolute().parents
    return next((base / path for base in bases if (base / path).exists()), None)


def check(config: Config) -> None:
    """Raises `UsageError` for settings that no evaluation can have."""
    if not config.runs:
        raise UsageError("name the run directories to judge")
    if len({run.resolve() for run in config.runs}) < len(config.runs):
        raise UsageError("a run is named twice")
    for name, least in (("samples", 2), ("keys", 1), ("seed", 0)):
        value = getattr(config, name)
        if not least <= value < 2**31:
            raise UsageError(f"--{name} {value} must be at least {least} and below 2**31")


def described(run: Path) -> dict:
    """Returns what `config.json` says of a run; raises `UsageError` where it is none."""
    about = read_json(run / "config.json") if run.is_dir() else {}
    if not {"config", "dataset"} <= about.keys():
        raise UsageError(f"{run} is not a run directory: it has no config.json of a run")
    try:
        known = {"fingerprint", "name"} <= about["dataset"].keys()
        whole = known and about["config"]["seed"] + about["config"].get("seeds", 1) > 0
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise RunError(f"{run / 'config.json'} is damaged: restore it")
    return about


def check_same(what: str, values: dict[str, Any]) -> None:
    """Raises `UsageError` where runs differ in what makes numbers comparable."""
    first, value = next(iter(values.items()), (None, None))
    for run, other in values.items():
        if other != value:
            raise UsageError(
                f"these runs do not go into one table: they differ in their {what} "
                f"({str(value)[:12]} of {first} and {str(other)[:12]} of {run})"
            )


def judged(config: Config, run: Path, about: dict, real) -> dict:
    """Judges a run and returns what its `evaluation.json` is to say.

    real: what `jaxgan.protocol.real_data` returned.
    """
    import jax

    from jaxgan.checkpoint import load_generator
    from jaxgan.protocol import count_to_draw, scores_of

    seeds = {}
    for name, directory in generators(run, about, config.best).items():
        say(f"judging {directory}")
        step, load = step_of(directory), load_generator(directory)
        if step_of(directory) != step:
            raise RunError(f"{directory} was being written: evaluate again")
        draw = jax.jit(load, static_argnums=1)
        found = [
            scores_of(draw, about, real, key, training=key == config.seed)
            for key in range(config.seed, config.seed + config.keys)
        ]
        by_key, histograms = map(list, zip(*found, strict=True))
        seeds[name] = {
            "step": step,
            **summed_up(by_key),
            "by_key": by_key,
            "class_histogram_by_key": histograms,
        }
    over = "seeds" if len(seeds) > 1 else "keys"
    rows = [seed["mean"] for seed in seeds.values()] if len(seeds) > 1 else by_key
    return {
        "protocol": {
            "version": VERSION,
            **real.judge.about,
            "samples": real.count,
            "samples_of_modes": count_to_draw(real.train, real.count),
            "split": "test",
            "labels": LABELS if about["config"].get("conditional") else None,
            "data": about["dataset"]["fingerprint"],
            "keys": list(range(config.seed, config.seed + config.keys)),
            "generator": "best" if config.best else "last",
        },
        "real": real.floor,
        "seeds": seeds,
        **summed_up(rows),
        "deviation_over": over,
        "remarks": real.remarks,
    }


def step_of(directory: Path) -> int | None:
    """Returns after which step a generator was saved."""
    return read_json(directory / "generator.json").get("step")


def generators(run: Path, about: dict, best: bool) -> dict[str, Path]:
    """Returns the folders of a run's generators by their seed; raises `RunError` without them."""
    directory = run / ("generator-best" if best else "generator")
    first, count = about["config"]["seed"], about["config"].get("seeds", 1)
    folders = {str(first): directory}
    if count > 1:
        folders = {str(seed): directory / str(seed) for seed in range(first, first + count)}
    for folder in folders.values():
        if not (folder / "generator.json").exists():
            hint = "train images with --evaluate-every" if best else "train it up to a checkpoint"
            raise RunError(f"there is no generator in {folder}: {hint}")
    return folders


def summed_up(rows: list[dict]) -> dict:
    """Returns the mean of every score and its standard deviation (n - 1), where there are two."""
    columns = {name: [row[name] for row in rows if name in row] for row in rows for name in row}
    return {
        "mean": {name: statistics.fmean(values) for name, values in columns.items()},
        "std": {name: statistics.stdev(v) for name, v in columns.items() if len(v) > 1},
    }


def result_name(best: bool) -> str:
    """Returns the name of the file that holds what was found."""
    return "evaluation-best.json" if best else "evaluation.json"


def stored(run: Path, about: dict, best: bool) -> dict:
    """Returns what was found of a run before. Raises `RunError` where that is nothing, or old."""
    path = run / result_name(best)
    result = read_json(path)
    try:
        steps = {name: result["seeds"][name]["step"] for name in generators(run, about, best)}
        table({str(run): result})
        whole = {*PROTOCOL} <= result["protocol"].keys() and result["protocol"][
            "version"
        ] == VERSION
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunError(
            f"{path} is missing, damaged, or of another version: evaluate without --stored"
        )
    for name, directory in generators(run, about, best).items():
        if steps[name] != (step := step_of(directory)):
            raise RunError(f"{path} is not of step {step}: evaluate without --stored")
    return result


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.evaluate", "nothing more was written")


if __name__ == "__main__":
    sys.exit(command())
