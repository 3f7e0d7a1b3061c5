"""python -m jaxgan.verify: train a part of a run again, and compare the states bit for bit."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgan.command import run_command
from jaxgan.constraints import Count, Index, Pattern, check_fields
from jaxgan.environment import check_devices, pin_options
from jaxgan.errors import RunError, UsageError
from jaxgan.files import expand_paths, write_json
from jaxgan.train import build_program, place, set_up_jax

SHA256 = Annotated[str, Pattern("[0-9a-f]{64}", "64 hexadecimal digits")]
NAME = "verification.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a part of a run again, and say whether its state comes out the same, bit for bit.

    By default, these are the steps between its last two checkpoints. The result is written to
    verification.json in the run directory. The exit status is 0 if the states are the same, else 1.
    """

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """run directory"""
    begin: Index | None = None
    """step of a kept checkpoint to begin from, or 0; if not given, the last kept
    one before --end, or 0"""
    end: Count | None = None
    """step of a kept checkpoint to compare with; if not given, the last one"""
    from_scratch: bool = False
    """begin from step 0, the same as --begin 0"""
    config: Path | None = None
    """config.json of a run whose other files are not at hand, instead of a run directory: it is
    trained from step 0 to its last step; needs --expect"""
    expect: SHA256 | None = None
    """digest of the final state, the state_sha256 in summary.json of the run of --config"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets; if not given, the one that the run used"""
    data_file: Path | None = None
    """your own images; if not given, those that the run used"""
    devices: Count | Literal["all"] | None = None
    """number of devices; if not given, as many as the run used, or one if there are fewer"""

    def __post_init__(self):
        expand_paths(self, "run", "config", "data_dir", "data_file")


def main(config: Config):
    """Trains a part of a run again and returns a `jaxgan.runs.verification.Verification`.

    Raises `UsageError` for settings that cannot be used, and `RunError` for a run or data that
    cannot be read.
    """
    check_config(config)
    from jaxgan.runs import description
    from jaxgan.runs.axes import programs_in

    path = config.config or config.run / "config.json"
    of_run = description.read(path)
    if of_run is None:
        several = "" if config.run is None else "; ".join(map(str, programs_in(config.run)))
        hint = f"; it holds several runs, name one of them: {several}" if several else ""
        raise UsageError(f"there is no run to verify: {path} does not exist{hint}")
    trained = dataclasses.replace(of_run.config, distributed=False, coordinator=None)
    with pin_options(devices=False):
        set_up_jax(trained)
        check_devices()
        result = verify(config, of_run._replace(config=trained))
    if config.run is not None:
        content = {**result._asdict(), "same": result.same, "difference": None}
        if result.difference is not None:
            content["difference"] = result.difference._asdict()
        write_json(config.run / NAME, content)
    return result


def check_config(config: Config) -> None:
    """Raises `UsageError` for settings outside of their limits or that exclude one another."""
    check_fields(config)
    if (config.run is None) == (config.config is None):
        raise UsageError("name one run directory, or a config.json by --config")
    if (config.config is None) != (config.expect is None):
        raise UsageError("--config and --expect must be given together")
    if config.config is not None and (config.begin or config.end is not None):
        raise UsageError("--begin and --end need the checkpoints of a run directory")
    if config.from_scratch and config.begin:
        raise UsageError("--from-scratch and --begin exclude each other: give one of them")


