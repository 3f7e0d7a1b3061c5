"""Optax transformations for GANs.

To add an optimizer, add a function `(learning_rate, b1, b2) -> transformation` to `OPTIMIZERS`.
"""

import inspect
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxgan.errors import choose
from jaxgan.schedules import Schedule, is_off


def rmsprop(learning_rate: float, b1: float, b2: float) -> optax.GradientTransformation:
    """Returns RMSProp as in PyTorch: the average has the decay b2, and the momentum is b1."""
    scaled = optax.scale_by_rms(decay=b2, eps_in_sqrt=False)
    momentum = optax.identity() if is_off(b1) else optax.trace(b1)
    return optax.chain(scaled, momentum, optax.scale_by_learning_rate(learning_rate))


def sgd(learning_rate: float, b1: float, b2: float) -> optax.GradientTransformation:
    """Returns stochastic gradient descent with the momentum b1."""
    del b2
    return optax.sgd(learning_rate, momentum=None if is_off(b1) else b1)


OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "rmsprop": rmsprop,
    "sgd": sgd,
    "lion": optax.lion,
}


def make_optimizer(
    name: str,
    learning_rate: float | Schedule,
    b1: float,
    b2: float | Schedule,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Returns an optimizer of `OPTIMIZERS`.

    learning_rate, b2: numbers, or schedules of the number of updates.
    weight_decay: decoupled from the gradient for adamw and lion; the others add it to the gradient.
    Raises `UsageError` for an unknown name.
    """
    make = choose("optimizer", OPTIMIZERS, name)
    decoupled = "weight_decay" in inspect.signature(make).parameters
    settings = {"weight_decay": weight_decay} if decoupled else {}
    if callable(learning_rate) or callable(b2):
        make = optax.inject_hyperparams(make, static_args=("b1",))
    tx = make(learning_rate, b1=b1, b2=b2, **settings)
    if not (decoupled or is_off(weight_decay)):
        tx = optax.chain(optax.add_decayed_weights(weight_decay), tx)
    return tx


def adam(
    learning_rate: float | Schedule = 2e-4, b1: float = 0.5, b2: float | Schedule = 0.999
) -> optax.GradientTransformation:
    """Returns Adam with the learning rate and momentum of DCGAN by default (Radford et al. 2016).

    learning_rate, b2: numbers, or schedules of the number of updates.
    """
    return make_optimizer("adam", learning_rate, b1, b2)


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Returns the transformation that clips parameters to [-limit, limit] after the update.

    It must be the last one in an `optax.chain`, because it depends on the final updates.
    Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1, with a limit of 0.01.
    """

    def clipped(update: jax.Array, param: jax.Array) -> jax.Array:
        return jnp.clip(param + update, -limit, limit) - param

    return optax.stateless(lambda updates, params: jax.tree.map(clipped, updates, params))


def orthogonal_regularization(weight: float) -> optax.GradientTransformation:
    """Returns the transformation that adds the gradient of a penalty on similar filters.

    The penalty is weight times the sum of the squared scalar products of different filters of each
    kernel (Brock et al. 2019, "Large scale GAN training", eq. 3). It must come before the optimizer
    in an `optax.chain`.
    """

    def penalty(kernel: jax.Array) -> jax.Array:
        filters = kernel.reshape(-1, kernel.shape[-1])
        products = filters.T @ filters
        return weight * jnp.square(products - jnp.diag(jnp.diagonal(products))).sum()

    def add_gradient(path, grad: jax.Array, param: jax.Array) -> jax.Array:
        return grad + jax.grad(penalty)(param) if path[-1].key == "kernel" else grad

    return optax.stateless(
        lambda grads, params: jax.tree.map_with_path(add_gradient, grads, params)
    )


def freeze(names: Sequence[str]) -> optax.GradientTransformation:
    """Returns the transformation that leaves the parameters of some layers as they are.

    names: of the layers, keys of the parameters. It must be the last one in an `optax.chain`.
    """
    frozen = lambda params: {name: name in names for name in params}
    return optax.masked(optax.set_to_zero(), frozen)
