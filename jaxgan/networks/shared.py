"""Layers, class conditioning and image sizes that several network families share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.conv import add_bias

SMALLEST = 4


def orthogonal(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
    """Initializes a kernel `[..., features]` as an orthogonal matrix (Saxe et al. 2014)."""

    # Of several members one after another: with jax 0.10, a program on a CPU waits forever for
    # several batches of QR decompositions.
    @jax.custom_batching.sequential_vmap
    def draw(key: jax.Array) -> jax.Array:
        return nn.initializers.orthogonal()(key, shape, dtype)

    return draw(key)


class Dense(nn.Module):
    """A linear layer, `[n, k]` to `[n, features]`, that computes in the type of its inputs."""

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `[n, features]`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        x = x @ kernel.astype(x.dtype)
        return add_bias(self, x) if self.use_bias else x


def class_embedding(
    labels: jax.Array,
    num_classes: int,
    size: int,
    deviation: float,
    normed: Callable[[nn.Module], Callable] | None = None,
) -> jax.Array:
    """Returns embeddings of labels, float32 `[n, size]`; for packed images, the sum over a pack.

    Must be called in an `nn.compact` method. labels: `[n]` or, for packed images, `[n, pack]`.
    deviation: standard deviation of the initial values.
    normed: wraps the layer, for spectral normalization.
    """
    init = nn.initializers.normal(deviation)
    # Always in float32: the gradient of an embedding is a sum over the batch.
    embed = nn.Embed(num_classes, size, embedding_init=init, dtype=jnp.float32)
    classes = (normed or identity)(embed)(labels)
    return classes if labels.ndim == 1 else classes.sum(axis=1)


class ClassInput(NamedTuple):
    """The labels `[n]` of a generator, None without classes, and how it uses them.

    conditioning: "embedding" or "norm", see `jaxgan.networks.options.NetworkOptions`.
    """

    labels: jax.Array | None
    num_classes: int | None
    conditioning: str = "embedding"

    @property
    def of_norms(self) -> dict:
        """The arguments of `jaxgan.networks.norms.normalize`."""
        if self.num_classes is None or self.conditioning != "norm":
            return {}
        return {"labels": self.labels, "num_classes": self.num_classes}

    def append_to(self, latents: jax.Array, deviation: float | None = None) -> jax.Array:
        """Returns the latents, with class embeddings appended if the conditioning asks for that."""
        count = None if self.of_norms else self.num_classes
        return append_class_embedding(latents, self.labels, count, deviation)


def append_class_embedding(
    latents: jax.Array,
    labels: jax.Array | None,
    num_classes: int | None,
    deviation: float | None = None,
) -> jax.Array:
    """Returns latents `[n, k]` or, with classes, latents and class embeddings, `[n, 2 k]`.

    Must be called in the `nn.compact` method of a generator. labels: `[n]`.
    deviation: standard deviation of the initial embeddings, `k ** -0.5` by default.
    """
    if num_classes is None:
        return latents
    # By default, initial embeddings have a norm of about one, like one-hot codes. If their norm
    # were that of the latents, they would dominate, and all images of a class would be the same.
    size = latents.shape[-1]
    classes = class_embedding(labels, num_classes, size, deviation or size**-0.5)
    return jnp.concatenate([latents, classes.astype(latents.dtype)], axis=-1)


def count_halvings(shape: Sequence[int], network: str) -> tuple[int, tuple[int, int]]:
    """Returns how many times images of a shape can be halved, and the size that remains.

    Sides are not halved below 4 pixels: 28 becomes 14 and 7, and 32 becomes 16, 8 and 4.
    Raises `UsageError` for examples that are not images, and for images that cannot be halved to
    sides of 4 to 8 pixels.
    """
    if len(shape) != 3:
        raise UsageError(
            f"--network {network} needs images, not examples of shape {tuple(shape)}: "
            "use --network mlp"
        )
    height, width = shape[:2]
    count = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * SMALLEST - 1:
        height, width, count = height // 2, width // 2, count + 1
    if count == 0 or max(height, width) > 2 * SMALLEST:
        raise UsageError(
            f"--network {network} needs images with sides that can be halved to {SMALLEST} to "
            f"{2 * SMALLEST} pixels, like 28 or 32, not {shape[0]} x {shape[1]}: see --image-size"
        )
    return count, (height, width)


def call_block(block: nn.Module, remat: bool, x: jax.Array, *arguments, **settings) -> jax.Array:
    """Returns `block(x, *arguments, **settings)`.

    remat: whether to forget the values within the block, and to compute them again for gradients.
    """
    run = lambda block, x: block(x, *arguments, **settings)
    return (nn.remat(run) if remat else run)(block, x)


def identity(x: jax.Array) -> jax.Array:
    """Returns its argument."""
    return x
