"""Penalties on gradients of the discriminator with respect to images, and approximations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.devices import draw_rows, mean_over_devices
from jaxgan.losses.base import Critic, Loss, LossInputs, logits_of, with_known_outputs
from jaxgan.schedules import Schedule, at

SMALL_STEP = 0.01
"""Standard deviation of the noise of the approximate penalties."""


def r1(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus gamma / 2 times the squared gradient norm at real images.

    Mescheder et al. 2018, "Which training methods for GANs do actually converge?", eq. 9.
    gamma: a number or a schedule of the step.
    """
    return _penalize_gradients_at(loss, gamma, lambda inputs: inputs.real)


def r2(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus gamma / 2 times the squared gradient norm at generated images.

    Mescheder et al. 2018, eq. 10. gamma: a number or a schedule of the step.
    """
    return _penalize_gradients_at(loss, gamma, lambda inputs: inputs.fake)


def approximate_r1(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus an estimate of `r1` that needs no second derivatives.

    Lin et al. 2025, "Diffusion adversarial post-training": gamma / 2 times the squared difference
    of the outputs for a real image with and without Gaussian noise, over the variance of the noise,
    whose standard deviation is 0.01. For small noise, its expectation is the penalty of `r1`.
    """
    return _penalize_differences_at(loss, gamma, lambda inputs: inputs.real)


def approximate_r2(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus an estimate of `r2`, see `approximate_r1`."""
    return _penalize_differences_at(loss, gamma, lambda inputs: inputs.fake)


def gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times (norm - 1)^2 of gradients between real and fake images.

    WGAN-GP (Gulrajani et al. 2017, algorithm 1): the points are random ones on the lines between
    real and generated images or, with packing, between packs of them.
    """
    return _penalize_norms(loss, weight, _between, lambda norms: jnp.square(norms - 1))


def one_sided_gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times max(0, norm - 1)^2 of gradients as in `gradient_penalty`.

    WGAN-LP (Petzka et al. 2018, "On the regularization of Wasserstein GANs").
    """
    return _penalize_norms(loss, weight, _between, lambda norms: jnp.square(jax.nn.relu(norms - 1)))


def zero_centered_gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times norm^2 of gradients as in `gradient_penalty`.

    0-GP (Thanh-Tung et al. 2019, "Improving generalization and stability of GANs").
    """
    return _penalize_norms(loss, weight, _between, jnp.square)


def dragan(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times (norm - 1)^2 of gradients around real images.

    Kodali et al. 2017, "On convergence and stability of GANs": the points are random ones on lines
    from real to noisy images, with uniform noise up to half the standard deviation of the batch.
    """

    def around(inputs: LossInputs, count, key):
        real = inputs.real
        noise_key, place_key = jax.random.split(key)
        mean = mean_over_devices(real.mean())
        deviation = jnp.sqrt(mean_over_devices(jnp.square(real - mean).mean()))
        noise = (
            0.5 * deviation * draw_rows(jax.random.uniform, noise_key, real.shape, dtype=real.dtype)
        )
        return real + _interpolation_weights(place_key, real, count) * noise

    return _penalize_norms(loss, weight, around, lambda norms: jnp.square(norms - 1))


def logits_and_input_gradients(critic: Critic, key: jax.Array, images: jax.Array) -> tuple:
    """Returns the critic's outputs, and the gradients `[n, ...]` of its summed logits."""

    def logits(images):
        outputs = critic(key, images)
        return logits_of(outputs), outputs

    found, pullback, outputs = jax.vjp(logits, images, has_aux=True)
    return outputs, pullback(jnp.ones_like(found))[0]


def _penalize_gradients_at(loss: Loss, gamma: float | Schedule, choose_images: Callable) -> Loss:
    """Returns the loss with a penalty on gradients at the images `choose_images(inputs)`."""

    def discriminator(critic: Critic, inputs: LossInputs):
        own_key, key = jax.random.split(inputs.key)
        images = choose_images(inputs)
        outputs, grads = logits_and_input_gradients(critic, own_key, images)
        critic = with_known_outputs(critic, images, outputs)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        squared = _squared_norms(grads, logits_of(outputs))
        return value + at(gamma, inputs.step) / 2 * squared.mean(), logits

    return loss._replace(discriminator=discriminator, penalizes_gradients=True)


def _penalize_differences_at(loss: Loss, gamma: float | Schedule, choose_images: Callable) -> Loss:
    """Returns the loss with an approximate penalty at the images `choose_images(inputs)`."""

    def discriminator(critic: Critic, inputs: LossInputs):
        own_key, noise_key, key = jax.random.split(inputs.key, 3)
        images = choose_images(inputs)
        noise = draw_rows(jax.random.normal, noise_key, images.shape, dtype=images.dtype)
        outputs = critic(own_key, images)
        moved = critic(own_key, images + SMALL_STEP * noise)
        critic = with_known_outputs(critic, images, outputs)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        squared = jnp.square((logits_of(moved) - logits_of(outputs)) / SMALL_STEP)
        return value + at(gamma, inputs.step) / 2 * squared.mean(), logits

    return loss._replace(discriminator=discriminator, penalizes_gradients=True)


def _penalize_norms(
    loss: Loss, weight: float | Schedule, choose_points: Callable, cost: Callable
) -> Loss:
    """Returns the loss with a penalty on gradient norms.

    choose_points: `(inputs, count, key) -> images`, where count is the number of images or packs.
    cost: from norms to their costs, of which the mean is added.
    """

    def discriminator(critic: Critic, inputs: LossInputs):
        points_key, own_key, key = jax.random.split(inputs.key, 3)
        value, logits = loss.discriminator(critic, inputs._replace(key=key))
        points = choose_points(inputs, len(logits[0]), points_key)
        outputs, grads = logits_and_input_gradients(critic, own_key, points)
        norms = _norms(_squared_norms(grads, logits_of(outputs)))
        return value + at(weight, inputs.step) * cost(norms).mean(), logits

    return loss._replace(discriminator=discriminator, penalizes_gradients=True)


def _between(inputs: LossInputs, count: int, key: jax.Array) -> jax.Array:
    """Returns random points on the lines between real and generated images."""
    real, fake = inputs.real, inputs.fake
    return real + _interpolation_weights(key, real, count) * (fake - real)


def _squared_norms(grads: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns the squared norms of gradients `[n, ...]`, `[n]` or, with packing, `[n / m]`."""
    of_images = jnp.square(grads).reshape(len(grads), -1).sum(axis=1)
    return of_images.reshape(-1, len(logits)).sum(axis=0)


def _norms(squared: jax.Array) -> jax.Array:
    """Returns the square roots, with a gradient of zero instead of infinity at zero."""
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.where(squared > 0, jnp.sqrt(safe), 0.0)


def _interpolation_weights(key: jax.Array, images: jax.Array, count: int) -> jax.Array:
    """Returns random numbers in [0, 1) for images `[n, ...]`, `[n, 1, ...]`.

    count: number of inputs of the critic; all images of a pack have the same random number.
    """
    shape = (count, *[1] * (images.ndim - 1))
    shares = draw_rows(jax.random.uniform, key, shape, dtype=images.dtype)
    return jnp.concatenate([shares] * (len(images) // count))
