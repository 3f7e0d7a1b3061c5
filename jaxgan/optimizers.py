"""Optax transformations as GANs use them."""

import jax
import jax.numpy as jnp
import optax

from jaxgan.schedules import Schedule


def adam(
    learning_rate: float | Schedule = 2e-4, b1: float = 0.5, b2: float | Schedule = 0.999
) -> optax.GradientTransformation:
    """Returns Adam with the momentum that GANs are trained with (Radford et al. 2016).

    learning_rate, b2: numbers, or schedules of how many updates were made.
    """
    if callable(learning_rate) or callable(b2):
        return optax.inject_hyperparams(optax.adam, static_args=("b1",))(
            learning_rate, b1=b1, b2=b2
        )
    return optax.adam(learning_rate, b1=b1, b2=b2)


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Returns the transformation after which no parameter is larger than `limit` (WGAN).

    It comes last in an `optax.chain`, for it looks at where the updates would lead.
    Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1, with a limit of 0.01.
    """

    def clipped(update: jax.Array, param: jax.Array) -> jax.Array:
        return jnp.clip(param + update, -limit, limit) - param

    return optax.stateless(lambda updates, params: jax.tree.map(clipped, updates, params))
