"""Attributes of `nn.BatchNorm` that are set from outside, without code in the networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def override_batch_norm(**attributes):
    """Returns an interceptor for `nn.intercept_methods` that sets attributes of all `nn.BatchNorm`.

    An `axis_name` that a network sets itself is not changed.
    """

    def interceptor(call, args, kwargs, context):
        module = context.module
        if not isinstance(module, nn.BatchNorm):
            return call(*args, **kwargs)
        changed = {k: v for k, v in attributes.items() if k != "axis_name" or not module.axis_name}
        before = {name: getattr(module, name) for name in changed}
        # Flax modules are frozen, and a clone would be another module with its own parameters.
        for name, value in changed.items():
            object.__setattr__(module, name, value)
        try:
            return call(*args, **kwargs)
        finally:
            for name, value in before.items():
                object.__setattr__(module, name, value)

    return interceptor


def find_running_statistics(stats: dict) -> list[bool]:
    """Returns for each leaf of the Flax collections whether it is a running mean or variance.

    Batch norm reads these statistics only outside of training.
    """
    leaves = jax.tree.flatten_with_path(stats)[0]
    places = ([entry.key for entry in path] for path, _ in leaves)
    return [place[0] == "batch_stats" and place[-1] in ("mean", "var") for place in places]


def mean_of_statistics(a: dict, b: dict) -> dict:
    """Returns the means of two trees' leaves; of leaves that are not floating-point, the first."""
    floating = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.tree.map(lambda x, y: (x + y) / 2 if floating(x) else x, a, b)
