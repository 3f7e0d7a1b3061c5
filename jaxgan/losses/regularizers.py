"""Regularizers that compare outputs of the discriminator with each other or with averages."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.augment import Augmentation
from jaxgan.devices import mean_over_devices
from jaxgan.losses.base import Critic, Loss, LossInputs, logits_of, with_known_outputs
from jaxgan.schedules import Schedule, at

LECAM_DECAY = 0.99


def consistency(loss: Loss, weight: float | Schedule, transform: Augmentation) -> Loss:
    """Returns the loss plus weight times (D(x) - D(T(x)))^2 at real images.

    CR-GAN (Zhang et al. 2020, "Consistency regularization for GANs").
    transform: T, `(key, images, step) -> images`.
    """
    return _penalize_changes(loss, weight, lambda inputs: inputs.real, transform)


def fake_consistency(loss: Loss, weight: float | Schedule, transform: Augmentation) -> Loss:
    """Returns the loss plus weight times (D(x) - D(T(x)))^2 at generated images.

    With `consistency`, balanced consistency regularization (bCR, Zhao et al. 2021, "Improved
    consistency regularization for GANs"). transform: as in `consistency`.
    """
    return _penalize_changes(loss, weight, lambda inputs: inputs.fake, transform)


def latent_consistency(
    loss: Loss, weight: float | Schedule, generator_weight: float = 0.5, latent_noise: float = 0.05
) -> Loss:
    """Returns the loss with latent consistency regularization (zCR, Zhao et al. 2021).

    Images are generated from latents z and from z plus noise. Weight times the mean squared
    difference of their logits is added to the discriminator's loss, and `generator_weight` times
    the mean squared difference of their pixels is subtracted from the generator's loss.
    latent_noise: standard deviation of the noise.
    """

    def discriminator(critic: Critic, inputs: LossInputs):
        own_key, near_key, key = jax.random.split(inputs.key, 3)
        outputs = critic(own_key, inputs.fake)
        near = critic(near_key, inputs.neighbors)
        critic = with_known_outputs(critic, inputs.fake, outputs)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        return value + at(weight, inputs.step) * _mean_square(outputs, near), logits

    def generator(critic: Critic, inputs: LossInputs):
        change = jnp.square(inputs.fake - inputs.neighbors).mean()
        return loss.generator(critic, inputs) - generator_weight * change

    return loss._replace(
        discriminator=discriminator, generator=generator, latent_noise=latent_noise
    )


def logit_centering(loss: Loss, weight: float | Schedule) -> Loss:
    """Returns the loss plus weight times (D(real) + D(fake))^2 of pairs.

    It keeps the logits of relativistic losses, of which only differences are trained, close to zero
    (Lin et al. 2025, "Adversarial flow models", with a weight of 0.01).
    """

    def discriminator(critic: Critic, inputs: LossInputs):
        value, (real, fake) = loss.discriminator(critic, inputs)
        return value + at(weight, inputs.step) * jnp.square(real + fake).mean(), (real, fake)

    return loss._replace(discriminator=discriminator)


def lecam(loss: Loss, weight: float | Schedule, start: int = 0) -> Loss:
    """Returns the loss plus weight times LeCam's regularizer.

    Tseng et al. 2021, "Regularizing generative adversarial networks under limited data", as
    in the authors' code: max(0, D(real) - average of D(fake))^2 plus
    max(0, average of D(real) - D(fake))^2, where the averages are exponential moving averages over
    the updates. They are the loss's state.
    start: step from which the regularizer is added; before it, the averages are those of the batch.
    """

    def renew(averages, logits, step):
        means = jnp.stack(mean_over_devices(tuple(each.mean() for each in logits)))
        decay = jnp.where(step < max(start, 1), 0.0, LECAM_DECAY)
        return lax.stop_gradient(decay * averages + (1 - decay) * means)

    def discriminator(critic: Critic, inputs: LossInputs):
        inner, averages = inputs.state
        value, logits = loss.discriminator(critic, inputs._replace(state=inner))
        real, fake = logits
        real_average, fake_average = renew(averages, logits, inputs.step)
        squares = jnp.square(jax.nn.relu(real - fake_average)).mean()
        squares += jnp.square(jax.nn.relu(real_average - fake)).mean()
        active = jnp.where(inputs.step >= start, at(weight, inputs.step), 0.0)
        return value + active * squares, logits

    def generator(critic: Critic, inputs: LossInputs):
        return loss.generator(critic, inputs._replace(state=inputs.state[0]))

    def update(state, logits, step):
        inner, averages = state
        return loss.update(inner, logits, step), renew(averages, logits, step)

    return loss._replace(
        discriminator=discriminator,
        generator=generator,
        init=lambda: (loss.init(), jnp.zeros(2)),
        update=update,
    )


def _penalize_changes(
    loss: Loss, weight: float | Schedule, choose_images: Callable, transform: Augmentation
) -> Loss:
    def discriminator(critic: Critic, inputs: LossInputs):
        own_key, moved_key, transform_key, key = jax.random.split(inputs.key, 4)
        images = choose_images(inputs)
        outputs = critic(own_key, images)
        moved = critic(moved_key, transform(transform_key, images, inputs.step))
        critic = with_known_outputs(critic, images, outputs)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        return value + at(weight, inputs.step) * _mean_square(outputs, moved), logits

    return loss._replace(discriminator=discriminator)


def _mean_square(outputs, others) -> jax.Array:
    return jnp.square(logits_of(outputs) - logits_of(others)).mean()
