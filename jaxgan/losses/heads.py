"""Losses of discriminators that have more outputs than logits, see `HeadOutputs`.

Each function takes a loss and returns one, like a penalty.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from optax.losses import softmax_cross_entropy_with_integer_labels as cross_entropy

from jaxgan.augment import rotate
from jaxgan.devices import gather_rows, own_rows, share_count
from jaxgan.losses.base import Critic, HeadOutputs, Loss, LossInputs, with_known_outputs

ROTATIONS = 4
MARGIN = 0.98
TEMPERATURE = 0.5


def auxiliary_classifier(loss: Loss, weight: float) -> Loss:
    """Returns the loss plus weight times the cross-entropy of the discriminator's class logits.

    AC-GAN (Odena et al. 2017, "Conditional image synthesis with auxiliary classifier
    GANs"): of real and of generated images for the discriminator, of generated images for the
    generator.
    """

    def cost(outputs: HeadOutputs, labels: jax.Array) -> jax.Array:
        return weight * cross_entropy(outputs.classes, labels).mean()

    return _add_costs(
        loss,
        lambda real, fake, labels: cost(real, labels) + cost(fake, labels),
        cost,
    )


def data_to_data_cross_entropy(loss: Loss, weight: float) -> Loss:
    """Returns the loss plus weight times the data-to-data cross-entropy of ReACGAN.

    Kang et al. 2021, "Rebooting ACGAN", with margins of 0.98 and 0.02 and a temperature of 0.5, and
    without the maximum that the authors' code subtracts from the similarities: of
    real images for the discriminator, of generated images for the generator. Similarities are
    cosines. Each image is attracted by the proxy of its class, and repelled by the images of other
    classes in the batch.
    """

    def cost(outputs: HeadOutputs, labels: jax.Array) -> jax.Array:
        embeddings, proxies = _unit(outputs.embeddings), _unit(outputs.proxies)
        others, other_labels = gather_rows(embeddings), gather_rows(labels)
        to_proxy = (embeddings * proxies).sum(axis=1)
        attraction = jax.nn.relu((MARGIN - to_proxy) / TEMPERATURE)
        repulsion = jax.nn.relu((embeddings @ others.T + MARGIN - 1) / TEMPERATURE)
        negative = labels[:, None] != other_labels
        terms = jnp.where(negative, repulsion, -jnp.inf)
        total = jnp.concatenate([-attraction[:, None], terms], axis=1)
        return weight * (attraction + jax.nn.logsumexp(total, axis=1)).mean()

    return _add_costs(loss, lambda real, fake, labels: cost(real, labels), cost)


def rotation(loss: Loss, weight: float, generator_weight: float) -> Loss:
    """Returns the loss plus the cross-entropy of the rotations that a discriminator recognizes.

    SSGAN (Chen et al. 2019, "Self-supervised GANs via auxiliary rotation loss"): real
    images rotated by 0, 90, 180 and 270 degrees, a quarter of the batch each, for the
    discriminator, and generated ones for the generator.
    weight, generator_weight: of the two players.
    """

    def cost(critic: Critic, key: jax.Array, images: jax.Array) -> jax.Array:
        count = share_count() * len(images)
        turns = own_rows(jnp.arange(count) * ROTATIONS // count)
        return cross_entropy(critic(key, rotate(images, turns)).rotations, turns).mean()

    def discriminator(critic: Critic, inputs: LossInputs):
        own_key, key = jax.random.split(inputs.key)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        return value + weight * cost(critic, own_key, inputs.real), logits

    def generator(critic: Critic, inputs: LossInputs):
        own_key, key = jax.random.split(inputs.key)
        value = loss.generator(critic, inputs._replace(key=key))
        return value + generator_weight * cost(critic, own_key, inputs.fake)

    return loss._replace(discriminator=discriminator, generator=generator)


def slicing(loss: Loss) -> Loss:
    """Returns the loss of a slicing adversarial network (SAN, Takida et al. 2024).

    The last layer has a direction of unit norm. The given loss trains the features, and the
    Wasserstein loss trains the direction.
    """

    def of_directions(real: HeadOutputs, fake: HeadOutputs, labels) -> jax.Array:
        del labels
        return fake.directions.mean() - real.directions.mean()

    return _add_costs(loss, of_directions, lambda fake, labels: 0.0)


def _add_costs(loss: Loss, of_discriminator: Callable, of_generator: Callable) -> Loss:
    """Returns the loss plus costs of the outputs, which share the forward passes of the logits.

    of_discriminator: `(real outputs, fake outputs, labels) -> cost`. of_generator:
    `(fake outputs, labels) -> cost`.
    """

    def discriminator(critic: Critic, inputs: LossInputs):
        real_key, fake_key, key = jax.random.split(inputs.key, 3)
        real, fake = critic(real_key, inputs.real), critic(fake_key, inputs.fake)

        known = with_known_outputs(critic, inputs.real, real)
        known = with_known_outputs(known, inputs.fake, fake)
        value, logits = loss.discriminator(known, inputs._replace(key=key))
        return value + of_discriminator(real, fake, inputs.labels), logits

    def generator(critic: Critic, inputs: LossInputs):
        own_key, key = jax.random.split(inputs.key)
        fake = critic(own_key, inputs.fake)

        known = with_known_outputs(critic, inputs.fake, fake)
        value = loss.generator(known, inputs._replace(key=key))
        return value + of_generator(fake, inputs.labels)

    return loss._replace(discriminator=discriminator, generator=generator)


def _unit(vectors: jax.Array) -> jax.Array:
    """Returns vectors `[n, k]` divided by their norms, with a finite gradient at zero."""
    squares = jnp.square(vectors).sum(axis=1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
