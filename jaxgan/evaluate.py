"""python -m jaxgan.evaluate: compare the samples of runs with real data, in numbers."""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import Range, check_fields
from jaxgan.environment import pin_options
from jaxgan.errors import RunError, UsageError, explain_error
from jaxgan.files import expand_paths, given_path, read_json, write_json
from jaxgan.runs import description
from jaxgan.runs.description import Description

VERSION = 2
"""The version of the evaluation protocol. Results of another version are not shown."""
MUST_AGREE = {
    "data": "their data",
    "version": "the version of the evaluation protocol",
    "digest": "the features",
    "samples": "the number of samples (--samples)",
    "split": "the split of the data",
    "keys": "the seeds of the samples (--seed, --repeats)",
}
"""What must be equal for scores to be comparable: "data" and the entries of the protocol."""
PROTOCOL = [name for name in MUST_AGREE if name != "data"]
LABELS = "as frequent as in the training split; for CAS in equal shares"
"""How the classes of a conditional GAN's samples are chosen."""
LIMIT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare the samples of runs with the test split of their data; write evaluation.json."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run directories, all of the same data"""
    samples: Annotated[int, Range(2, LIMIT, "at least 2 and below 2**31")] = 10_000
    """number of generated and of real samples, limited by the number of real ones"""
    repeats: Annotated[int, Range(1, LIMIT, "at least 1 and below 2**31")] = 3
    """number of sets of samples, for the mean and the standard deviation of the metrics"""
    seed: Annotated[int, Range(0, LIMIT, "at least 0 and below 2**31")] = 0
    """seed of the latents of the first set; the other sets have the next seeds"""
    best: bool = False
    """evaluate the generator with the best FID during training (see --evaluate-every of
    jaxgan.train) instead of the last one"""
    inception: Path | None = None
    """weights of Inception-v3 that pytorch-fid publishes, .pth (needs torch) or .safetensors, to
    use its features instead of those of a classifier"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets; if not given, the one that the run used"""
    data_file: Path | None = None
    """your own images; if not given, those that the run used"""
    stored: bool = False
    """show the results in evaluation.json, without computing anything"""

    def __post_init__(self):
        runs = (self.runs,) if isinstance(self.runs, str | os.PathLike) else self.runs
        object.__setattr__(self, "runs", tuple(given_path(run) for run in runs))
        expand_paths(self, "inception", "data_dir", "data_file")


def main(config: Config) -> dict[str, dict]:
    """Evaluates runs, prints a table, and returns by run the content of its `evaluation.json`.

    Raises `UsageError` for runs whose numbers cannot be compared, and `RunError` if a run, its data
    or a classifier cannot be read.
    """
    check_config(config)
    with pin_options(devices=not config.stored):
        return evaluate(config)


def evaluate(config: Config) -> dict[str, dict]:
    """Does what `main` says, after JAX is set up."""
    from jaxgan.evaluation.table import format_table

    runs = {str(run): read_description(run) for run in config.runs}
    for run, about in runs.items():
        find_generators(Path(run), about, config.best)
    check_comparable("data", {run: about.dataset.fingerprint for run, about in runs.items()})
    if config.stored:
        results = {run: read_stored(Path(run), about, config.best) for run, about in runs.items()}
        failures = []
    else:
        results, failures = evaluate_runs(config, runs)
    for what in PROTOCOL:
        check_comparable(what, {run: each["protocol"][what] for run, each in results.items()})
    if results:
        print(format_table(results), flush=True)
    if failures:
        reasons = [f"{run}: {explain_error(error)[0]}" for run, error in failures]
        usage = all(isinstance(error, UsageError) for _, error in failures)
        raise (UsageError if usage else RunError)("; ".join(reasons)) from failures[0][1]
    return results


def check_config(config: Config) -> None:
    """Raises `UsageError` for settings outside of their limits."""
    check_fields(config)
    if not config.runs:
        raise UsageError("name the run directories to evaluate")
    if len({run.resolve() for run in config.runs}) < len(config.runs):
        raise UsageError("a run directory is given twice")


def read_description(run: Path) -> Description:
    """Returns the description of a run.

    Raises `UsageError` for another folder and `RunError` for a damaged `config.json`.
    """
    found = None
    with contextlib.suppress(UsageError):
        found = description.read(run / "config.json") if run.is_dir() else None
    if found is None:
        raise UsageError(f"{run} is not a run directory: it has no config.json of a run")
    return found


def check_comparable(what: str, values: dict[str, Any]) -> None:
    """Raises `UsageError` if runs differ in a value that must be equal to compare their scores."""
    first, value = next(iter(values.items()), (None, None))
    for run, other in values.items():
        if other != value:
            raise UsageError(
                f"these runs cannot be compared: they differ in {MUST_AGREE[what]} "
                f"({str(value)[:12]} of {first} and {str(other)[:12]} of {run})"
            )


