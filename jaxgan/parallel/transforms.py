"""Functions from step to program: many steps in one call, many members, many devices."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.multihost_utils import (
    global_array_to_host_local_array,
    host_local_array_to_global_array,
)
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgan.data.prefetch import Prefetched
from jaxgan.devices import AXIS, own_rows
from jaxgan.gan import GAN, GANState, Metrics
from jaxgan.parallel.members import Member, key_of
from jaxgan.trees import non_finite_leaves

MEMBERS = "members"
"""The mesh axis over which members are distributed."""
COMPILER_OPTIONS = {"cpu": {"xla_cpu_copy_insertion_use_region_analysis": True}}
"""By platform. Without this option, a scan on a CPU copies every weight matrix in each step."""


def scan_steps(gan: GAN, images_per_step: int, length: int) -> Callable:
    """Returns `(key, state, dataset) -> (state, metrics)`: `length` steps, metrics `[length]` each.

    images_per_step: the number of real images of a step, `d_steps` times the batch size.
    The batch of a step is computed inside the scan, from the key and the number of the step.
    key: a key or, for a GAN of `jaxgan.parallel.members.for_members`, a `Member`.
    dataset: a data set, or the `Prefetched` rows of these steps, which are a device's own already.
    """

    step = _step_of_scan(gan, images_per_step)

    def train(key: jax.Array | Member, state: GANState, dataset):
        if length == 1:
            return _loop_once(lambda state: step(key, state, dataset), state)
        return lax.scan(lambda state, _: step(key, state, dataset), state, length=length)

    return train


def _loop_once(step: Callable, state: GANState) -> tuple[GANState, Metrics]:
    """Returns what a scan of length 1 returns, from a loop whose length is not known to XLA.

    XLA removes a loop of known length 1 and fuses the step in another way, which rounds otherwise.
    """
    shapes = jax.eval_shape(step, state)[1]
    metrics = jax.tree.map(lambda each: jnp.zeros((1, *each.shape), each.dtype), shapes)
    end = lax.optimization_barrier(jnp.int32(1))

    def body(carry):
        index, state, metrics = carry
        state, new = step(state)
        metrics = jax.tree.map(lambda rows, row: rows.at[index].set(row), metrics, new)
        return index + 1, state, metrics

    return lax.while_loop(lambda carry: carry[0] < end, body, (0, state, metrics))[1:]


@lru_cache(maxsize=2)
def _step_of_scan(gan: GAN, images_per_step: int) -> Callable:
    """Returns `(key, state, dataset) -> (state, metrics)`, traced once for scans of all lengths."""

    def step(key: jax.Array | Member, state: GANState, dataset):
        batch = dataset.batch(key_of(key), state.step, images_per_step)
        if not isinstance(dataset, Prefetched):
            batch = jax.tree.map(own_rows, batch)
        return gan.step(key, state, batch)

    return jax.jit(step, inline=True)


def over_members(
    train: Callable, prefetched: bool = False, member_batch: int | None = None
) -> Callable:
    """Returns `train` for several members, such as seeds, all on the same data.

    Keys, states and metrics have a leading axis, with one entry for each member.
    prefetched: whether the data are `Prefetched` rows, which then have that axis too.
    member_batch: number of members that are computed at a time, by default all.
    """
    together = jax.vmap(train, in_axes=(0, 0, 0 if prefetched else None))
    if member_batch is None:
        return together

    def train_in_turn(key: jax.Array | Member, state: GANState, dataset):
        if prefetched:
            own = key, state, dataset
            return lax.map(lambda each: train(*each), own, batch_size=member_batch)
        return lax.map(lambda each: train(*each, dataset), (key, state), batch_size=member_batch)

    return train_in_turn


def over_devices(
    train: Callable, devices: Sequence[jax.Device], prefetched: bool = False
) -> Callable:
    """Returns `train`, compiled, with every batch split over devices and the state donated.

    Key, state and data are complete on each device, and so are the returned state and metrics.
    prefetched: whether the data are `Prefetched` rows, which then have a leading axis with one
    entry for each device of this process.
    In a run of several processes `devices` are those of all processes, and each process passes and
    receives its own copy. Compilation takes place in the first call, for its shapes and types.
    """
    mapped = jax.pmap(
        lambda _, key, state, dataset: train(key, state, dataset),
        axis_name=AXIS,
        in_axes=(0, None, None, 0 if prefetched else None),
        out_axes=None,
        devices=devices,
        donate_argnums=2,
    )
    # `pmap` takes the number of devices from the length of a mapped argument.
    places = np.arange(len(local_devices(devices)))
    mesh = Mesh(np.array(devices), AXIS)
    several_processes = len(places) < len(devices)
    programs = []

    def compiled(*arguments):
        arguments = (places, *arguments)
        if not programs:  # `pmap` takes no compiler options; its lowered form does.
            lowered = mapped.lower(*arguments)
            programs.append(lowered.compile(COMPILER_OPTIONS.get(devices[0].platform)))
        if not several_processes:
            return programs[0](*arguments)
        specs = (P(AXIS), P(), P(), P(AXIS) if prefetched else P())
        results = programs[0](*host_local_array_to_global_array(arguments, mesh, specs))
        return global_array_to_host_local_array(results, mesh, P())

    compiled.lower = partial(mapped.lower, places)
    return compiled


def members_over_devices(
    train: Callable,
    devices: Sequence[jax.Device],
    prefetched: bool = False,
    member_batch: int | None = None,
) -> Callable:
    """Returns `over_members` with the members distributed over devices."""
    # The axis is not `AXIS`, since no batch is split.
    return jax.shard_map(
        over_members(train, prefetched, member_batch),
        mesh=Mesh(np.array(devices), MEMBERS),
        in_specs=(P(MEMBERS), P(MEMBERS), P(MEMBERS) if prefetched else P()),
        out_specs=P(MEMBERS),
        check_vma=False,
    )


@lru_cache(maxsize=2)
def freeze_where_diverged(gan: GAN) -> GAN:
    """Returns the GAN with a step that leaves the state unchanged if a new value is not finite.

    `state.step` then stops too: the next call repeats the same step with the same outcome.
    """

    def step(
        key: jax.Array | Member, state: GANState, batch: jax.Array
    ) -> tuple[GANState, Metrics]:
        new, metrics = gan.step(key, state, batch)
        finite = jnp.isfinite(jnp.stack(metrics)).all()
        finite &= ~jnp.stack(list(non_finite_leaves(new).values())).any()
        return jax.tree.map(partial(jnp.where, finite), new, state), metrics

    return gan._replace(step=step)


def local_devices(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Returns the devices that belong to this process."""
    return [device for device in devices if device.process_index == jax.process_index()]
