"""python -m jaxgan.train: train a GAN, as a pure function of its configuration and seed."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from jaxgan.command import (
    keep_compiled,
    run_command,
    say,
    stop_at_once,
    stopping,
    write_at_once,
)
from jaxgan.config import Config, validate
from jaxgan.environment import check_devices, pinned
from jaxgan.errors import Interrupted, UsageError, choose


def main(config: Config) -> dict:
    """Trains to `config.steps` and returns what `summary.json` says of the run.

    Continues the run that is in the run directory, if one is. Raises `UsageError`, `RunError`
    (`Diverged` where a value is not finite) and `Interrupted`; what was on disk stays usable.
    """
    validate(config)
    with pinned(devices=False):
        set_up_jax(config)
        check_devices()
        from jaxgan import distributed

        with distributed.together():
            return trained(config)


def trained(config: Config) -> dict:
    """Does what `main` says, where JAX is set up and the processes of the run are joined."""
    import jax

    from jaxgan import distributed, loops, run
    from jaxgan.build import build, images_a_step, note, parameters
    from jaxgan.description import describe
    from jaxgan.keys import key_of_seed

    check_names(config)
    check_same_settings(config)
    dataset, remark = load(config)
    out = config.out or default_out(config, dataset)
    check_out(out, config.data_file)
    layout = loops.laid_out(config.seeds, config.devices, config.batch_size, config.pack)
    key = loops.keys(config.seed, layout)
    jax.eval_shape(lambda: dataset.batch(key_of_seed(0), 0, images_a_step(config)))
    model = build(config, dataset)
    description = describe(config, dataset, remark, len(layout.devices), parameters(model))
    scorers = []
    if config.evaluate_every:
        from jaxgan.protocol import scorer

        distributed.from_first(lambda: scorers.append(scorer(description)))

    with (
        run.opened(out, description, config.overwrite) as directory,
        stop_signals() as caught,
        distributed.together(),
    ):
        directory.scorer = next(iter(scorers), None)
        init = jax.jit(layout.each_seed(model.init))
        state = directory.latest(jax.eval_shape(init, key))
        new, state = state is None, init(key) if state is None else state
        begin = loops.steps_taken(state)
        if begin > config.steps:
            say(remark, *directory.news())
            raise UsageError(
                f"the run in {out} has taken {begin} steps already: ask for more than --steps "
                f"{config.steps}, or start afresh with --overwrite"
            )
        if not new and distributed.from_first(lambda: directory.lacks_generator(state)):
            averaged = layout.readable(layout.each_seed(model.averaged))
            variables = averaged(*layout.placed(key, state, dataset)[:2])
            directory.restore_generator(state, variables)
        summary = distributed.from_first(directory.summary)
        if summary and summary["steps"] == begin == config.steps:
            say(remark, *directory.news())
            say(f"the run in {out} is complete at step {begin}; more --steps extend it")
            return summary
        directory.continues(begin)
        say(
            remark,
            *directory.news(),
            header(config, dataset, layout, out, begin, note(config, dataset)),
        )
        state, speed = stepped(config, model, layout, (key, state, dataset), directory, caught, new)
        done = loops.steps_taken(state)
        if done < config.steps:
            directory.finish()
            message = f"stopped at step {done}: the same command continues from there"
            raise Interrupted(next(iter(caught), signal.SIGTERM), message)
        summary = directory.summarise(state, speed)
        say(*directory.news())
        say("done: " + ", ".join(map(str, directory.worth_opening())))
        return summary


def stepped(
    config: Config, model, layout, arguments: tuple, directory, caught: list[int], new: bool
) -> tuple:
    """Takes the steps that a run still lacks; returns the last state and how fast it went.

    arguments: key, state and data. caught: signals, after the first of which the call under way is
    the last. new: whether the run has no picture of its first state yet.
    """
    from jaxgan import distributed, loops
    from jaxgan.build import images_a_step, num_samples
    from jaxgan.progress import recorded

    key, state, dataset = arguments
    batch_size = images_a_step(config)
    steps_per_call = config.steps_per_call or loops.default_steps_per_call(
        model, layout, key, state, dataset, batch_size
    )
    every = (config.sample_every, config.checkpoint_every, config.evaluate_every)
    plan = loops.Plan(loops.steps_taken(state), config.steps, steps_per_call, *every)
    draw = functools.partial(model.sample, num_samples=num_samples(config, dataset))
    sample = layout.readable(layout.each_seed(draw))
    placed = layout.placed(key, state, dataset)
    if new:
        directory.picture(0, sample(*placed[:2]))
    ending = distributed.agreed(lambda: bool(caught) or directory.failure is not None)
    calls = loops.calls(model, layout, *placed, batch_size, sample, plan, ending)
    return recorded(calls, directory, config, state)


def load(config: Config):
    """Returns the data set and a remark on it.

    In several processes the first one gets it first, and prepares it where that is still to be
    done. The others find what it left if their folder of data is the same.
    """
    from jaxgan import data, distributed

    def get():
        return data.load(
            config.dataset,
            config.data_dir,
            data_file=config.data_file,
            image_size=config.image_size,
            stacked_images=config.stacked_images,
        )

    found = []
    distributed.from_first(lambda: found.extend(get()))
    dataset, remark = found or get()
    distributed.check_same("their data", dataset.fingerprint)
    return dataset, remark


def default_out(config: Config, dataset) -> Path:
    """Returns the run directory of a configuration that names none."""
    last = f"-{config.seed + config.seeds - 1}" if config.seeds > 1 else ""
    return Path("runs") / f"{dataset.name}-{config.network}-{config.seed}{last}"


def check_out(out: Path, data_file: Path | None) -> None:
    """Raises `UsageError` for a run directory whose pictures would become data."""
    if data_file is not None and data_file.is_dir():
        data = data_file.resolve()
        if data in (whole := out.resolve(), *whole.parents):
            raise UsageError(
                f"the run directory {out} lies in --data-file {data_file}, where the pictures that "
                "a run draws would become data: name an --out elsewhere"
            )


def check_names(config: Config) -> None:
    """Raises `UsageError` for a name of which there is nothing."""
    from jaxgan.augment import AUGMENTATIONS
    from jaxgan.data import DATASETS
    from jaxgan.losses import LOSSES
    from jaxgan.networks import NETWORKS
    from jaxgan.schedules import SCHEDULES

    choose("network", NETWORKS, config.network)
    choose("loss", LOSSES, config.loss)
    choose("schedule", SCHEDULES, config.schedule)
    for name in config.augment:
        choose("augmentation", AUGMENTATIONS, name)
    if config.dataset is not None:
        choose("data set", DATASETS, config.dataset)


def check_same_settings(config: Config) -> None:
    """Raises `UsageError` unless all processes of the run were given the same settings."""
    from jaxgan.distributed import check_same

    own = {"process_id", "coordinator", "data_dir", "data_file"}
    for field in dataclasses.fields(config):
        if field.name not in own:
            check_same("--" + field.name.replace("_", "-"), repr(getattr(config, field.name)))


def set_up_jax(config: Config) -> None:
    """Keeps compiled programs between processes, and joins the processes of one run.

    Asks XLA for exact repeats on a GPU if told to.
    """
    several = config.distributed or config.coordinator is not None
    flags = os.environ.get("XLA_FLAGS", "").split()
    if config.deterministic and (exact := "--xla_gpu_deterministic_ops=true") not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, exact])
    if several:  # What XLA has to say of its connections arrives as exceptions too.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_compiled()
    if several:
        from jaxgan import distributed

        distributed.start(config.coordinator, config.num_processes, config.process_id)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Gives a list that the first signal to stop is put into; a second one acts at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in stopping()}

    def catch(number, frame):
        if caught:
            stop_at_once(number, frame)
        caught.append(number)
        below_the_bar = "\n" if os.isatty(2) else ""
        write_at_once(f"{below_the_bar}jaxgan: finishing the call under way and saving\n")

    for number in before:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def header(config: Config, dataset, layout, out: Path, begin: int, note: str = "") -> str:
    """Returns the line that says what is about to run. note: of what it is made beside that."""
    import jax

    count, kind = len(layout.devices), jax.devices()[0].device_kind
    seeds = f"seed {config.seed}"
    if config.seeds > 1:
        seeds = f"seeds {config.seed} to {config.seed + config.seeds - 1}"
    return (
        f"{dataset.name} ({dataset.describe()}), {config.network}{f' ({note})' if note else ''}, "
        f"{config.loss}, "
        f"{seeds}, on {f'{count} x ' if count > 1 else ''}{kind}: "
        f"steps {begin} to {config.steps} in {out}"
    )


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.train")


if __name__ == "__main__":
    sys.exit(command())
