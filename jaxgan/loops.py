"""Ways to run the step: many steps in one call, over many seeds, over many devices."""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.multihost_utils import (
    global_array_to_host_local_array,
    host_local_array_to_global_array,
)
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan.devices import AXIS, own_rows
from jaxgan.errors import UsageError
from jaxgan.gan import GAN, GANState, Metrics, non_finite
from jaxgan.keys import key_of_seed
from jaxgan.operations import operations

SEEDS = "seeds"
LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS_PER_CALL = 1.0
COMPILER_OPTIONS = {"cpu": {"xla_cpu_copy_insertion_use_region_analysis": True}}
"""By platform. On a CPU the scan otherwise copies every weight matrix in each of its steps."""
RATES = {"cpu": 8e10, "gpu": 5e12}
"""Floating-point operations a second that a step at least reaches, by platform."""


def scanned(gan: GAN, batch_size: int, length: int) -> Callable:
    """Returns `(key, state, dataset) -> (state, metrics)`: `length` steps, metrics `[length]` each.

    batch_size: real images a step, which is `d_steps` times the batch of one discriminator update.
    The batch of a step is computed from the key and the step's number, inside the scan.
    """

    def train(key: jax.Array, state: GANState, dataset):
        def body(state, _):
            batch = jax.tree.map(own_rows, dataset.batch(key, state.step, batch_size))
            return gan.step(key, state, batch)

        return lax.scan(body, state, length=length)

    return train


def over_seeds(train: Callable) -> Callable:
    """Returns `train` for several seeds at once, all on the same data.

    Keys, states and metrics have a leading axis, with one entry for each seed.
    """
    return jax.vmap(train, in_axes=(0, 0, None))


