"""Plain `nn.BatchNorm`, told from outside how to count: networks need to know nothing of it."""

import flax.linen as nn
import jax


def override_batch_norm(**attributes):
    """Returns an interceptor of Flax's methods that gives every `nn.BatchNorm` these attributes.

    For `nn.intercept_methods`. An axis that the network's author named is left as it is.
    """

    def interceptor(call, args, kwargs, context):
        module = context.module
        if not isinstance(module, nn.BatchNorm):
            return call(*args, **kwargs)
        changed = {k: v for k, v in attributes.items() if k != "axis_name" or not module.axis_name}
        before = {name: getattr(module, name) for name in changed}
        # Flax's modules are frozen; a clone would be another module, with parameters of its own.
        for name, value in changed.items():
            object.__setattr__(module, name, value)
        try:
            return call(*args, **kwargs)
        finally:
            for name, value in before.items():
                object.__setattr__(module, name, value)

    return interceptor


def find_running_statistics(stats: dict) -> list[bool]:
    """Returns of each leaf of Flax's collections whether it is a running mean or variance.

    Those are of batch norms, which read them only where they do not train.
    """
    leaves = jax.tree.flatten_with_path(stats)[0]
    places = ([entry.key for entry in path] for path, _ in leaves)
    return [place[0] == "batch_stats" and place[-1] in ("mean", "var") for place in places]
