"""What a loss is: two functions of a discriminator and of images, one for each player."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array, jax.Array], Any]
"""The discriminator with its parameters bound: `(key, images [n, ...]) -> outputs`.

The outputs are logits `[n]`, or `[n / m]` for packs of `m` images, or `HeadOutputs` of a
discriminator with several heads. The critic first augments the images with random numbers from the
key, so gradients with respect to images are taken before augmentation.
"""


class HeadOutputs(NamedTuple):
    """The outputs of a discriminator with several heads. What a discriminator lacks is None.

    logits: `[n]`. directions: `[n]`, the same logits, with a gradient to the direction of the last
    layer only, for `slicing`. classes: `[n, num_classes]`, logits of the classes, for
    `auxiliary_classifier`. embeddings, proxies: `[n, k]`, of the images and of their classes, for
    `data_to_data_cross_entropy`. rotations: `[n, 4]`, logits of rotations, for `rotation`.
    """

    logits: jax.Array
    directions: jax.Array | None = None
    classes: jax.Array | None = None
    embeddings: jax.Array | None = None
    proxies: jax.Array | None = None
    rotations: jax.Array | None = None


class LossInputs(NamedTuple):
    """The inputs of a loss, apart from the critic.

    real, fake: images `[n, ...]`. key: for losses that draw random numbers, with
    `jaxgan.devices.draw_rows`. step: for weights that follow a schedule. labels: `[n]`, the classes
    of both, None if the GAN is not conditional. neighbors: `[n, ...]`, images generated from the
    latents of `fake` plus noise; None unless the loss has a `latent_noise`. state: of the loss.
    probability: of each augmentation of an image, None for that of the augmentation itself.
    """

    real: jax.Array
    fake: jax.Array
    key: jax.Array
    step: jax.Array | int
    labels: jax.Array | None = None
    neighbors: jax.Array | None = None
    state: Any = ()
    probability: jax.Array | None = None

    @property
    def rows(self) -> tuple:
        """The images and the labels: what has an entry for each row of the batch."""
        return self.real, self.fake, self.labels, self.neighbors

    def with_rows(self, rows: tuple) -> "LossInputs":
        """Returns the inputs with other images and labels, as `rows` returns them."""
        return self._replace(
            **dict(zip(("real", "fake", "labels", "neighbors"), rows, strict=True))
        )


class OutputSummary(NamedTuple):
    """The meaning of a discriminator's outputs, and the metrics that summarize them.

    summary: from the outputs for real and for generated images, `[n]` each, to the metrics
        `(d_real, d_fake)`, means over the batch.
    title: of the two metrics in curves and tables. limits: their lower and upper limit, or None.
    """

    title: str
    summary: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    limits: tuple[float, float] | None = None


PROBABILITIES = OutputSummary(
    "mean probability of being real",
    lambda real, fake: (jax.nn.sigmoid(real).mean(), jax.nn.sigmoid(fake).mean()),
    (0.0, 1.0),
)
"""For outputs that are logits."""
MEANS = OutputSummary("mean output", lambda real, fake: (real.mean(), fake.mean()))
"""For outputs that are only compared with each other or with targets."""
PAIRS = OutputSummary(
    "share of pairs won",
    lambda real, fake: ((real > fake).mean(), (fake > real).mean()),
    (0.0, 1.0),
)
"""For outputs that are known up to a constant: the fractions of pairs in which the output is larger
for the real image, and for the generated image."""


class Loss(NamedTuple):
    """A loss for each player, both functions of `(critic, inputs)`, see `Critic`, `LossInputs`.

    A loss must be a mean over the batch, so that the mean over devices is the loss of the batch.

    discriminator: returns the loss, a scalar, and the logits `(real, fake)`.
    generator: returns the loss, a scalar.
    outputs: the meaning of the outputs.
    penalizes_gradients: whether the loss depends on how the output for an image changes with that
        image. With batch norm in the discriminator, the output depends on the whole batch, so `gan`
        does not accept both.
    init: returns the loss's state, a pytree of arrays, which is part of the GAN's state.
    update: `(state, (real, fake), step) -> state`, after each discriminator update, from its
        logits.
    latent_noise: standard deviation of the noise on the latents of `LossInputs.neighbors`; 0 for a
        loss that does not use them.
    """

    discriminator: Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]
    generator: Callable[..., jax.Array]
    outputs: OutputSummary = MEANS
    penalizes_gradients: bool = False
    init: Callable[[], Any] = tuple
    update: Callable[..., Any] = lambda state, outputs, step: state
    latent_noise: float = 0.0


def from_logits(
    discriminator: Callable[[jax.Array, jax.Array], jax.Array],
    generator: Callable[[jax.Array], jax.Array],
    outputs: OutputSummary = MEANS,
) -> Loss:
    """Returns the loss given by two functions of logits.

    discriminator: from real and fake logits to the mean loss of the batch.
    generator: from fake logits to the mean loss of the batch. outputs: the meaning of the logits.
    """

    def discriminator_loss(critic: Critic, inputs: LossInputs):
        logits = logits_of_both(critic, inputs)
        return discriminator(*logits), logits

    def generator_loss(critic: Critic, inputs: LossInputs):
        return generator(logits_of(critic(inputs.key, inputs.fake)))

    return Loss(discriminator_loss, generator_loss, outputs)


def no_loss() -> Loss:
    """Returns the loss that is 0 for both players, for penalties alone."""
    return from_logits(lambda real, fake: jnp.zeros(()), lambda fake: jnp.zeros(()))


def logits_of_both(critic: Critic, inputs: LossInputs) -> tuple[jax.Array, jax.Array]:
    """Returns the logits of real and of generated images, augmented independently."""
    real_key, fake_key = jax.random.split(inputs.key)
    real, fake = critic(real_key, inputs.real), critic(fake_key, inputs.fake)
    return logits_of(real), logits_of(fake)


def logits_of(outputs: jax.Array | HeadOutputs) -> jax.Array:
    """Returns the logits `[n]` in the outputs of a critic."""
    return outputs.logits if isinstance(outputs, HeadOutputs) else outputs


def with_known_outputs(critic: Critic, images: jax.Array, outputs: Any) -> Critic:
    """Returns a critic that returns known outputs for `images`, recognized by identity.

    A loss and its penalties thus share a forward pass, a backward pass and the augmentation.
    """
    return lambda key, others: outputs if others is images else critic(key, others)
