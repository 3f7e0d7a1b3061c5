"""python -m jaxgan.train: train a GAN, as a pure function of its configuration and seed."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from jaxgan.command import catch_signals, enable_compilation_cache, robust_output, run_command
from jaxgan.environment import check_devices, pin_options
from jaxgan.errors import Diverged, Interrupted, UsageError
from jaxgan.runs import recipes
from jaxgan.runs.axis_values import with_first_values
from jaxgan.runs.config import GROUPS, Config, check_config
from jaxgan.runs.out import choose_out


def main(config: Config) -> dict:
    """Trains to `config.steps` and returns the content of the run's `summary.json`.

    A run that is in the run directory is continued. Where settings have several values, it returns
    the content of `sweep.json`. Raises `UsageError`, `RunError` (`Diverged` if a value is not
    finite) and `Interrupted`; what was on disk remains usable.
    """
    config = with_first_values(config)
    check_config(config)
    with pin_options(devices=False):
        set_up_jax(config)
        check_devices()
        from jaxgan.parallel import connection

        with connection.exit_together():
            return train(config)


def train(config: Config) -> dict:
    """Does what `main` says, after JAX is set up and the processes of the run are joined."""
    from jaxgan.runs.axes import check_axes

    check_axes(config)
    dataset, remarks = load_dataset(config)
    out = choose_out(config, dataset)
    if config.axes:
        return train_sweep(config, out, dataset, remarks)
    return train_program(build_program(config, dataset), config, out, dataset, remarks)


def train_sweep(config: Config, out: Path, dataset, remarks: list[str]) -> dict:
    """Trains the programs of a run in which settings have several values, one after the other.

    Returns the content of `sweep.json`. A single program has the run directory itself; several
    have a folder in it each. What is wrong with one of them is found before any training.
    Raises `Diverged` if all members diverge, and `Interrupted`.
    """
    from jaxgan.outputs.sweep import write_sweep
    from jaxgan.parallel import distributed
    from jaxgan.parallel.chunks import check_memory
    from jaxgan.runs.axes import make_member, split_by_program
    from jaxgan.runs.directory import open_sweep

    parts, programs = split_by_program(config), {}
    for name, part in parts.items():
        with naming(name):
            programs[name] = build_program(part, dataset)
            check_memory(programs[name], make_member(part, programs[name].layout))
    distributed.on_first(lambda: open_sweep(out, config, [*parts]))
    failures = {}
    for number, (name, part) in enumerate(parts.items(), 1):
        if name:
            distributed.print_lines(f"program {number} of {len(parts)}: {name}")
        try:
            more = number < len(parts)
            train_program(programs[name], part, out / name, dataset, remarks, more)
        except Diverged as error:
            failures[name or "."] = str(error)
            if len(failures) == len(parts):
                raise
            distributed.print_lines(str(error))
    runs = [out / name for name in parts]
    content = distributed.on_first(lambda: write_sweep(out, runs, config, failures))
    distributed.print_lines(f"compared: {out / 'sweep.md'}, {out / 'sweep.png'}")
    return distributed.broadcast(content)


@contextlib.contextmanager
def naming(program: str):
    """Adds the name of a program, if it is not empty, to a `UsageError`."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{error} (with {program})" if program else str(error)) from error


def train_program(
    program, config: Config, out: Path, dataset, remarks: list[str], more: bool = False
) -> dict:
    """Trains all members of a run, which need one program, and returns its summary.

    more: whether other programs are to be trained next, which a signal to stop prevents.
    """
    from jaxgan.parallel import distributed
    from jaxgan.parallel.chunks import check_memory, steps_taken, train_chunks
    from jaxgan.parallel.connection import exit_together
    from jaxgan.runs.axes import make_member
    from jaxgan.runs.build import count_parameters
    from jaxgan.runs.description import describe_run
    from jaxgan.runs.directory import open_run, save_if_unreadable
    from jaxgan.runs.initial_state import find_source
    from jaxgan.runs.progress import Progress, format_header

    key = make_member(config, program.layout)
    check_memory(program, key)
    parameters = count_parameters(program.init.eval_shape(key), program.layout.members)
    source = find_source(config, out)
    description = describe_run(
        config, dataset, remarks, len(program.layout.devices), parameters, source
    )
    score = distributed.on_first(lambda: make_score(description))
    opened = open_run(out, description, config.overwrite, score)
    with opened as run, catch_signals() as stop, exit_together():
        should_stop = distributed.any_process(lambda: stop.requested() or run.failure is not None)
        state, begin = restore(run, program, key, config)
        if begin == config.steps and (summary := run.summary_at(begin)):
            complete = f"the run in {out} is complete at step {begin}; more --steps extend it"
            distributed.print_lines(*remarks, *run.take_messages(), complete)
        else:
            run.begin(begin)
            header = format_header(config, dataset, program.layout, out, begin)
            distributed.print_lines(*remarks, *run.take_messages(), header)
            arguments = place(program, key, state, dataset, range(begin, config.steps))
            if run.checkpoints.newest() is None:
                run.draw_samples(begin, program.sample(*arguments[:2]))
            plan = make_plan(config, program, arguments, begin)
            with Progress(config, begin) as progress, save_if_unreadable(run):
                for chunk in train_chunks(program, arguments, plan, should_stop):
                    progress.show(chunk, run.write(chunk), run.take_messages())
                    state = chunk.snapshot.state if chunk.snapshot else state
            if steps_taken(state) < config.steps:
                run.save()
                raise interrupted(stop.signal, f"at step {steps_taken(state)}")
            summary = run.finish(state, progress.speed())
            files = ", ".join(map(str, run.files_to_open()))
            distributed.print_lines(*run.take_messages(), f"done: {files}")
        if more and should_stop():
            raise interrupted(stop.signal, "before the next program")
        return summary


