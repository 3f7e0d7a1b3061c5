"""python -m jaxgan.train: train a GAN, as a pure function of its configuration and seed."""

import contextlib
import io
import itertools
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from jaxgan.config import Config, validate
from jaxgan.errors import RunError, UsageError, choose

NUM_SAMPLES = 64


class Interrupted(Exception):
    """A signal ended the run, after its state was saved; the command ends with `status`."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.status = 128 + number


def main(config: Config) -> dict:
    """Trains to `config.steps` and returns what `summary.json` says of the run.

    Continues the run that is in the run directory, if one is. Raises `UsageError`, `RunError`
    (`Diverged` where a value is not finite) and `Interrupted`; what was on disk stays usable.
    """
    validate(config)
    set_up_jax(config.deterministic)
    import jax

    from jaxgan import data, loops, run

    check_names(config)
    dataset, remark = data.load(config.dataset, config.data_dir)
    key, images_a_step = jax.random.key(config.seed), config.batch_size * config.d_steps
    jax.eval_shape(lambda: dataset.batch(key, 0, images_a_step))
    model = build(config, dataset)
    out = config.out or Path("runs") / f"{dataset.name}-{config.network}-{config.seed}"
    description = run.describe(config, dataset, remark)

    with run.opened(out, description, config.overwrite) as directory, stop_signals() as caught:
        init = jax.jit(model.init)
        state = directory.latest(jax.eval_shape(init, key))
        if state is None:
            state = init(key)
            directory.picture(0, model.sample(key, state, NUM_SAMPLES))
        begin = int(state.step)
        say(*filter(None, [remark, *directory.remarks]))
        if begin > config.steps:
            raise UsageError(
                f"the run in {out} has taken {begin} steps already: ask for more than --steps "
                f"{config.steps}, or start afresh with --overwrite"
            )
        summary = directory.summary()
        if summary and summary["steps"] == begin == config.steps:
            say(f"the run in {out} is complete at step {begin}; more --steps extend it")
            return summary
        say(header(config, dataset, out, begin))
        plan = loops.Plan(
            steps=config.steps,
            steps_per_call=config.steps_per_call
            or loops.default_steps_per_call(model, key, state, dataset, images_a_step),
            sample_every=config.sample_every,
            checkpoint_every=config.checkpoint_every,
        )
        calls = loops.calls(
            model, key, state, dataset, images_a_step, NUM_SAMPLES, plan, lambda: bool(caught)
        )
        state, speed = recorded(calls, directory, config, state)
        if state.step < config.steps:
            directory.checkpoints.wait()
            message = f"stopped at step {state.step}: the same command continues from there"
            raise Interrupted(caught[0], message)
        summary = directory.summarise(state, speed)
        say("done: " + ", ".join(map(str, directory.worth_opening())))
        return summary


def recorded(calls, directory, config: Config, state) -> tuple:
    """Writes down call after call; returns the last state and how fast it went."""
    from tqdm import tqdm

    began, times = time.perf_counter(), []
    images_a_step = config.batch_size * config.d_steps
    begin = int(state.step)
    with tqdm(initial=begin, total=config.steps, unit="step", disable=None) as bar:
        for call in calls:
            metrics = directory.record(call, config.log_every)
            times.append((call.last, time.perf_counter()))
            bar.update(call.last - call.first + 1)
            bar.set_postfix(
                d_loss=f"{metrics['d_loss']:.3f}",
                g_loss=f"{metrics['g_loss']:.3f}",
                D=f"{metrics['d_real']:.2f}/{metrics['d_fake']:.2f}",
                images_per_s=f"{images_a_step * (bar.format_dict['rate'] or 0):,.0f}",
            )
            if call.snapshot is not None:
                state, _ = call.snapshot
    if len(times) < 2:
        times = [(begin, began), *times, (begin, time.perf_counter())][:2]
    # The first call compiles: the rate is that of the others, where there are any.
    (first, since), (last, until) = times[0], times[-1]
    return state, {
        "seconds": round(time.perf_counter() - began, 3),
        "images_per_second": round(images_a_step * (last - first) / (until - since), 1),
    }


def build(config: Config, dataset):
    """Returns the `GAN` that a configuration describes, for examples of a data set's shape."""
    from jaxgan.gan import adam, gan
    from jaxgan.losses import LOSSES
    from jaxgan.networks import NETWORKS

    generator, discriminator = NETWORKS[config.network](dataset.shape, dataset.bounded)
    tx = adam(config.learning_rate, config.beta1, config.beta2)
    return gan(
        generator,
        discriminator,
        loss=LOSSES[config.loss](),
        g_tx=tx,
        d_tx=tx,
        latent_size=config.latent_size,
        d_steps=config.d_steps,
        ema_decay=config.ema_decay,
    )