def evaluate_runs(config: Config, runs: dict[str, Description]) -> tuple[dict, list]:
    """Evaluates runs and writes the results; returns them by run, and the runs that failed."""
    enable_compilation_cache()
    from jaxgan.evaluation.location import locate_data
    from jaxgan.evaluation.reference import load_reference

    run, about = next(iter(runs.items()))
    first = locate_data(Path(run), about, config.data_dir, config.data_file)
    conditional = any(run.config.conditional for run in runs.values())
    reference = load_reference(first, config.samples, config.inception, conditional)
    results, failures = {}, []
    for run, about in runs.items():
        try:
            results[run] = evaluate_run(config, Path(run), about, reference)
            write_json(Path(run) / result_name(config.best), results[run])
        except (UsageError, RunError, OSError) as error:
            failures.append((run, error))
    return results, failures


def evaluate_run(config: Config, run: Path, about: Description, reference) -> dict:
    """Evaluates a run and returns the content of its `evaluation.json`.

    reference: what `jaxgan.evaluation.reference.load_reference` returned.
    """
    from jaxgan.parallel.distributed import print_lines
    from jaxgan.runs.summary import mean_and_std

    seeds = {}
    for name, directory in find_generators(run, about, config.best).items():
        print_lines(f"evaluating {directory}")
        seeds[name] = evaluate_generator(config, directory, about, reference)
    protocol, several = reference.protocol, len(seeds) > 1
    rows = [seed["mean"] for seed in seeds.values()] if several else seeds[name]["by_key"]
    return {
        "protocol": {
            "version": VERSION,
            **protocol.about,
            "samples": reference.count,
            "samples_of_modes": protocol.num_samples(reference.count),
            "split": "test",
            "labels": LABELS if about.config.conditional else None,
            "data": about.dataset.fingerprint,
            "keys": list(seeds_of_latents(config)),
            "generator": "best" if config.best else "last",
        },
        "real": reference.scores,
        "seeds": seeds,
        **mean_and_std(rows),
        "deviation_over": "seeds" if several else "repeats",
        "remarks": reference.remarks,
    }


def evaluate_generator(config: Config, directory: Path, about: Description, reference) -> dict:
    """Returns the metrics of a generator: their mean and deviation, and those of each repeat."""
    import jax

    from jaxgan.evaluation.scores import score_generator
    from jaxgan.runs.generators import load_generator, read_about
    from jaxgan.runs.summary import mean_and_std

    step, sample = read_about(directory).get("step"), load_generator(directory, standardized=True)
    if read_about(directory).get("step") != step:
        raise RunError(f"{directory} was being written: evaluate again")
    draw = jax.jit(sample, static_argnums=1)
    found = [
        score_generator(draw, about, reference, seed, train_classifier=seed == config.seed)
        for seed in seeds_of_latents(config)
    ]
    scores, class_counts, by_feature = map(list, zip(*found, strict=True))
    result = {"step": step, **mean_and_std(scores), "by_key": scores}
    if class_counts[0] is not None:
        result["class_histogram_by_key"] = class_counts
    if by_feature[0] is not None:
        result["wasserstein_of_features_by_key"] = by_feature
    return result


def seeds_of_latents(config: Config) -> range:
    """Returns the seeds that samples are drawn with."""
    return range(config.seed, config.seed + config.repeats)


def find_generators(run: Path, about: Description, best: bool) -> dict[str, Path]:
    """Returns the folders of a run's generators by seed. Raises `RunError` if one is missing."""
    from jaxgan.runs.generators import is_saved

    directory = run / ("generator-best" if best else "generator")
    folders = {str(about.config.seed): directory}
    if about.seeds is not None:
        folders = {str(seed): directory / str(seed) for seed in about.seeds}
    for folder in folders.values():
        if not is_saved(folder):
            hint = "the run has no checkpoint yet: continue it"
            if best:
                hint = "--best needs a run on images with --evaluate-every"
            raise RunError(f"there is no generator in {folder} ({hint})")
    return folders


def result_name(best: bool) -> str:
    """Returns the name of the file of results."""
    return "evaluation-best.json" if best else "evaluation.json"


def read_stored(run: Path, about: Description, best: bool) -> dict:
    """Returns the stored results of a run. Raises `RunError` if there are none, or old ones."""
    from jaxgan.evaluation.table import format_table
    from jaxgan.runs.generators import read_about

    path = run / result_name(best)
    result = read_json(path)
    folders = find_generators(run, about, best)
    try:
        steps = {name: result["seeds"][name]["step"] for name in folders}
        format_table({str(run): result})
        complete = {*PROTOCOL} <= result["protocol"].keys()
        complete = complete and result["protocol"]["version"] == VERSION
    except (AttributeError, KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise RunError(
            f"{path} is missing, damaged, or of another version: evaluate without --stored"
        )
    for name, directory in folders.items():
        if steps[name] != (step := read_about(directory).get("step")):
            raise RunError(
                f"{path} is of step {steps[name]} and the generator of step {step}: evaluate "
                "without --stored"
            )
    return result


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.evaluate", "nothing more was written")


if __name__ == "__main__":
    sys.exit(command())
