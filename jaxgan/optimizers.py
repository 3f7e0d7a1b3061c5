"""Optax transformations for GANs."""

import jax
import jax.numpy as jnp
import optax

from jaxgan.schedules import Schedule


def adam(
    learning_rate: float | Schedule = 2e-4, b1: float = 0.5, b2: float | Schedule = 0.999
) -> optax.GradientTransformation:
    """Returns Adam with the learning rate and momentum of DCGAN by default (Radford et al. 2016).

    learning_rate, b2: numbers, or schedules of the number of updates.
    """
    if callable(learning_rate) or callable(b2):
        return optax.inject_hyperparams(optax.adam, static_args=("b1",))(
            learning_rate, b1=b1, b2=b2
        )
    return optax.adam(learning_rate, b1=b1, b2=b2)


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Returns the transformation that clips parameters to [-limit, limit] after the update.

    It must be the last one in an `optax.chain`, because it depends on the final updates.
    Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1, with a limit of 0.01.
    """

    def clipped(update: jax.Array, param: jax.Array) -> jax.Array:
        return jnp.clip(param + update, -limit, limit) - param

    return optax.stateless(lambda updates, params: jax.tree.map(clipped, updates, params))
