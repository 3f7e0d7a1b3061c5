"""python -m jaxgan.train: train a GAN, as a pure function of its configuration and seed."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from jaxgan.command import keep_compiled, run_command, say, stop_at_once
from jaxgan.config import Config, validate
from jaxgan.errors import Interrupted, UsageError, choose


def main(config: Config) -> dict:
    """Trains to `config.steps` and returns what `summary.json` says of the run.

    Continues the run that is in the run directory, if one is. Raises `UsageError`, `RunError`
    (`Diverged` where a value is not finite) and `Interrupted`; what was on disk stays usable.
    """
    validate(config)
    set_up_jax(config)
    from jaxgan import distributed

    with distributed.together():
        return trained(config)


def trained(config: Config) -> dict:
    """Does what `main` says, where JAX is set up and the processes of the run are joined."""
    import jax

    from jaxgan import distributed, loops, run
    from jaxgan.build import build, images_a_step, num_samples, parameters
    from jaxgan.description import describe

    check_names(config)
    check_same_settings(config)
    dataset, remark = load(config)
    layout = loops.laid_out(config.seeds, config.devices, config.batch_size, config.pack)
    batch_size = images_a_step(config)
    key = loops.keys(config.seed, layout)
    jax.eval_shape(lambda: dataset.batch(jax.random.key(0), 0, batch_size))
    model = build(config, dataset)
    out = config.out or default_out(config, dataset)
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
        say(remark, *directory.news())
        if begin > config.steps:
            raise UsageError(
                f"the run in {out} has taken {begin} steps already: ask for more than --steps "
                f"{config.steps}, or start afresh with --overwrite"
            )
        summary = distributed.from_first(directory.summary)
        if summary and summary["steps"] == begin == config.steps:
            say(f"the run in {out} is complete at step {begin}; more --steps extend it")
            return summary
        say(header(config, dataset, layout, out, begin))
        steps_per_call = config.steps_per_call or loops.default_steps_per_call(
            model, layout, key, state, dataset, batch_size
        )
        every = (config.sample_every, config.checkpoint_every, config.evaluate_every)
        plan = loops.Plan(begin, config.steps, steps_per_call, *every)
        draw = functools.partial(model.sample, num_samples=num_samples(config, dataset))
        sample = layout.readable(layout.each_seed(draw))
        arguments = layout.placed(key, state, dataset)
        if new:
            directory.picture(0, sample(*arguments[:2]))
        stopping = distributed.agreed(lambda: bool(caught))
        calls = loops.calls(model, layout, *arguments, batch_size, sample, plan, stopping)
        state, speed = recorded(calls, directory, config, state)
        done = loops.steps_taken(state)
        if done < config.steps:
            directory.checkpoints.wait()
            message = f"stopped at step {done}: the same command continues from there"
            raise Interrupted(next(iter(caught), signal.SIGTERM), message)
        summary = directory.summarise(state, speed)
        say("done: " + ", ".join(map(str, directory.worth_opening())))
        return summary


def recorded(calls, directory, config: Config, state) -> tuple:
    """Writes down call after call; returns the last state and how fast it went."""
    from tqdm import tqdm

    from jaxgan.build import images_a_step
    from jaxgan.distributed import is_first
    from jaxgan.loops import steps_taken

    began, times = time.perf_counter(), []
    images = images_a_step(config) * config.seeds
    begin = steps_taken(state)
    quiet = None if is_first() else True  # None: where there is no terminal.
    with tqdm(initial=begin, total=config.steps, unit="step", disable=quiet) as bar:
        for call in calls:
            metrics = directory.record(call, config.log_every)
            times.append((call.last, time.perf_counter()))
            with bar.external_write_mode():
                say(*directory.news())
            bar.update(call.last - call.first + 1)
            bar.set_postfix(
                d_loss=f"{metrics['d_loss']:.3f}",
                g_loss=f"{metrics['g_loss']:.3f}",
                D=f"{metrics['d_real']:.2f}/{metrics['d_fake']:.2f}",
                images_per_s=f"{images * (bar.format_dict['rate'] or 0):,.0f}",
            )
            if call.snapshot is not None:
                state = call.snapshot.state
    if len(times) < 2:
        times = [(begin, began), *times, (begin, time.perf_counter())][:2]
    # The first call compiles: the rate is that of the others, where there are any.
    (first, since), (last, until) = times[0], times[-1]
    return state, {
        "seconds": round(time.perf_counter() - began, 3),
        "images_per_second": round(images * (last - first) / (until - since), 1),
    }


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
    if config.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if several:  # What XLA has to say of its connections arrives as exceptions too.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_compiled()
    if several:
        from jaxgan import distributed

        distributed.start(config.coordinator, config.num_processes, config.process_id)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Gives a list that the first Ctrl-C or SIGTERM is put into; a second one acts at once."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def catch(number, frame):
        if caught:
            stop_at_once(number, frame)
        caught.append(number)
        print("\njaxgan: finishing the call under way and saving", file=sys.stderr, flush=True)

    for number in numbers:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def header(config: Config, dataset, layout, out: Path, begin: int) -> str:
    """Returns the line that says what is about to run."""
    import jax

    count, kind = len(layout.devices), jax.devices()[0].device_kind
    seeds = f"seed {config.seed}"
    if config.seeds > 1:
        seeds = f"seeds {config.seed} to {config.seed + config.seeds - 1}"
    return (
        f"{dataset.name} ({dataset.describe()}), {config.network}, {config.loss}, "
        f"{seeds}, on {f'{count} x ' if count > 1 else ''}{kind}: "
        f"steps {begin} to {config.steps} in {out}"
    )


def command() -> int:
    """Runs the command line and returns its exit status."""
    return run_command(Config, main, "python -m jaxgan.train")


if __name__ == "__main__":
    sys.exit(command())
