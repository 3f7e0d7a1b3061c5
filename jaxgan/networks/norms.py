"""Normalization of activations and of weights, as an option of every network."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError

NORMS = ("none", "batch", "layer", "instance", "spectral")
"""The names of norms. "spectral" acts on weights, and the others on activations."""


def normalize(
    x: jax.Array,
    norm: str,
    train: bool,
    labels: jax.Array | None = None,
    num_classes: int | None = None,
    scale_init: Callable = nn.initializers.ones,
) -> jax.Array:
    """Returns normalized activations `[n, ..., c]`, in their type; unchanged without such a norm.

    Must be called in an `nn.compact` method. Statistics are those of the batch ("batch": Ioffe and
    Szegedy 2015; running averages if not `train`), of an example ("layer": Ba et al. 2016), or of a
    channel of an example ("instance": Ulyanov et al. 2016).
    labels: `[n]`, for a scale and an offset of each class, as in conditional batch norm (Dumoulin
    et al. 2017); else every class has the same.
    Raises `UsageError` for an instance norm of activations that are not images, and for labels
    without a norm of activations.
    """
    affine = {"use_scale": labels is None, "use_bias": labels is None, "dtype": x.dtype}
    if labels is None:
        affine["scale_init"] = scale_init
    match norm:
        case "batch":
            layer = nn.BatchNorm(use_running_average=not train, momentum=0.9, **affine)
        case "layer":
            axes = tuple(range(1, x.ndim))
            layer = nn.LayerNorm(reduction_axes=axes, feature_axes=-1, **affine)
        case "instance":
            if x.ndim < 3:
                raise UsageError("instance norm needs convolutional networks: choose layer norm")
            layer = nn.InstanceNorm(**affine)
        case _:
            if labels is not None:
                raise UsageError("--g-conditioning norm needs --g-norm batch, layer or instance")
            return x
    x = layer(x)
    return x if labels is None else _scale_by_class(x, labels, num_classes)


def _scale_by_class(x: jax.Array, labels: jax.Array, num_classes: int | None) -> jax.Array:
    """Returns activations with a scale and an offset for each class, initially 1 and 0."""
    # In float32, because gradients of embeddings are sums over the batch and over pixels.
    table = lambda init: nn.Embed(num_classes, x.shape[-1], embedding_init=init, dtype=jnp.float32)
    of_class = lambda init: jnp.expand_dims(table(init)(labels), tuple(range(1, x.ndim - 1)))
    scale, offset = of_class(nn.initializers.ones), of_class(nn.initializers.zeros)
    return (x.astype(jnp.float32) * scale + offset).astype(x.dtype)


def normalize_weights(layer: nn.Module, norm: str, train: bool) -> Callable:
    """Returns the layer, with weights divided by their largest singular value if "spectral".

    Miyato et al. 2018, "Spectral normalization for GANs": the value is estimated by one power
    iteration in each forward pass of training.
    """
    if norm != "spectral":
        return layer
    spectral = nn.SpectralNorm(layer)
    return lambda *inputs: spectral(*inputs, update_stats=train)


def has_bias(norm: str) -> bool:
    """Returns whether a layer needs a bias: a norm of activations has an offset of its own."""
    return norm in ("none", "spectral")
