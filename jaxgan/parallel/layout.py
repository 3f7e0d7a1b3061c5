"""The devices and members of a run: where each program computes and where its arguments lie."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan.data.arrays import Examples
from jaxgan.data.prefetch import Prefetched, Reader
from jaxgan.devices import AXIS
from jaxgan.errors import UsageError
from jaxgan.gan import GAN, GANState
from jaxgan.keys import key_of_seed
from jaxgan.parallel.members import Member, key_of
from jaxgan.parallel.transforms import (
    COMPILER_OPTIONS,
    MEMBERS,
    freeze_where_diverged,
    local_devices,
    members_over_devices,
    over_devices,
    over_members,
    scan_steps,
)


class Layout(NamedTuple):
    """The members and devices of a run.

    members: the number of those that are trained by one program, such as seeds; None for a single
        run without a leading axis.
    devices: of all processes. The members are distributed over them; a single run splits each
        batch.
    member_batch: number of members that a device computes at a time, None for all.
    """

    members: int | None = None
    devices: tuple[jax.Device, ...] = ()
    member_batch: int | None = None

    def map_members(self, function: Callable) -> Callable:
        """Returns a function of one member's arguments as a function of those of all members."""
        if self.members is None or self.member_batch is None:
            return function if self.members is None else jax.vmap(function)
        return lambda *arguments: jax.lax.map(
            lambda own: function(*own), arguments, batch_size=self.member_batch
        )

    def compile_steps(
        self, gan: GAN, images_per_step: int, length: int, prefetched: bool = False
    ) -> Callable:
        """Returns `scan_steps` for this layout, jitted, with the state donated.

        prefetched: whether the data of a call are the `Prefetched` rows of its steps.
        Of several members, one that diverges is frozen.
        """
        if self.members is not None:
            gan = freeze_where_diverged(gan)
        train = scan_steps(gan, images_per_step, length)
        split = len(self.devices) > 1
        if split and self.members is None:
            return over_devices(train, self.devices, prefetched)
        if self.members is not None and split:
            train = members_over_devices(train, self.devices, prefetched, self.member_batch)
        elif self.members is not None:
            train = over_members(train, prefetched, self.member_batch)
        options = COMPILER_OPTIONS.get(jax.default_backend())
        return jax.jit(train, donate_argnums=1, compiler_options=options)

    def place(self, key: jax.Array | Member, state: GANState, dataset) -> tuple:
        """Returns the arguments of a compiled function on the devices where it expects them.

        Every process passes them complete, and the same. key: as in `scan_steps`.
        """
        if len(self.devices) < 2:
            return jax.device_put((key, state, dataset))
        if self.members is None:
            mesh = Mesh(np.array(local_devices(self.devices)), AXIS)
            return jax.device_put((key, state, dataset), NamedSharding(mesh, P()))
        mesh = Mesh(np.array(self.devices), MEMBERS)
        each, whole = NamedSharding(mesh, P(MEMBERS)), NamedSharding(mesh, P())
        implementation = jax.random.key_impl(key_of(key))

        def with_keys(bits, numbers, *rest):
            keys = jax.random.wrap_key_data(bits, impl=implementation)
            return (keys if numbers is None else Member(keys, numbers), *rest)

        # Only NumPy arrays, as arguments of a jitted function, reach devices of other processes.
        place = jax.jit(with_keys, out_shardings=(each, each, whole))
        numbers = key.numbers if isinstance(key, Member) else None
        arguments = (jax.random.key_data(key_of(key)), numbers, state, dataset)
        return place(*jax.tree.map(np.asarray, arguments))

    def make_reader(
        self, dataset: Examples, key: jax.Array | Member, steps: range, size: int
    ) -> Reader:
        """Returns a reader of the rows that this process needs for some steps of a run.

        key: of the run or, with several members, their keys. size: number of examples of a step.
        """
        key = key_of(key)
        if self.members is None and len(self.devices) > 1:
            count, own = len(self.devices), local_devices(self.devices)
            parts = [(self.devices.index(device), count) for device in own]
            return Reader(dataset, [key], steps, size, parts)
        if self.members is None:
            return Reader(dataset, [key], steps, size)
        each = self.members // len(self.devices)
        own = [
            key[i * each + j]
            for i, device in enumerate(self.devices)
            if device.process_index == jax.process_index()
            for j in range(each)
        ]
        return Reader(dataset, own, steps, size)

    def place_rows(self, rows: Prefetched) -> Prefetched:
        """Returns rows that a reader of this layout read, on the devices that need them."""
        if len(self.devices) < 2:
            return jax.device_put(rows)
        if self.members is None:
            mesh = Mesh(np.array(local_devices(self.devices)), AXIS)
            return jax.device_put(rows, NamedSharding(mesh, P(AXIS)))
        sharding = NamedSharding(Mesh(np.array(self.devices), MEMBERS), P(MEMBERS))
        place = lambda each: jax.make_array_from_process_local_data(sharding, np.asarray(each))
        return jax.tree.map(place, rows)

    def jit_to_host(self, function: Callable = lambda tree: tree) -> Callable:
        """Returns the function, jitted, with results that this process can read completely.

        The results are copies that no later call overwrites. The function does not wait for them.
        """
        alone = jax.process_count() == 1 or self.members is None
        sharding = None if alone else NamedSharding(Mesh(np.array(self.devices), MEMBERS), P())
        return jax.jit(
            lambda *args: jax.tree.map(jnp.copy, function(*args)), out_shardings=sharding
        )


def make_layout(
    members: int | None, devices: int | Literal["all"], batch_size: int, pack: int = 1
) -> Layout:
    """Returns the layout of a run over a number of devices of each process.

    members: the number of those trained at once; None for a single run. batch_size: real images of
    a discriminator update; `pack` of them stay on one device.
    Raises `UsageError` for members or batches that cannot be divided among the devices.
    """
    local = jax.local_devices()
    count = len(local) if devices == "all" else devices
    if count > len(local):
        kind = local[0].platform.upper()
        hint = "; set JAX_NUM_CPU_DEVICES to split one CPU into several" if kind == "CPU" else ""
        raise UsageError(f"--devices {count}: there are {len(local)} here ({kind}){hint}")
    chosen = tuple(
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[:count]
    )
    what, amount, parts = f"--batch-size {batch_size}", batch_size, len(chosen) * pack
    if members is not None:
        what = f"{members} members (--seeds, and settings with several values)"
        amount, parts = members, len(chosen)
    if amount % parts:
        raise UsageError(
            f"{what} cannot be divided among {len(chosen)} devices: choose a multiple of {parts}"
        )
    return Layout(members, chosen)


def make_keys(seed: int, layout: Layout) -> jax.Array:
    """Returns the key of a run or, with several seeds, the keys `[seeds]` from `seed` on."""
    if layout.members is None:
        return key_of_seed(seed)
    return jax.vmap(key_of_seed)(jnp.uint32(seed) + jnp.arange(layout.members, dtype=jnp.uint32))