def check_names(config: Config) -> None:
    """Raises `UsageError` for a data set, a network or a loss that there is not."""
    from jaxgan.data import DATASETS
    from jaxgan.losses import LOSSES
    from jaxgan.networks import NETWORKS

    choose("network", NETWORKS, config.network)
    choose("loss", LOSSES, config.loss)
    if config.dataset is not None:
        choose("data set", DATASETS, config.dataset)


def set_up_jax(deterministic: bool) -> None:
    """Keeps compiled programs between processes; asks XLA for exact repeats on a GPU if told to."""
    if deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    import jax

    from jaxgan.data.cache import user_directory

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(user_directory() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


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


def stop_at_once(number: int, frame) -> None:
    """Ends the process, as a handler of signals: what is on disk is whole at any moment."""
    message = "jaxgan: stopped at once: the same command continues from what was saved\n"
    os.write(sys.stderr.fileno(), message.encode())
    os._exit(128 + number)


def header(config: Config, dataset, out: Path, begin: int) -> str:
    """Returns the line that says what is about to run."""
    import jax

    return (
        f"{dataset.name} ({dataset.describe()}), {config.network}, {config.loss}, "
        f"seed {config.seed}, on {jax.devices()[0].device_kind}: "
        f"steps {begin} to {config.steps} in {out}"
    )


def say(*lines: str) -> None:
    """Prints lines under the program's name."""
    for line in lines:
        print(f"jaxgan: {line}", flush=True)


def parsed() -> Config:
    """Returns the configuration of the command line; raises `UsageError`."""
    import tyro

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(Config, prog="python -m jaxgan.train")
    except SystemExit as end:
        if not end.code:
            raise
    # What tyro prints is a box with a title, the message, and after a rule its hints.
    lines = (
        re.sub(r"[\u2500-\u257f]|-{3,}", " ", line).split()
        for line in printed.getvalue().splitlines()
    )
    _, *lines = [" ".join(words) for words in lines if words]
    hints = ("Perhaps you meant", "For full helptext", "Argument helptext", "Similar")
    message = itertools.takewhile(lambda line: not line.startswith(hints), lines)
    raise UsageError(f"{' '.join(message)}; see --help")


def drop_late_writes(unraisable) -> None:
    """Reports an error that nothing could catch, but for one that says nothing new.

    Where a checkpoint fails, the writes still under way find the event loop of its storage closed.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def command() -> int:
    """Runs the command line and returns its exit status."""
    sys.unraisablehook = drop_late_writes
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_at_once)
    try:
        main(parsed())
    except (UsageError, RunError, Interrupted) as error:
        message, status = str(error), error.status
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        advice = "see that it can be written to and has room, and run the same command again"
        message, status = f"{error.strerror or error}{place}: {advice}", 1
    except Exception as error:
        if not re.search("RESOURCE_EXHAUSTED|[Oo]ut of memory", str(error)):
            raise
        message, status = "out of memory: choose a smaller --batch-size or --latent-size", 1
    else:
        return 0
    print(f"jaxgan: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(command())
