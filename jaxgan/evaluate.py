"""python -m jaxgan.evaluate: compare samples with real data, in numbers."""

import dataclasses
import sys
from pathlib import Path

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.data_settings import DataSettings
from jaxgan.environment import pin_options
from jaxgan.errors import RunError, UsageError, explain_error
from jaxgan.evaluation.results import (
    LABELS,
    by_combination,
    check_comparable,
    check_protocols,
    describe_protocol,
    expand_sweeps,
    find_diverged,
    find_generators,
    read_description,
    read_stored,
    result_name,
)
from jaxgan.evaluation.settings import Config, check_config, pictures_of
from jaxgan.files import write_json
from jaxgan.runs.description import Description

OF_WIDTH = " --ema-width "
"""What the name of a result has after the run, before the width of another average."""


def main(config: Config) -> dict[str, dict]:
    """Evaluates runs and images, prints a table, and returns the results by run or path.

    Those of a run are the content of its `evaluation.json`.
    Raises `UsageError` for runs whose numbers cannot be compared, and `RunError` if a run, its data
    or a classifier cannot be read.
    """
    check_config(config)
    with pin_options(devices=not config.stored):
        return evaluate(config)


def evaluate(config: Config) -> dict[str, dict]:
    """Does what `main` says, after JAX is set up."""
    from jaxgan.evaluation.table import format_table

    given, config = config.runs, dataclasses.replace(config, runs=expand_sweeps(config.runs))
    runs = {str(run): read_description(run) for run in config.runs}
    for run, about in runs.items():
        find_generators(Path(run), about, config.best)
        if config.dataset not in (None, about.dataset.name):
            raise UsageError(f"--dataset {config.dataset}: {run} is of {about.dataset.name}")
    check_comparable("data", {run: about.dataset.fingerprint for run, about in runs.items()})
    if config.stored:
        results = {run: read_stored(Path(run), about, config.best) for run, about in runs.items()}
        failures = []
    else:
        results, failures = evaluate_all(config, runs)
    check_protocols(results)
    if results:
        print(format_table(rows_of_table(results, runs)), flush=True)
        if config.out is not None:
            write_json(config.out, results)
    if not (config.best or config.stored):
        update_sweeps(given)
    if failures:
        reasons = [f"{run}: {explain_error(error)[0]}" for run, error in failures]
        usage = all(isinstance(error, UsageError) for _, error in failures)
        raise (UsageError if usage else RunError)("; ".join(reasons)) from failures[0][1]
    return results


def rows_of_table(results: dict[str, dict], runs: dict[str, Description]) -> dict[str, dict]:
    """Returns the results of each row of the table: a run, or a combination of its settings."""
    rows = {}
    for name, result in results.items():
        run, *width = name.split(OF_WIDTH)
        if run not in runs:
            rows[name] = result
            continue
        path = Path(run)
        whole = path.parent if (path.parent / "sweep.json").exists() else path
        title = OF_WIDTH.join([str(whole), *width])
        rows |= by_combination(title, result, runs[run].config)
    return rows


def update_sweeps(runs: tuple[Path, ...]) -> None:
    """Writes the summaries of runs in which settings have several values again.

    runs: run directories, or folders of several programs; that of a part is its parent.
    """
    for run in dict.fromkeys(folder for each in runs for folder in (each, each.parent)):
        if (run / "sweep.json").exists():
            from jaxgan.outputs.sweep import update_sweep

            update_sweep(run)
            print(f"jaxgan: updated {run / 'sweep.md'}")


def evaluate_all(config: Config, runs: dict[str, Description]) -> tuple[dict, list]:
    """Evaluates runs and images; returns the results by name, and the names that failed."""
    from jaxgan.evaluation.external import evaluate_images
    from jaxgan.evaluation.nearest import draw_nearest
    from jaxgan.evaluation.reference import load_reference

    enable_compilation_cache()
    settings = make_settings(config, any(run.config.conditional for run in runs.values()))
    first = describe_data(config, runs)
    reference = load_reference(first, settings)
    if config.write_statistics is not None:
        write_statistics(config.write_statistics, reference)
    results, failures = {}, []
    widths = config.ema_width or (None,)
    jobs = [(run, width) for run in config.runs for width in widths]
    for path, width in (*jobs, *((images, None) for images in config.images)):
        name = str(path) if width is None else f"{path}{OF_WIDTH}{width:g}"
        try:
            if path in config.runs:
                found = evaluate_run(config, path, runs[str(path)], reference, width)
                results[name], closest = found
                out = path / result_name(config.best, width)
                out.parent.mkdir(exist_ok=True)
                write_json(out, results[name])
                if width is None:
                    draw_nearest(path, reference, closest)
            else:
                fingerprint = first.dataset.fingerprint
                results[name] = evaluate_images(path, pictures_of(config), reference, fingerprint)
        except (UsageError, RunError, OSError) as error:
            failures.append((name, error))
    return results, failures


