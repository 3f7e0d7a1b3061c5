"""What several families share: layers, labels in both players, the sizes of images."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError
from jaxgan.networks.conv import add_bias

SMALLEST = 4


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
    """Returns embeddings of labels, float32 `[n, size]`; of packed images their sum.

    To be called in an `nn.compact` method. labels: `[n]` or, packed, `[n, pack]`.
    deviation: standard deviation of the initial values. normed: wraps layers, for spectral norms.
    """
    init = nn.initializers.normal(deviation)
    # In float32, whatever the network computes in: the gradient of a class is a sum over the batch.
    embed = nn.Embed(num_classes, size, embedding_init=init, dtype=jnp.float32)
    classes = (normed or identity)(embed)(labels)
    return classes if labels.ndim == 1 else classes.sum(axis=1)


def append_class_embedding(
    latents: jax.Array,
    labels: jax.Array | None,
    num_classes: int | None,
    deviation: float | None = None,
) -> jax.Array:
    """Returns latents `[n, k]` or, with classes, joined with an embedding of theirs, `[n, 2 k]`.

    To be called in the `nn.compact` method of a generator. labels: `[n]`.
    deviation: of the initial embeddings, `k ** -0.5` unless given.
    """
    if num_classes is None:
        return latents
    # Embeddings begin with a length of one, as one-hot codes have it. As long as the latents, they
    # drown them: then every image of a class comes out the same.
    size = latents.shape[-1]
    classes = class_embedding(labels, num_classes, size, deviation or size**-0.5)
    return jnp.concatenate([latents, classes.astype(latents.dtype)], axis=-1)


def projection_head(
    features: jax.Array,
    labels: jax.Array | None,
    num_classes: int | None,
    normed: Callable[[nn.Module], Callable] | None = None,
    kernel_init: Callable | None = None,
) -> jax.Array:
    """Returns logits, float32 `[n]`, of features `[n, k]`, with classes by projection.

    To be called in the `nn.compact` method of a discriminator. To the linear layer's output comes
    the product of the features with an embedding of the class (Miyato and Koyama 2018, "cGANs with
    projection discriminator"); of packed images the embeddings are added up.
    labels: `[n]` or, packed, `[n, pack]`. normed: wraps layers, for spectral norms.
    kernel_init: of the linear layer, LeCun's unless given; the embedding begins as large as that.
    """
    features = features.astype(jnp.float32)
    kernel_init = kernel_init or nn.initializers.lecun_normal()
    logits = (normed or identity)(Dense(1, kernel_init=kernel_init))(features)[:, 0]
    if num_classes is None:
        return logits
    size = features.shape[-1]
    classes = class_embedding(labels, num_classes, size, size**-0.5, normed)
    return logits + (classes * features).sum(axis=-1)


def count_halvings(shape: Sequence[int], network: str) -> tuple[int, tuple[int, int]]:
    """Returns how often images of a shape can be halved, and the size that is then left.

    Not below 4 pixels: 28 becomes 14 and 7, and 32 becomes 16, 8 and 4.
    Raises `UsageError` for examples that are not such images.
    """
    if len(shape) != 3:
        raise UsageError(f"--network {network} draws images, not examples of shape {tuple(shape)}")
    height, width = shape[:2]
    count = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * SMALLEST - 1:
        height, width, count = height // 2, width // 2, count + 1
    if count == 0 or max(height, width) > 2 * SMALLEST:
        raise UsageError(
            f"--network {network} wants images whose sides halve to {SMALLEST} to {2 * SMALLEST} "
            f"pixels, such as 28 or 32, not {shape[0]} x {shape[1]}: see --image-size"
        )
    return count, (height, width)


def identity(x: jax.Array) -> jax.Array:
    """Returns what it is given."""
    return x