def interrupted(number: int | None, where: str) -> Interrupted:
    """Returns the error of a run that a signal, or a failure to write, stopped somewhere."""
    message = f"stopped {where}: the same command continues from there"
    return Interrupted(number or signal.SIGTERM, message)


def load_dataset(config: Config) -> tuple:
    """Returns the data set and remarks on it.

    The first process loads it first, and downloads and prepares it if necessary. The others find
    the result if they share the directory.
    """
    from jaxgan import data
    from jaxgan.parallel import distributed

    check_same_settings(config)

    def load():
        opened = data.open_data(config)
        return opened.load(None), opened.remarks

    dataset, remarks = distributed.on_first(load) or load()
    distributed.check_same("data", dataset.fingerprint)
    return dataset, remarks


def check_same_settings(config: Config) -> None:
    """Raises `UsageError` unless all processes of the run have the same settings."""
    from jaxgan.parallel.distributed import check_same

    own = {"process_id", "coordinator", "data_dir", "data_file"}
    for field in dataclasses.fields(config):
        if field.name not in own:
            check_same("--" + field.name.replace("_", "-"), repr(getattr(config, field.name)))


def build_program(config: Config, dataset):
    """Returns the `Program` of a run. Raises `UsageError` for settings that do not fit the data."""
    from jaxgan.parallel.chunks import make_program
    from jaxgan.parallel.layout import make_layout
    from jaxgan.parallel.members import for_members
    from jaxgan.runs.axes import names_of
    from jaxgan.runs.build import build_gan, samples_per_picture
    from jaxgan.runs.build_optimizers import images_per_step

    names, together = names_of(config), config.pack * config.accumulate
    layout = make_layout(names and len(names), config.devices, config.batch_size, together)
    layout = layout._replace(member_batch=config.member_batch)
    images = images_per_step(config)
    dataset.check_size(images)
    gan = for_members(functools.partial(build_gan, config, dataset))
    return make_program(gan, layout, images, samples_per_picture(config, dataset))


def place(program, key, state, dataset, steps: range) -> tuple:
    """Returns key, state and data for `train_chunks`; of data on disk, a reader of the steps."""
    if not dataset.on_disk:
        return program.layout.place(key, state, dataset)
    reader = program.layout.make_reader(dataset, key, steps, program.images_per_step)
    return *program.layout.place(key, state, None)[:2], reader


def make_score(description) -> Callable[[dict], dict[str, float]] | None:
    """Returns the function that evaluates generators during training, if a run asks for that."""
    if not description.config.evaluate_every:
        return None
    from jaxgan.evaluation.selection import make_score

    return make_score(description)


def restore(run, program, key, config: Config) -> tuple:
    """Returns the state that a run continues from, and the number of steps that it has taken.

    key: as in `make_initial_state`.
    Raises `UsageError` if the run has taken more steps than it is asked for.
    """
    from jaxgan.parallel import distributed
    from jaxgan.parallel.chunks import steps_taken
    from jaxgan.runs.initial_state import make_initial_state

    state = run.restore(program.init.eval_shape(key))
    if state is None:
        start = make_initial_state(run.description, program.init, key)
        run.messages.extend(filter(None, [start.remark]))
        return start.state, steps_taken(start.state)
    begin = steps_taken(state)
    if begin > config.steps:
        distributed.print_lines(*run.take_messages())
        raise UsageError(
            f"the run in {run.path} has already taken {begin} steps, more than --steps "
            f"{config.steps}: set --steps to at least {begin}, or start again with --overwrite"
        )
    if run.lacks_generator(state):
        placed_key, placed_state, _ = program.layout.place(key, state, None)
        run.restore_generator(state, program.averaged(placed_key, placed_state))
    return state, begin


def make_plan(config: Config, program, arguments: tuple, begin: int):
    """Returns the `Plan` of a run that continues after `begin` steps."""
    from jaxgan.parallel.chunks import Plan, default_steps_per_chunk

    return Plan(
        begin=begin,
        steps=config.steps,
        steps_per_chunk=config.steps_per_call or default_steps_per_chunk(program, arguments),
        sample_every=config.sample_every,
        checkpoint_every=config.checkpoint_every,
        evaluate_every=config.evaluate_every,
    )


def set_up_jax(config: Config) -> None:
    """Turns on the compilation cache and joins the processes of the run.

    With --deterministic, it asks XLA for exactly repeatable results on a GPU.
    """
    several = config.distributed or config.coordinator is not None
    flags = os.environ.get("XLA_FLAGS", "").split()
    if config.deterministic and (exact := "--xla_gpu_deterministic_ops=true") not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, exact])
    if several:  # The errors of XLA's connections also arrive as exceptions.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    enable_compilation_cache()
    if several:
        from jaxgan.parallel import connection

        connection.start(config.coordinator, config.num_processes, config.process_id)


def command() -> int:
    """Runs the command line and returns its exit status."""
    if "--recipes" in sys.argv[1:]:
        with robust_output():
            print(recipes.format_table())
        return 0
    return run_command(
        Config,
        main,
        "python -m jaxgan.train",
        groups=GROUPS,
        choose_defaults=recipes.choose_defaults,
    )


if __name__ == "__main__":
    sys.exit(command())
