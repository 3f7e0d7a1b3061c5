"""The last layers of discriminators, which turn features into outputs."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.losses import HeadOutputs
from jaxgan.networks.options import Heads
from jaxgan.networks.shared import Dense, class_embedding, identity

EMBEDDING = 512
"""The size of the embeddings of ReACGAN, as in StudioGAN's settings."""
ROTATIONS = 4


def projection_head(
    features: jax.Array,
    labels: jax.Array | None,
    num_classes: int | None,
    normed: Callable[[nn.Module], Callable] | None = None,
    kernel_init: Callable | None = None,
) -> jax.Array:
    """Returns logits, float32 `[n]`, of features `[n, k]`.

    Must be called in the `nn.compact` method of a discriminator. With classes, the dot product of
    the features with an embedding of the class is added to the linear layer's output (Miyato and
    Koyama 2018, "cGANs with projection discriminator"); for packed images, embeddings are summed.
    labels: `[n]` or, for packed images, `[n, pack]`.
    normed: wraps layers, for spectral normalization.
    kernel_init: initializer of the linear layer, LeCun's by default. The embeddings are initialized
        with the scale of LeCun's.
    """
    features = features.astype(jnp.float32)
    kernel_init = kernel_init or nn.initializers.lecun_normal()
    logits = (normed or identity)(Dense(1, kernel_init=kernel_init))(features)[:, 0]
    if num_classes is None:
        return logits
    size = features.shape[-1]
    classes = class_embedding(labels, num_classes, size, size**-0.5, normed)
    return logits + (classes * features).sum(axis=-1)


def output_heads(
    features: jax.Array,
    labels: jax.Array | None,
    num_classes: int | None,
    heads: Heads,
    project: Callable = projection_head,
    normed: Callable[[nn.Module], Callable] | None = None,
) -> jax.Array | HeadOutputs:
    """Returns the outputs of a discriminator: logits, float32 `[n]`, or `HeadOutputs`.

    Must be called in the `nn.compact` method of a discriminator. features: `[n, k]`.
    project: `(features, labels, num_classes) -> logits`, where labels and num_classes are None
    unless the conditioning is by projection. With slicing, `Slice` replaces it.
    normed: wraps the layers of the other heads.
    """
    conditional = num_classes is not None
    projected = conditional and heads.conditioning == "projection"
    of_logits = (labels, num_classes) if projected else (None, None)
    if heads == Heads(conditioning=heads.conditioning) and (projected or not conditional):
        return project(features, *of_logits)
    features = features.astype(jnp.float32)
    layer = lambda size: (normed or identity)(Dense(size))(features)
    found = {}
    if heads.slicing:
        found["logits"], found["directions"] = Slice(of_logits[1])(features, of_logits[0])
    else:
        found["logits"] = project(features, *of_logits)
    if conditional and heads.conditioning == "auxiliary_classifier":
        found["classes"] = layer(num_classes)
    if conditional and heads.conditioning == "data_to_data_cross_entropy":
        found["embeddings"] = layer(EMBEDDING)
        deviation = EMBEDDING**-0.5
        found["proxies"] = class_embedding(labels, num_classes, EMBEDDING, deviation, normed)
    if heads.rotation:
        found["rotations"] = layer(ROTATIONS)
    return HeadOutputs(**found)


class Slice(nn.Module):
    """The last layer of a slicing adversarial network (Takida et al. 2024).

    With classes, the weights are those of all classes plus those of the class, as in projection.
    """

    num_classes: int | None = None

    @nn.compact
    def __call__(self, features: jax.Array, labels=None) -> tuple[jax.Array, jax.Array]:
        """Returns logits `[n]` twice, of features `[n, k]`.

        The gradient of the first does not reach the direction of the weights, and that of the
        second reaches nothing else.
        """
        size = features.shape[-1]
        weights = self.param("kernel", nn.initializers.normal(size**-0.5), (1, size))
        if self.num_classes is not None:
            weights += class_embedding(labels, self.num_classes, size, size**-0.5)
        norms = jnp.sqrt(jnp.square(weights).sum(axis=1, keepdims=True) + 1e-24)
        directions, scaled = weights / norms, features * norms
        logits = (scaled * lax.stop_gradient(directions)).sum(axis=1)
        return logits, (lax.stop_gradient(scaled) * directions).sum(axis=1)
