"""Feedback from the discriminator's overfitting to the probability of augmentations.

Karras et al. 2020, "Training generative adversarial networks with limited data", section 3: the
mean sign of the outputs for real images is 0 for a discriminator that cannot tell them from
generated ones, and 1 for one that remembers them all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.devices import device_count, mean_over_devices


class Feedback(NamedTuple):
    """How the probability follows the mean sign.

    target: of the mean sign; above it, the probability rises, and below it falls. images: number of
    real images in which it can rise from 0 to 1. every: number of steps between its changes.
    """

    target: float = 0.6
    images: int = 500_000
    every: int = 4


class FeedbackState(NamedTuple):
    """The state of the feedback, scalars.

    probability: of each augmentation of an image. signs: sum over the steps since the last change
    of the mean signs of the outputs for real images.
    """

    probability: jax.Array
    signs: jax.Array


def init_feedback() -> FeedbackState:
    """Returns the state of the feedback before the first step: a probability of 0."""
    return FeedbackState(jnp.zeros(()), jnp.zeros(()))


def update_feedback(
    feedback: Feedback | None, state: FeedbackState, real_logits, step: jax.Array, count: int
) -> FeedbackState:
    """Returns the state of the feedback after a step; unchanged without feedback.

    real_logits: outputs for this device's real images of the last discriminator update, and for the
    generated ones that replaced some of them. count: number of its real images in the step.
    """
    if feedback is None:
        return state
    signs = state.signs + mean_over_devices(jnp.sign(real_logits).mean())
    change = device_count() * count * feedback.every / feedback.images
    moved = state.probability + change * jnp.sign(signs / feedback.every - feedback.target)
    due = (step + 1) % feedback.every == 0
    return FeedbackState(
        jnp.where(due, jnp.clip(moved, 0.0, 1.0), state.probability),
        jnp.where(due, 0.0, signs),
    )
