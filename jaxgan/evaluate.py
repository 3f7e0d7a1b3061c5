"""python -m jaxgan.evaluate: say in numbers what the samples of runs are worth."""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgan.command import keep_compiled, run_command, say
from jaxgan.errors import RunError, UsageError, explained
from jaxgan.files import read_json, write_json

PROTOCOL = ("digest", "samples", "split", "keys")
"""What has to be the same for numbers to go into one table."""


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
    stored: bool = False
    """show what was found before, and compute nothing"""


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
        keep_compiled()
        from jaxgan.protocol import real_data

        about = next(iter(abouts.values()))
        conditional = any(about["config"].get("conditional") for about in abouts.values())
        real = real_data(about, config.samples, config.data_dir, config.inception, conditional)
        results, failures = {}, []
        for run, about in abouts.items():
            try:
                results[run] = judged(config, Path(run), about, real)
                write_json(Path(run) / result_name(config.best), results[run])
            except (UsageError, RunError, OSError) as error:
                failures.append((run, error))
    for what in PROTOCOL:
        check_same(what, {run: result["protocol"][what] for run, result in results.items()})
    if results:
        print(table(results), flush=True)
    for run, error in failures:
        reason, status = explained(error)
        raise (UsageError if status == 2 else RunError)(f"{run}: {reason}") from error
    return results


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
            **real.judge.about,
            "samples": real.count,
            "samples_of_modes": count_to_draw(real.train, real.count),
            "split": "test",
            "data": about["dataset"]["fingerprint"],
            "keys": list(range(config.seed, config.seed + config.keys)),
            "generator": "best" if config.best else "last",
        },
        "real": real.floor,
        "seeds": seeds,
        **summed_up(rows),
        "deviation_over": over,
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
        whole = {*PROTOCOL} <= result["protocol"].keys()
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunError(f"{path} is missing or damaged: evaluate without --stored")
    for name, directory in generators(run, about, best).items():
        if steps[name] != (step := step_of(directory)):
            raise RunError(f"{path} is not of step {step}: evaluate without --stored")
    return result


COLUMNS = {
    "fid": "FID",
    "kid": "KID x 1000",
    "score": "score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_kl": "class KL",
    "asked_accuracy": "asked",
    "cas": "CAS",
    "modes": "modes",
    "high_quality": "high quality",
    "reverse_kl": "reverse KL",
    "covariance_ratio": "covariance",
    "kl_uniform": "KL uniform",
    "kl_data": "KL data",
    "kl_corrected": "KL corrected",
    "floor": "KL floor",
}
"""Titles of scores, in the order of the table."""


def table(results: dict[str, dict]) -> str:
    """Returns a table of runs, real data of the training split first, and the protocol below."""
    first = next(iter(results.values()))
    found = [first["real"], *(result["mean"] for result in results.values())]
    names = [name for name in COLUMNS if any(name in scores for scores in found)]
    lines = [["", *(COLUMNS[name] for name in names)]]
    lines.append(["real (training split)", *(cell(name, first["real"]) for name in names)])
    for run, result in results.items():
        lines.append([run, *(cell(name, result["mean"], result["std"]) for name in names)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    protocol = first["protocol"]
    over = " and ".join(sorted({result["deviation_over"] for result in results.values()}))
    modes = protocol["samples_of_modes"]
    counted = "" if modes == protocol["samples"] else f" (modes and KL: {modes:,})"
    return (
        f"{text}\n{protocol['samples']:,} samples{counted} against the {protocol['split']} split, "
        f"features: {protocol['features']} {protocol['digest'][:12]}; deviations over {over}"
    )


def cell(name: str, mean: dict, std: dict | None = None) -> str:
    """Returns a score, with its deviation where there is one."""
    if name not in mean:
        return "-"
    scale = 1000 if name == "kid" else 1
    digits = 1 if name == "modes" else 2 if name in ("fid", "kid", "score") else 3
    text = f"{scale * mean[name]:.{digits}f}"
    return f"{text} ± {scale * std[name]:.{digits}f}" if std and name in std else text


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.evaluate", "nothing more was written")


if __name__ == "__main__":
    sys.exit(command())
