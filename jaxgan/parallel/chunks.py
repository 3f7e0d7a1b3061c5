"""The training of a run in chunks: each chunk is one call of a compiled program of many steps."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxgan.data.prefetch import Reader
from jaxgan.errors import ReadError, UsageError
from jaxgan.gan import GAN, GANState, Metrics
from jaxgan.memory import format_bytes, memory_of_device
from jaxgan.parallel.distributed import process_count
from jaxgan.parallel.layout import Layout
from jaxgan.parallel.members import Member
from jaxgan.parallel.operations import count_operations
from jaxgan.parallel.transforms import over_members, scan_steps
from jaxgan.trees import non_finite_leaves

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS_PER_CHUNK = 1.0
COPIES = 3
"""The number of copies of a state that there are at least: with gradients, and one to be saved."""
RATES = {"cpu": 8e10, "gpu": 5e12}
"""Floating-point operations per second that a step reaches at least, by platform."""


class Program(NamedTuple):
    """What a run computes, as functions that are jitted for its layout.

    images_per_step: the number of real images of a step, `d_steps` times the batch size.
    init: `key -> state`. sample: `(key, state) -> images`. averaged: `(key, state) -> variables` of
    the averaged generator. snapshot: `(key, state) -> Snapshot`. to_host: copies of arrays that
    this process can read. None of the five waits for its results, and no later call overwrites
    them.
    """

    gan: GAN
    layout: Layout
    images_per_step: int
    init: Callable
    sample: Callable
    averaged: Callable
    snapshot: Callable
    to_host: Callable


def make_program(gan: GAN, layout: Layout, images_per_step: int, num_samples: int) -> Program:
    """Returns the program of a run. num_samples: the number of samples of a picture."""
    averaged = layout.map_members(gan.averaged)
    # A member among several is frozen before its state becomes non-finite.
    find = non_finite_leaves if layout.members is None else lambda state: {}
    return Program(
        gan=gan,
        layout=layout,
        images_per_step=images_per_step,
        init=jax.jit(layout.map_members(gan.init)),
        sample=layout.jit_to_host(
            layout.map_members(functools.partial(gan.sample, num_samples=num_samples))
        ),
        averaged=layout.jit_to_host(averaged),
        snapshot=layout.jit_to_host(
            lambda key, state: Snapshot(state, averaged(key, state), find(state))
        ),
        to_host=layout.jit_to_host(),
    )


class Snapshot(NamedTuple):
    """A copy of a state that no later call overwrites.

    generator: the variables of the averaged generator. non_finite: by the path of a leaf, whether
    it holds a value that is not finite; empty with several members.
    """

    state: GANState
    generator: dict
    non_finite: dict[str, jax.Array]


class Chunk(NamedTuple):
    """The results of one call, which may still be computing: nothing was fetched yet.

    With several members every array has a leading axis, with one entry for each of them.

    first, last: numbers of the chunk's steps, counted from 1. metrics: arrays `[last - first + 1]`.
    taken: the number of steps that the state has taken, a scalar; below `last` if it was frozen.
    images: samples after the last step, if a picture is due. snapshot: the state after the last
    step, if a checkpoint is due. generator: the variables of the averaged generator, if an
    evaluation is due.
    """

    first: int
    last: int
    metrics: Metrics
    taken: jax.Array
    images: jax.Array | None = None
    snapshot: Snapshot | None = None
    generator: dict | None = None


class Plan(NamedTuple):
    """When to do what, in steps. `begin` steps were taken before."""

    begin: int
    steps: int
    steps_per_chunk: int
    sample_every: int
    checkpoint_every: int
    evaluate_every: int | None = None

    def end_of_chunk(self, done: int) -> int:
        """Returns the last step of the chunk that begins after `done` steps."""
        every = (self.sample_every, self.checkpoint_every, self.evaluate_every)
        due = ((done // n + 1) * n for n in every if n)
        return min(self.steps, done + self.steps_per_chunk, *due)


def train_chunks(
    program: Program, arguments: tuple, plan: Plan, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Chunk]:
    """Yields the chunks of a run, each one after the next one was launched.

    So the device never waits for the code that fetches results. Once `should_stop` returns True,
    the chunk that is being computed is the last one and has a snapshot.

    arguments: key, state and data, as `Layout.place` returns them. The data are a data set or, if
    it lies on disk, a `Reader` of the rows of the steps. The state is donated.
    Raises `ReadError` for rows that cannot be read, after the chunk before them or, in a run of
    several processes, at once.
    """
    key, state, data = arguments
    on_disk, failure = isinstance(data, Reader), None
    compile_steps = functools.cache(
        lambda length: program.layout.compile_steps(
            program.gan, program.images_per_step, length, on_disk
        )
    )
    done, pending = plan.begin, None
    try:
        while done < plan.steps and not should_stop():
            end = plan.end_of_chunk(done)
            try:
                rows = program.layout.place_rows(data.read(done, end)) if on_disk else data
            except ReadError as error:
                if process_count() > 1:  # The others wait for this chunk: none can be saved.
                    raise
                failure = error
                break
            state, metrics = compile_steps(end - done)(key, state, rows)
            chunk = Chunk(done + 1, end, *program.to_host((metrics, state.step)))
            if end % plan.sample_every == 0 or end == plan.steps:
                chunk = chunk._replace(images=program.sample(key, state))
            if end % plan.checkpoint_every == 0 or end == plan.steps:
                chunk = chunk._replace(snapshot=program.snapshot(key, state))
            if plan.evaluate_every and end % plan.evaluate_every == 0:
                chunk = chunk._replace(generator=program.averaged(key, state))
            if pending:
                yield pending
            done, pending = end, chunk
        if pending:
            if pending.snapshot is None:
                pending = pending._replace(snapshot=program.snapshot(key, state))
            yield pending
        if failure is not None:
            raise failure
    finally:
        if on_disk:
            data.close()


def steps_taken(state: GANState) -> int:
    """Returns the number of steps that a run has taken; with several members, the largest one."""
    return int(np.max(state.step))


def check_memory(program: Program, key: jax.Array | Member) -> None:
    """Raises `UsageError` if the states of several members alone are too large for the devices.

    key: the keys of the members.
    """
    layout = program.layout
    if layout.members is None:
        return
    state = program.init.eval_shape(key)
    size = COPIES * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if jax.default_backend() != "cpu":  # Several devices of one CPU share its memory.
        size //= len(layout.devices)
    if size > (memory := memory_of_device()):
        raise UsageError(
            f"{layout.members} members need at least {format_bytes(size)} of memory, more than the "
            f"{format_bytes(memory)} of the device: choose fewer, or smaller networks"
        )


def default_steps_per_chunk(program: Program, arguments: tuple) -> int:
    """Returns the number of steps that take about `SECONDS_PER_CHUNK`, from their operations.

    With fewer, the device would wait for Python; with more, Ctrl-C would be slow to respond.
    """
    key, state, data = arguments
    train = scan_steps(program.gan, program.images_per_step, 1)
    on_disk, longest = isinstance(data, Reader), LENGTHS[-1]
    if on_disk:
        data, longest = data.example(program.layout.members), data.steps_at_once
    if program.layout.members is not None:
        train = over_members(train, on_disk)
    count = count_operations(jax.make_jaxpr(train)(key, state, data).jaxpr)
    platform = jax.default_backend()
    rate = RATES.get(platform, RATES["gpu"])
    if platform != "cpu":  # Several devices of one CPU share its cores.
        rate *= max(len(program.layout.devices), 1)
    affordable = SECONDS_PER_CHUNK * rate / max(count, 1)
    return max(length for length in LENGTHS if length <= max(min(affordable, longest), 1))
