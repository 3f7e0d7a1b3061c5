"""The results of an evaluation: the protocol, which of them are comparable, and their files."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan.errors import RunError, UsageError
from jaxgan.files import read_json
from jaxgan.runs import description
from jaxgan.runs.axes import combinations, members_of, name_of, programs_in
from jaxgan.runs.config import Config
from jaxgan.runs.description import Description
from jaxgan.runs.states import kept_steps
from jaxgan.runs.summary import mean_and_std

VERSION = 2
"""The version of the evaluation protocol. Results of another version are not shown."""
MUST_AGREE = {
    "data": "their data",
    "version": "the version of the evaluation protocol",
    "digest": "the features",
    "samples": "the number of samples (--samples)",
    "split": "the split of the data (--against)",
    "statistics": "the statistics of real samples (--read-statistics)",
    "keys": "the seeds of the samples (--seed, --repeats)",
}
"""What must be equal for scores to be comparable: "data" and the entries of the protocol."""
PROTOCOL = [name for name in MUST_AGREE if name != "data"]
LATER = {"statistics"}
"""Entries of the protocol that results of earlier versions lack, which is the same as None."""
LABELS = "as frequent as in the training split; for CAS in equal shares"
"""How the classes of a conditional GAN's samples are chosen."""


def describe_protocol(reference, fingerprint: str) -> dict:
    """Returns the protocol as `evaluation.json` holds it, without what is known of a generator.

    reference: what `jaxgan.evaluation.reference.load_reference` returned. fingerprint: of the data.
    """
    protocol, settings = reference.protocol, reference.settings
    return {
        "version": VERSION,
        **protocol.about,
        "samples": reference.count,
        "samples_of_modes": protocol.num_samples(reference.count),
        "split": settings.against,
        "statistics": None if settings.statistics is None else settings.statistics.digest,
        "data": fingerprint,
    }


def check_protocols(results: dict[str, dict]) -> None:
    """Raises `UsageError` for results that cannot be compared. Images have no seeds."""
    for what in PROTOCOL:
        check_comparable(
            what,
            {
                name: result["protocol"].get(what)
                for name, result in results.items()
                if what != "keys" or result["protocol"]["keys"] is not None
            },
        )


def check_comparable(what: str, values: dict[str, Any]) -> None:
    """Raises `UsageError` if runs differ in a value that must be equal to compare their scores."""
    first, value = next(iter(values.items()), (None, None))
    for run, other in values.items():
        if other != value:
            raise UsageError(
                f"these runs cannot be compared: they differ in {MUST_AGREE[what]} "
                f"({str(value)[:12]} of {first} and {str(other)[:12]} of {run})"
            )


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


def expand_sweeps(runs: Sequence[Path]) -> tuple[Path, ...]:
    """Returns run directories: those given and, of one with several programs, those in it."""
    return tuple(each for run in runs for each in programs_in(run) or [run])


def by_combination(run: str, result: dict, config: Config) -> dict[str, dict]:
    """Returns the results of a run, by a name for each combination of settings of several values.

    The mean and the deviation of a combination are those over its seeds or, with one seed, over
    the repeats. Members that were frozen count only if all of a combination were.
    """
    if not config.axes:
        return {run: result}
    found = {}
    for settings in combinations(config):
        own = [name_of(each) for each in members_of(config) if {**each, **settings} == each]
        seeds = [result["seeds"][each] for each in own if each in result["seeds"]]
        seeds = [seed for seed in seeds if not seed.get("diverged")] or seeds
        if not seeds:
            continue
        rows = [seed["mean"] for seed in seeds] if len(seeds) > 1 else seeds[0]["by_key"]
        over = "seeds" if len(seeds) > 1 else "repeats"
        named = f"{run} {name_of(settings)}"
        found[named] = {**result, **mean_and_std(rows), "deviation_over": over}
    return found


def find_diverged(run: Path) -> dict[str, str]:
    """Returns why members of a run were frozen, by their names, as far as `summary.json` says.

    That of a run that was continued since, and then stopped, does not count.
    """
    summary = read_json(run / "summary.json")
    if summary.get("steps") not in kept_steps(run):
        return {}
    known = summary.get("members", summary.get("seeds"))
    members = known if isinstance(known, dict) else {}
    return {name: own["diverged"] for name, own in members.items() if "diverged" in own}


def find_generators(run: Path, about: Description, best: bool) -> dict[str, Path]:
    """Returns the folders of a run's generators by member.

    Of several members, those that diverged before they had a generator are left out. Raises
    `RunError` if there is none.
    """
    from jaxgan.runs.generator_files import is_saved

    directory = run / ("generator-best" if best else "generator")
    folders = {str(about.config.seed): directory}
    if about.members is not None:
        folders = {str(member): directory / str(member) for member in about.members}
    saved = {name: folder for name, folder in folders.items() if is_saved(folder)}
    if not saved:
        hint = "the run has no checkpoint yet: continue it"
        if best:
            hint = "--best needs a run on images with --evaluate-every"
        raise RunError(f"there is no generator in {next(iter(folders.values()))} ({hint})")
    return saved


def result_name(best: bool, ema_width: float | None = None) -> str:
    """Returns the name of the file of results."""
    if ema_width is not None:
        return f"evaluations/ema-{ema_width:g}.json"
    return "evaluation-best.json" if best else "evaluation.json"


def read_stored(run: Path, about: Description, best: bool) -> dict:
    """Returns the stored results of a run. Raises `RunError` if there are none, or old ones."""
    from jaxgan.evaluation.table import format_table
    from jaxgan.runs.generator_files import read_about

    path = run / result_name(best)
    result = read_json(path)
    folders = find_generators(run, about, best)
    for name in result.get("without_scores", {}):
        folders.pop(name, None)
    try:
        steps = {name: result["seeds"][name]["step"] for name in folders}
        format_table({str(run): result})
        complete = {*PROTOCOL} - LATER <= result["protocol"].keys()
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
