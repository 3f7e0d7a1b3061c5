"""Normalization of activations and of weights, as an option of every network."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.shared import Dense, orthogonal

NORMS = ("none", "batch", "layer", "instance", "spectral", "spectral_batch")
"""The names of norms. "spectral" acts on weights, the others on activations, "spectral_batch" on
both."""
OF_ACTIVATIONS = ("batch", "layer", "instance", "spectral_batch")


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
    et al. 2017); or vectors `[n, k]`, of which the scale and the offset are linear functions
    (BigGAN, Brock et al. 2019); else all examples have the same.
    Raises `UsageError` for an instance norm of activations that are not images, and for labels
    without a norm of activations.
    """
    affine = {"use_scale": labels is None, "use_bias": labels is None, "dtype": x.dtype}
    if labels is None:
        affine["scale_init"] = scale_init
    match norm:
        case "batch" | "spectral_batch":
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
                raise UsageError(f"--g-conditioning norm needs --g-norm {name_alternatives()}")
            return x
    x = layer(x)
    if labels is None:
        return x
    if labels.ndim == 2:
        return _scale_by_vector(x, labels, lambda dense: normalize_weights(dense, norm, train))
    return _scale_by_class(x, labels, num_classes)


def name_alternatives() -> str:
    """Returns the names of the norms of activations, as a message lists them."""
    *others, last = OF_ACTIVATIONS
    return f"{', '.join(others)} or {last}"


def _scale_by_class(x: jax.Array, labels: jax.Array, num_classes: int | None) -> jax.Array:
    """Returns activations with a scale and an offset for each class, initially 1 and 0."""
    # In float32, because gradients of embeddings are sums over the batch and over pixels.
    table = lambda init: nn.Embed(num_classes, x.shape[-1], embedding_init=init, dtype=jnp.float32)
    of_class = lambda init: jnp.expand_dims(table(init)(labels), tuple(range(1, x.ndim - 1)))
    scale, offset = of_class(nn.initializers.ones), of_class(nn.initializers.zeros)
    return (x.astype(jnp.float32) * scale + offset).astype(x.dtype)


def _scale_by_vector(x: jax.Array, vectors: jax.Array, normed: Callable) -> jax.Array:
    """Returns activations with a scale and an offset that are linear functions of vectors."""
    layer = lambda: normed(Dense(x.shape[-1], False, orthogonal))
    # In float32, because gradients of the layers are sums over the batch and over pixels.
    of_vector = lambda: layer()(vectors.astype(jnp.float32))
    place = lambda y: jnp.expand_dims(y, tuple(range(1, x.ndim - 1)))
    scale, offset = 1 + place(of_vector()), place(of_vector())
    return (x.astype(jnp.float32) * scale + offset).astype(x.dtype)


def normalize_weights(layer: nn.Module, norm: str, train: bool) -> Callable:
    """Returns the layer, its weights divided by their largest singular value if the norm asks so.

    Miyato et al. 2018, "Spectral normalization for GANs": the value is estimated by one power
    iteration in each forward pass of training.
    """
    if norm not in ("spectral", "spectral_batch"):
        return layer
    spectral = nn.SpectralNorm(layer)
    return lambda *inputs: spectral(*inputs, update_stats=train)


def has_bias(norm: str) -> bool:
    """Returns whether a layer needs a bias: a norm of activations has an offset of its own."""
    return norm in ("none", "spectral")
