"""Settings that change during a run, as functions of its step: numbers in, numbers out."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.Array], jax.Array]


def at(value: float | Schedule, step: jax.Array) -> float | jax.Array:
    """Returns what a number, or a schedule, is at a step."""
    return value(step) if callable(value) else value


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Returns the schedule that follows half a cosine from `start` to `end`, and stays there.

    That of R3GAN's burn-in, for every setting of it (Huang et al. 2024, appendix D).
    """
    share = optax.cosine_decay_schedule(1.0, steps)
    return lambda step: end + (start - end) * share(step)


SCHEDULES = {"cosine": cosine, "linear": optax.linear_schedule}
"""By name: functions of `(start, end, steps)`."""


def ema_decay(
    half_life: float | Schedule, images_per_step: int, warm_up: float | None = None
) -> Schedule:
    """Returns the decay of an average whose weights halve every `half_life` images.

    half_life: a number, or a schedule of the step; 0 for no average at all.
    warm_up: the half-life is at most this share of the images seen so far, so that the average
        forgets the first, untrained generators (Karras et al. 2020, StyleGAN2-ADA: 0.05).
    """

    def decay(step: jax.Array) -> jax.Array:
        images = jnp.asarray(at(half_life, step), jnp.float32)
        if warm_up is not None:
            images = jnp.minimum(images, warm_up * images_per_step * (step + 1))
        # Below, 0.5 ** (images_per_step / images) is zero to the last bit.
        return 0.5 ** (images_per_step / jnp.maximum(images, images_per_step / 150))

    return decay