def make_settings(config: Config, conditional: bool):
    """Returns how samples are compared. Raises `UsageError` for files that cannot be used."""
    from jaxgan.evaluation import statistics
    from jaxgan.evaluation.extractors import load_extractor
    from jaxgan.evaluation.reference import Settings

    if config.write_statistics is not None:
        statistics.check_name(config.write_statistics)
    read = config.read_statistics and statistics.read_statistics(config.read_statistics)
    return Settings(
        samples=config.samples,
        against=config.against,
        extractor=load_extractor(config.inception, config.features),
        statistics=read,
        conditional=conditional,
        nearest=config.nearest,
        cas=config.cas,
    )


def describe_data(config: Config, runs: dict[str, Description]) -> Description:
    """Returns the description of the first run with the present location of its data.

    Without runs, it describes the data alone.
    """
    from jaxgan.evaluation import external
    from jaxgan.evaluation.location import locate_data

    if not runs:
        where = {name: getattr(config, name) for name in ("dataset", "data_dir", "data_file")}
        return external.describe_data(DataSettings(**where, **vars(pictures_of(config))))
    run, about = next(iter(runs.items()))
    return locate_data(Path(run), about, config.data_dir, config.data_file)


def write_statistics(path: Path, reference) -> None:
    """Writes the statistics of the real samples, and says so."""
    from jaxgan.evaluation import statistics
    from jaxgan.parallel.distributed import print_lines

    digest = statistics.write_statistics(path, reference.real_statistics())
    split = "training" if reference.settings.against == "train" else "test"
    what = f"{reference.count:,} real samples of the {split} split"
    print_lines(f"wrote the statistics of {what} to {path}, digest {digest[:12]}")


def evaluate_run(
    config: Config, run: Path, about: Description, reference, width: float | None = None
) -> tuple:
    """Evaluates a run; returns the content of its `evaluation.json`, and its closest samples.

    reference: what `jaxgan.evaluation.reference.load_reference` returned. The closest samples, of
    the first seed, are those of `evaluate_generator`. width: of the average, None for the last one.
    """
    from jaxgan.parallel.distributed import print_lines
    from jaxgan.runs.summary import mean_and_std

    seeds, closest, failed = {}, [], {}
    title = f"the average of width {width} of {run}"
    generators, diverged = find_generators(run, about, config.best), find_diverged(run)
    for name, directory in generators.items():
        print_lines(f"evaluating {directory if width is None else title}")
        try:
            generator = load_to_evaluate(run, directory, name, about, width)
            seeds[name], found = evaluate_generator(config, generator, about, reference)
        except (UsageError, RunError) as error:  # For example because all samples are the same.
            failed[name] = str(error)
            if len(failed) == len(generators):
                raise
            print_lines(f"{directory} has no scores: {error}")
            continue
        if name in diverged:
            seeds[name]["diverged"] = diverged[name]
        closest.append(found)
    several = len(generators) > 1
    rows = [seed["mean"] for seed in seeds.values()] if several else seeds[name]["by_key"]
    result = {
        "protocol": {
            **describe_protocol(reference, about.dataset.fingerprint),
            "labels": LABELS if about.config.conditional else None,
            "keys": list(seeds_of_latents(config)),
            "generator": "best" if config.best else "last",
            **({} if width is None else {"ema_width": width}),
        },
        "real": reference.scores,
        "seeds": seeds,
        **({"without_scores": failed} if failed else {}),
        **mean_and_std(rows),
        "deviation_over": "seeds" if several else "repeats",
        "remarks": reference.remarks,
    }
    return result, closest[0]


def load_to_evaluate(
    run: Path, directory: Path, name: str, about: Description, width: float | None
):
    """Returns the generator in a directory or, with a width, the average of a member by name.

    Raises `RunError` for one that was being written.
    """
    from jaxgan.runs.generator_files import read_about
    from jaxgan.runs.generators import load_generator

    if width is not None:
        member = None if about.members is None else name
        return load_generator(run, seed=member, standardized=True, ema_width=width)
    step, generator = (
        read_about(directory).get("step"),
        load_generator(directory, standardized=True),
    )
    if read_about(directory).get("step") != step:
        raise RunError(f"{directory} was being written: evaluate again")
    return generator


def evaluate_generator(config: Config, generator, about: Description, reference) -> tuple:
    """Returns the metrics of a generator: their mean and deviation, and those of each repeat.

    The second value are the samples of the first repeat that are closest to training examples.
    """
    import jax

    from jaxgan.evaluation.scores import score_generator
    from jaxgan.runs.summary import mean_and_std

    draw = jax.jit(generator, static_argnums=1)
    found = [
        score_generator(draw, about, reference, seed, train_classifier=seed == config.seed)
        for seed in seeds_of_latents(config)
    ]
    scores, class_counts, by_feature, closest = map(list, zip(*found, strict=True))
    result = {"step": generator.step, **mean_and_std(scores), "by_key": scores}
    if class_counts[0] is not None:
        result["class_histogram_by_key"] = class_counts
    if by_feature[0] is not None:
        result["wasserstein_of_features_by_key"] = by_feature
    return result, closest[0]


def seeds_of_latents(config: Config) -> range:
    """Returns the seeds that samples are drawn with."""
    return range(config.seed, config.seed + config.repeats)


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.evaluate", "nothing more was written")


if __name__ == "__main__":
    sys.exit(command())