def verify(config: Config, of_run):
    """Does what `main` says, after JAX is set up. of_run: the description of the run."""
    from jaxgan.evaluation.location import locate_data, open_same_data
    from jaxgan.parallel.chunks import steps_taken
    from jaxgan.runs.description import describe_changes, surroundings
    from jaxgan.runs.verification import Verification, compare_states
    from jaxgan.trees import tree_sha256

    begin, end = choose_steps(config, of_run)
    directory = config.run or config.config.parent
    located = locate_data(directory, of_run, config.data_dir, config.data_file)
    dataset = open_same_data(located).load(None)
    settings = dataclasses.replace(located.config, devices=choose_devices(config, of_run))
    start = read_state(config, of_run, begin) if begin else None
    start, found = train_again(of_run._replace(config=settings), dataset, start, end)
    begin = steps_taken(start)
    if config.expect is None:
        expected = read_state(config, of_run, end)
        difference, digest = compare_states(start, expected, found), tree_sha256(expected)
    else:
        difference, digest = None, config.expect
    now = surroundings(device_count(settings))
    history = of_run.environments
    first = max((each["step"] for each in history if each["step"] <= begin), default=begin)
    of_steps = [each for each in history if first <= each["step"] < end]
    changes = dict.fromkeys(text for each in of_steps for text in describe_changes(each, now))
    return Verification(
        str(directory), begin, end, digest, tree_sha256(found), difference, [*changes]
    )


def choose_steps(config: Config, of_run) -> tuple[int, int]:
    """Returns the first and the last step of the part to train again.

    Raises `UsageError` for steps without a checkpoint, and `RunError` for a run without any.
    """
    from jaxgan.runs.states import kept_steps

    if config.config is not None:
        return 0, of_run.config.steps
    kept = kept_steps(config.run)
    if not kept:
        raise RunError(f"{config.run} has no checkpoint yet to compare with: continue the run")
    known = f"the run keeps those of the steps {', '.join(map(str, kept))}"
    end = kept[-1] if config.end is None else config.end
    if end not in kept:
        raise UsageError(f"--end {end} has no checkpoint: {known}")
    begin = 0 if config.from_scratch else config.begin
    if begin is None:
        begin = max((step for step in kept if step < end), default=0)
    if begin >= end or begin not in (0, *kept):
        raise UsageError(f"--begin {begin} is not 0 or a checkpoint before step {end}: {known}")
    return begin, end


def choose_devices(config: Config, of_run) -> int | str:
    """Returns the number of devices to train with."""
    import jax

    if config.devices is not None:
        return config.devices
    of_run = of_run.environments[-1]["device"].get("devices", 1)
    return of_run if of_run <= jax.local_device_count() else 1


def device_count(settings) -> int:
    """Returns the number of devices that settings select."""
    import jax

    return jax.local_device_count() if settings.devices == "all" else settings.devices


def read_state(config: Config, of_run, step: int):
    """Returns the state in a checkpoint of the run."""
    from jaxgan.runs import states

    return states.read_state(config.run, of_run, step)


def train_again(of_run, dataset, state: Any, end: int) -> tuple:
    """Returns a state of a run, and the one after `end` steps, of NumPy arrays.

    of_run: the description of the run. state: the first one; None for that of the run's begin.
    """
    import jax
    import numpy as np
    from tqdm import tqdm

    from jaxgan.parallel.chunks import Plan, default_steps_per_chunk, steps_taken, train_chunks
    from jaxgan.runs.axes import make_member
    from jaxgan.runs.initial_state import make_initial_state

    settings = of_run.config
    program = build_program(settings, dataset)
    key = make_member(settings, program.layout)
    if state is None:
        state = make_initial_state(of_run, program.init, key).state
    state, begin = jax.tree.map(np.asarray, state), steps_taken(state)
    arguments = place(program, key, state, dataset, range(begin, end))
    length = settings.steps_per_call or default_steps_per_chunk(program, arguments)
    plan = Plan(begin, end, length, sample_every=end, checkpoint_every=end)
    with tqdm(total=end - begin, unit="step", disable=None, leave=False) as bar:
        for chunk in train_chunks(program, arguments, plan):
            bar.update(chunk.last - chunk.first + 1)
    return state, jax.tree.map(np.asarray, chunk.snapshot.state)


def command() -> int:
    """Runs the command line and returns its exit status."""

    def verify_and_print(config: Config) -> None:
        result = main(config)
        if not result.same:
            raise RunError(result.describe())
        print(f"jaxgan: {result.describe()}")

    return run_command(Config, verify_and_print, "python -m jaxgan.verify", "nothing was written")


if __name__ == "__main__":
    sys.exit(command())
