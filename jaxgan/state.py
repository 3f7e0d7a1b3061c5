"""The state of a GAN in training, and the metrics of a step."""

from collections import namedtuple
from typing import Any, NamedTuple

import jax

from jaxgan.players import Player


class GANState(NamedTuple):
    """The state that a step reads and updates.

    ema: exponential moving average of the generator's parameters, None without averaging.
    step: number of steps taken, an int32 scalar.
    loss: state of the loss, such as averages of outputs; `()` for a loss without a state.
    profiles: averages of the generator's parameters with profiles of their own, see
        `jaxgan.profiles`; `()` without any.
    path_length: average path length of the generator, `()` without a penalty on path lengths.
    feedback: state of the feedback to augmentations, `()` without feedback.
    """

    generator: Player
    discriminator: Player
    ema: Any
    step: jax.Array
    loss: Any = ()
    profiles: Any = ()
    path_length: Any = ()
    feedback: Any = ()


class Metrics(NamedTuple):
    """The metrics of a step, all scalars.

    d_loss, g_loss: losses of the players. d_real, d_fake: summaries of the discriminator's outputs
    for real and for generated images, which depend on the loss (`jaxgan.losses.OutputSummary`).
    d_grad_norm, g_grad_norm: global norms of the gradients. d_real_positive, d_fake_positive:
    fractions of real and of generated images with a positive output. The first is close to one if
    the discriminator overfits (Karras et al. 2020, "Training GANs with limited data", section 3.1),
    unless the loss is invariant to a shift of all outputs.
    With several discriminator updates per step, its metrics are from the last one.
    """

    d_loss: jax.Array
    g_loss: jax.Array
    d_real: jax.Array
    d_fake: jax.Array
    d_grad_norm: jax.Array
    g_grad_norm: jax.Array
    d_real_positive: jax.Array
    d_fake_positive: jax.Array


FeedbackMetrics = namedtuple("FeedbackMetrics", (*Metrics._fields, "augment_probability"))
"""`Metrics`, and the probability of augmentations in the step, of a GAN with feedback."""
