"""Ways to run the step."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.gan import GAN, GANState, Metrics, non_finite

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

    def run(key: jax.Array, state, dataset):
        def body(state, _):
            return gan.step(key, state, dataset.batch(key, state.step, batch_size))

        return lax.scan(body, state, length=length)

    return run


class Call(NamedTuple):
    """One call of the device, perhaps still under way: what it computed, not yet fetched.

    first, last: numbers of its steps, counted from 1. metrics: arrays `[last - first + 1]`.
    images: samples after the last step. snapshot: `(state, bad)`, a copy of the state that nothing
    donates and which of its leaves are not finite. The latter two are None unless asked for.
    """

    first: int
    last: int
    metrics: Metrics
    images: jax.Array | None
    snapshot: tuple[GANState, dict] | None


class Plan(NamedTuple):
    """When to do what, in steps."""

    steps: int
    steps_per_call: int
    sample_every: int
    checkpoint_every: int

    def end_of_call(self, done: int) -> int:
        """Returns the step at which the call that begins after `done` steps ends."""
        due = ((done // n + 1) * n for n in (self.sample_every, self.checkpoint_every))
        return min(self.steps, done + self.steps_per_call, *due)


def calls(
    gan: GAN,
    key: jax.Array,
    state: GANState,
    dataset,
    batch_size: int,
    num_samples: int,
    plan: Plan,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Call]:
    """Yields the calls of a run from its state on, each when the next one has been launched.

    So the device never waits for whoever fetches the results. The state is donated. Once `stopping`
    returns True the call under way is the last, and the state after it is in its snapshot.
    """
    compiled = functools.cache(lambda length: compile_scanned(gan, batch_size, length))
    sample = jax.jit(gan.sample, static_argnums=2)
    snapshot = jax.jit(lambda state: (jax.tree.map(jnp.copy, state), non_finite(state)))
    done, pending = int(state.step), None
    while done < plan.steps and not stopping():
        end = plan.end_of_call(done)
        state, metrics = compiled(end - done)(key, state, dataset)
        call = Call(done + 1, end, metrics, None, None)
        if end % plan.sample_every == 0 or end == plan.steps:
            call = call._replace(images=sample(key, state, num_samples))
        if end % plan.checkpoint_every == 0 or end == plan.steps:
            call = call._replace(snapshot=snapshot(state))
        if pending:
            yield pending
        done, pending = end, call
    if pending:
        if pending.snapshot is None:
            pending = pending._replace(snapshot=snapshot(state))
        yield pending


def compile_scanned(gan: GAN, batch_size: int, length: int) -> Callable:
    """Returns `scanned`, jitted, with its state donated."""
    return jax.jit(
        scanned(gan, batch_size, length),
        donate_argnums=1,
        compiler_options=COMPILER_OPTIONS.get(jax.default_backend()),
    )


def default_steps_per_call(
    gan: GAN, key: jax.Array, state: GANState, dataset, batch_size: int
) -> int:
    """Returns how many steps take about `SECONDS_PER_CALL`, by the operations that a step counts.

    Fewer would leave the device waiting for Python; more would make Ctrl-C slow to answer.
    """
    lowered = jax.jit(scanned(gan, batch_size, 1)).lower(key, state, dataset)
    flops = (lowered.cost_analysis() or {}).get("flops", 0.0)
    affordable = SECONDS_PER_CALL * RATES.get(jax.default_backend(), RATES["gpu"]) / max(flops, 1.0)
    return max(length for length in LENGTHS if length <= max(affordable, 1))