def over_devices(train: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Returns `train`, compiled, with every batch split over devices and the state donated.

    Key, state and data are whole on each device, and so are the state and the metrics returned.
    In a run of several processes `devices` are those of all, and each gives and gets its own copy.
    It is compiled at the first call, for arguments of the shapes and types that this one has.
    """
    mapped = jax.pmap(
        lambda _, key, state, dataset: train(key, state, dataset),
        axis_name=AXIS,
        in_axes=(0, None, None, None),
        out_axes=None,
        devices=devices,
        donate_argnums=2,
    )
    # One argument has to be mapped, for its length says over how many devices.
    places = np.arange(len(_local(devices)))
    mesh = Mesh(np.array(devices), AXIS)
    several = len(places) < len(devices)  # Processes, each with its own copies of the arguments.
    programs = []

    def compiled(*arguments):
        arguments = (places, *arguments)
        if not programs:  # `pmap` takes no compiler options, what it lowers to does.
            lowered = mapped.lower(*arguments)
            programs.append(lowered.compile(COMPILER_OPTIONS.get(devices[0].platform)))
        if not several:
            return programs[0](*arguments)
        specs = (P(AXIS), P(), P(), P())
        results = programs[0](*host_local_array_to_global_array(arguments, mesh, specs))
        return global_array_to_host_local_array(results, mesh, P())

    compiled.lower = partial(mapped.lower, places)
    return compiled


def seeds_over_devices(train: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Returns `over_seeds(train)` with each device computing its share of the seeds, by itself."""
    # The axis is not `AXIS`: no batch is split.
    return jax.shard_map(
        over_seeds(train),
        mesh=Mesh(np.array(devices), SEEDS),
        in_specs=(P(SEEDS), P(SEEDS), P()),
        out_specs=P(SEEDS),
        check_vma=False,
    )


def frozen_where_diverged(gan: GAN) -> GAN:
    """Returns the GAN whose step leaves a state as it is where anything would not be finite.

    The next step tries the same again and, on the same machine, to the same end: `state.step` does
    not move any more.
    """

    def step(key: jax.Array, state: GANState, batch: jax.Array) -> tuple[GANState, Metrics]:
        new, metrics = gan.step(key, state, batch)
        finite = jnp.isfinite(jnp.stack(metrics)).all()
        finite &= ~jnp.stack(list(non_finite(new).values())).any()
        return jax.tree.map(partial(jnp.where, finite), new, state), metrics

    return gan._replace(step=step)


class Layout(NamedTuple):
    """Where a run computes.

    seeds: how many seeds go side by side, None for one run without a leading axis.
    devices: of all processes; the seeds are shared out over them, or else each batch is split.
    """

    seeds: int | None = None
    devices: tuple[jax.Device, ...] = ()

    def each_seed(self, function: Callable) -> Callable:
        """Returns a function of what each seed has of its own, for all seeds at once."""
        return function if self.seeds is None else jax.vmap(function)

    def compiled(self, gan: GAN, batch_size: int, length: int) -> Callable:
        """Returns `scanned`, laid out and jitted, with its state donated.

        With several seeds, those that diverge are frozen.
        """
        if self.seeds is not None:
            gan = frozen_where_diverged(gan)
        train = scanned(gan, batch_size, length)
        split = len(self.devices) > 1
        if split and self.seeds is None:
            return over_devices(train, self.devices)
        if self.seeds is not None:
            train = seeds_over_devices(train, self.devices) if split else over_seeds(train)
        options = COMPILER_OPTIONS.get(jax.default_backend())
        return jax.jit(train, donate_argnums=1, compiler_options=options)

    def placed(self, key: jax.Array, state: GANState, dataset) -> tuple:
        """Returns the arguments of `compiled`'s function where it wants them.

        They are given whole, the same in every process.
        """
        if len(self.devices) < 2:
            return jax.device_put((key, state, dataset))
        if self.seeds is None:
            mesh = Mesh(np.array(_local(self.devices)), AXIS)
            return jax.device_put((key, state, dataset), NamedSharding(mesh, P()))
        mesh = Mesh(np.array(self.devices), SEEDS)
        each, whole = NamedSharding(mesh, P(SEEDS)), NamedSharding(mesh, P())
        implementation = jax.random.key_impl(key)
        # Other processes' devices take their part only of NumPy's arrays, as arguments of a jit.
        place = jax.jit(
            lambda bits, *rest: (jax.random.wrap_key_data(bits, impl=implementation), *rest),
            out_shardings=(each, each, whole),
        )
        arguments = (jax.random.key_data(key), state, dataset)
        return place(*jax.tree.map(np.asarray, arguments))

    def readable(self, function: Callable = lambda tree: tree) -> Callable:
        """Returns the function, jitted, with results that this process can read whole.

        They are copies, which no later call overwrites, and nobody has waited for them yet.
        """
        alone = jax.process_count() == 1 or self.seeds is None
        sharding = None if alone else NamedSharding(Mesh(np.array(self.devices), SEEDS), P())
        return jax.jit(
            lambda *args: jax.tree.map(jnp.copy, function(*args)), out_shardings=sharding
        )


def laid_out(seeds: int, devices: int | Literal["all"], batch_size: int, pack: int = 1) -> Layout:
    """Returns the layout of `seeds` runs, or one, over so many devices of each process.

    batch_size: real images of a discriminator update, `pack` of which cannot be parted.
    Raises `UsageError` for what cannot be split.
    """
    local = jax.local_devices()
    count = len(local) if devices == "all" else devices
    if count > len(local):
        kind = local[0].platform.upper()
        hint = "; JAX_NUM_CPU_DEVICES makes more of one CPU" if kind == "CPU" else ""
        raise UsageError(f"--devices {count}: there are {len(local)} here ({kind}){hint}")
    chosen = tuple(
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[:count]
    )
    for what, amount, split, parts in (
        ("--seeds", seeds, seeds > 1, len(chosen)),
        ("--batch-size", batch_size, seeds == 1, len(chosen) * pack),
    ):
        if split and amount % parts:
            raise UsageError(
                f"{what} {amount} cannot be divided among {len(chosen)} devices: choose a multiple "
                f"of {parts}"
            )
    return Layout(seeds if seeds > 1 else None, chosen)


def keys(seed: int, layout: Layout) -> jax.Array:
    """Returns the key of a run, or those `[seeds]` of seeds `seed`, `seed + 1` and so on."""
    if layout.seeds is None:
        return key_of_seed(seed)
    return jax.vmap(key_of_seed)(jnp.uint32(seed) + jnp.arange(layout.seeds, dtype=jnp.uint32))


class Snapshot(NamedTuple):
    """A copy of a state, which nothing donates.

    generator: the variables of the averaged generator.
    bad: of a single run, which leaves of the state are not finite; of several seeds, empty.
    """

    state: GANState
    generator: dict
    bad: dict[str, jax.Array]


class Call(NamedTuple):
    """One call of the device, perhaps still under way: what it computed, not yet fetched.

    With several seeds every array has a leading axis, one entry for each of them.

    first, last: numbers of its steps, counted from 1. metrics: arrays `[last - first + 1]`.
    taken: how many steps the state has taken, a scalar; less than `last` once it is frozen.
    images, snapshot: samples and state after the last step; None unless asked for.
    generator: the variables of the averaged generator to be evaluated; None unless asked for.
    """

    first: int
    last: int
    metrics: Metrics
    taken: jax.Array
    images: jax.Array | None = None
    snapshot: Snapshot | None = None
    generator: dict | None = None


class Plan(NamedTuple):
    """When to do what, in steps; `begin` were taken before."""

    begin: int
    steps: int
    steps_per_call: int
    sample_every: int
    checkpoint_every: int
    evaluate_every: int | None = None

    def end_of_call(self, done: int) -> int:
        """Returns the step at which the call that begins after `done` steps ends."""
        every = (self.sample_every, self.checkpoint_every, self.evaluate_every)
        due = ((done // n + 1) * n for n in every if n)
        return min(self.steps, done + self.steps_per_call, *due)


def calls(
    gan: GAN,
    layout: Layout,
    key: jax.Array,
    state: GANState,
    dataset,
    batch_size: int,
    sample: Callable,
    plan: Plan,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Call]:
    """Yields the calls of a run from its state on, each when the next one has been launched.

    So the device never waits for whoever fetches the results. The state is donated. Once `stopping`
    returns True the call under way is the last, and the state after it is in its snapshot.

    key, state, dataset: as `layout.placed` returned them. sample: `(key, state) -> images`.
    """
    compiled = functools.cache(lambda length: layout.compiled(gan, batch_size, length))
    checked = (
        non_finite if layout.seeds is None else lambda state: {}
    )  # Frozen before they are bad.
    averaged = layout.each_seed(gan.averaged)
    generator = layout.readable(averaged)
    snapshot = layout.readable(
        lambda key, state: Snapshot(state, averaged(key, state), checked(state))
    )
    readable = layout.readable()
    done, pending = plan.begin, None
    while done < plan.steps and not stopping():
        end = plan.end_of_call(done)
        state, metrics = compiled(end - done)(key, state, dataset)
        call = Call(done + 1, end, *readable((metrics, state.step)))
        if end % plan.sample_every == 0 or end == plan.steps:
            call = call._replace(images=sample(key, state))
        if end % plan.checkpoint_every == 0 or end == plan.steps:
            call = call._replace(snapshot=snapshot(key, state))
        if plan.evaluate_every and end % plan.evaluate_every == 0:
            call = call._replace(generator=generator(key, state))
        if pending:
            yield pending
        done, pending = end, call
    if pending:
        if pending.snapshot is None:
            pending = pending._replace(snapshot=snapshot(key, state))
        yield pending


def steps_taken(state: GANState) -> int:
    """Returns how many steps a run has taken: of several seeds, those that are not frozen."""
    return int(np.max(state.step))


def default_steps_per_call(
    gan: GAN, layout: Layout, key: jax.Array, state: GANState, dataset, batch_size: int
) -> int:
    """Returns how many steps take about `SECONDS_PER_CALL`, by the operations that a step counts.

    Fewer would leave the device waiting for Python; more would make Ctrl-C slow to answer.
    """
    train = scanned(gan, batch_size, 1)
    if layout.seeds is not None:
        train = over_seeds(train)
    count = operations(jax.make_jaxpr(train)(key, state, dataset).jaxpr)
    platform = jax.default_backend()
    rate = RATES.get(platform, RATES["gpu"])
    if platform != "cpu":  # Several devices of one CPU share its cores.
        rate *= max(len(layout.devices), 1)
    affordable = SECONDS_PER_CALL * rate / max(count, 1)
    return max(length for length in LENGTHS if length <= max(affordable, 1))


def _local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return [device for device in devices if device.process_index == jax.process_index()]
