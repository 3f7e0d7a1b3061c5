"""Schedules: settings that change during a run, as functions from the step to a number."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.Array], jax.Array]


def is_off(value: float | Schedule | jax.Array) -> bool:
    """Returns whether a setting is the number 0, not a schedule or an array, of any value."""
    return isinstance(value, int | float) and value == 0


def at(value: float | Schedule, step: jax.Array) -> float | jax.Array:
    """Returns the value of a number or a schedule at a step."""
    return value(step) if callable(value) else value


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Returns the schedule that follows half a cosine from `start` to `end` and then is constant.

    R3GAN uses it for all settings that change during its burn-in (Huang et al. 2024, appendix D).
    """
    share = optax.cosine_decay_schedule(1.0, steps)
    return lambda step: end + (start - end) * share(step)


SCHEDULES = {"cosine": cosine, "linear": optax.linear_schedule}
"""Schedules by name, functions of `(start, end, steps)`."""


def decaying(value: float | Schedule, share: Schedule) -> Schedule:
    """Returns the schedule of a number or a schedule times a share that depends on the step."""
    return lambda step: at(value, step) * share(step)


def ema_decay(
    half_life: float | Schedule, images_per_step: int, warm_up: float | None = None
) -> Schedule:
    """Returns the decay of an exponential moving average with a half-life in images.

    half_life: a number or a schedule of the step; 0 for no averaging.
    warm_up: upper limit of the half-life as a fraction of the images seen so far, so that the
        average forgets the untrained generators (Karras et al. 2020, StyleGAN2-ADA: 0.05).
    """

    def decay(step: jax.Array) -> jax.Array:
        images = jnp.asarray(at(half_life, step), jnp.float32)
        if warm_up is not None:
            images = jnp.minimum(images, warm_up * images_per_step * (step + 1))
        # Below this limit, 0.5 ** (images_per_step / images) is zero in float32.
        return 0.5 ** (images_per_step / jnp.maximum(images, images_per_step / 150))

    return decay
