"""What each player minimises, and penalties, which are functions from loss to loss.

To add a loss, write a function that returns a `Loss` and enter it in `LOSSES`; to add a penalty,
one that takes a `Loss` and a weight, and enter it in `PENALTIES`. Penalties compose as Optax's
transformations do: `r2(r1(relativistic(), 1.0), 1.0)`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from optax.losses import sigmoid_binary_cross_entropy as binary_cross_entropy

from jaxgan.devices import device_count, mean_over_devices, own_rows
from jaxgan.schedules import Schedule, at

Critic = Callable[[jax.Array], jax.Array]


class Loss(NamedTuple):
    """A loss for each player, both functions of `(critic, real, fake, key, step)`.

    critic: the discriminator with its parameters bound, images `[n, ...]` to logits `[n]`. It
        augments the images first, the i-th of every batch alike, so that gradients with respect to
        images are those before augmentation; of packed images (`[n / m]` logits) likewise.
    real, fake: images `[n, ...]`.
    key: for losses that draw numbers of their own: for the whole batch, `device_count() * n` rows,
        of which `own_rows` takes this device's.
    step: for weights that follow a schedule.
    A loss must be a mean over the batch, for the means of several devices to make up its own.

    discriminator: returns the loss, a scalar, and the logits `(real, fake)` it came from.
    generator: returns the loss, a scalar.
    """

    discriminator: Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]
    generator: Callable[..., jax.Array]


def of_logits(
    discriminator: Callable[[jax.Array, jax.Array], jax.Array],
    generator: Callable[[jax.Array], jax.Array],
) -> Loss:
    """Returns the loss of two functions of logits.

    discriminator: of real and fake logits, a mean over them. generator: of fake logits, likewise.
    """

    def discriminator_loss(critic: Critic, real, fake, key, step):
        del key, step
        logits = critic(real), critic(fake)
        return discriminator(*logits), logits

    def generator_loss(critic: Critic, real, fake, key, step):
        del real, key, step
        return generator(critic(fake))

    return Loss(discriminator_loss, generator_loss)


def _cross_entropy(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns -log D(real) - log(1 - D(fake)), the means added; D is the sigmoid of the logits."""
    real = binary_cross_entropy(real_logits, 1.0).mean()
    return real + binary_cross_entropy(fake_logits, 0.0).mean()


def non_saturating() -> Loss:
    """Returns the loss whose generator minimises -log D(fake) (Goodfellow et al. 2014, section 3).

    The logarithms are computed from the logits, without overflow.
    """
    return of_logits(_cross_entropy, lambda fake: binary_cross_entropy(fake, 1.0).mean())


def minimax() -> Loss:
    """Returns the loss whose generator minimises log(1 - D(fake)) (Goodfellow et al. 2014, eq. 1).

    Its gradient vanishes where the discriminator is sure, which `non_saturating` avoids.
    """
    return of_logits(_cross_entropy, lambda fake: -binary_cross_entropy(fake, 0.0).mean())


def least_squares() -> Loss:
    """Returns halved squared distances from 1 for real and 0 for fake (Mao et al. 2017, eq. 9)."""
    return of_logits(
        lambda real, fake: (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2,
        lambda fake: jnp.square(fake - 1).mean() / 2,
    )


def hinge() -> Loss:
    """Returns the hinge loss; the generator's is -D(fake) (Lim and Ye 2017; Miyato et al. 2018)."""
    return of_logits(
        lambda real, fake: jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    )


def wasserstein() -> Loss:
    """Returns the difference of the means of a critic (Arjovsky et al. 2017, eq. 2).

    It wants a Lipschitz critic: `gradient_penalty`, spectral norms, or the paper's own
    `jaxgan.optimizers.clip_weights`.
    """
    return of_logits(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean())


def relativistic() -> Loss:
    """Returns the loss of pairs: each real image's logit against that of one generated image.

    RpGAN (Jolicoeur-Martineau 2018; in R3GAN, Huang et al. 2024, eq. 2): softplus of differences,
    one way for the discriminator and the other way for the generator. R3GAN's generator meets other
    real images than its discriminator; here both meet those of the step.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        del key, step
        logits = real_logits, fake_logits = critic(real), critic(fake)
        return jax.nn.softplus(fake_logits - real_logits).mean(), logits

    def generator(critic: Critic, real, fake, key, step):
        del key, step
        return jax.nn.softplus(critic(real) - critic(fake)).mean()

    return Loss(discriminator, generator)


LOSSES = {
    loss.__name__: loss
    for loss in (minimax, non_saturating, least_squares, hinge, wasserstein, relativistic)
}


def r1(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss with gamma / 2 times the squared gradients at real images (Mescheder 2018).

    "Which training methods for GANs do actually converge?", eq. 9. gamma: a number or a schedule.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        logits, grads = with_gradients(critic, real)
        value, scores = loss.discriminator(_knowing(critic, real, logits), real, fake, key, step)
        return value + at(gamma, step) / 2 * _squared_norms(grads, logits).mean(), scores

    return loss._replace(discriminator=discriminator)


def r2(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss with gamma / 2 times the squared gradients at generated images.

    Mescheder et al. 2018, eq. 10. gamma: a number or a schedule.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        logits, grads = with_gradients(critic, fake)
        value, scores = loss.discriminator(_knowing(critic, fake, logits), real, fake, key, step)
        return value + at(gamma, step) / 2 * _squared_norms(grads, logits).mean(), scores

    return loss._replace(discriminator=discriminator)


def gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss with weight times (norm - 1)^2 of the gradients between real and generated.

    WGAN-GP (Gulrajani et al. 2017, algorithm 1): at random points of the lines between them. For
    critics without batch normalisation, in which an image's gradient depends on the others.
    """

    def between(real, fake, key):
        return real + _uniform(key, real, for_each_image=True) * (fake - real)

    return _one_lipschitz(loss, weight, between)


def dragan(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss with weight times (norm - 1)^2 of the gradients around real images.

    Kodali et al. 2017, "On convergence and stability of GANs": at random points of the lines from
    real images to noisy ones, with noise up to half a standard deviation of the batch.
    """

    def around(real, fake, key):
        del fake
        noise_key, place_key = jax.random.split(key)
        mean = mean_over_devices(real.mean())
        deviation = jnp.sqrt(mean_over_devices(jnp.square(real - mean).mean()))
        noise = 0.5 * deviation * _uniform(noise_key, real)
        return real + _uniform(place_key, real, for_each_image=True) * noise

    return _one_lipschitz(loss, weight, around)


PENALTIES = {penalty.__name__: penalty for penalty in (r1, r2, gradient_penalty, dragan)}


def with_gradients(critic: Critic, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the logits of images and the gradients, `[n, ...]`, of their sum by the images."""
    logits, pullback = jax.vjp(critic, images)
    return logits, pullback(jnp.ones_like(logits))[0]


def _one_lipschitz(loss: Loss, weight: float | Schedule, points: Callable) -> Loss:
    """Returns the loss with a penalty at `points(real, fake, key)` on norms other than one."""

    def discriminator(critic: Critic, real, fake, key, step):
        points_key, key = jax.random.split(key)
        logits, grads = with_gradients(critic, points(real, fake, points_key))
        norms = _norms(_squared_norms(grads, logits))
        value, scores = loss.discriminator(critic, real, fake, key, step)
        return value + at(weight, step) * jnp.square(norms - 1).mean(), scores

    return loss._replace(discriminator=discriminator)


def _knowing(critic: Critic, images: jax.Array, logits: jax.Array) -> Critic:
    """Returns the critic that need not look at `images`, this very array, to know their logits.

    So a loss and its penalties share one pass, forwards and backwards.
    """
    return lambda others: logits if others is images else critic(others)


def _squared_norms(grads: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns those of gradients `[n, ...]` for each logit, `[n]` or, of packs, `[n / m]`."""
    of_images = jnp.square(grads).reshape(len(grads), -1).sum(axis=1)
    return of_images.reshape(-1, len(logits)).sum(axis=0)


def _norms(squared: jax.Array) -> jax.Array:
    """Returns the square roots, with a gradient of zero where they are zero."""
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.where(squared > 0, jnp.sqrt(safe), 0.0)


def _uniform(key: jax.Array, images: jax.Array, for_each_image: bool = False) -> jax.Array:
    """Returns numbers in [0, 1): for every pixel, or one for each image, this device's rows."""
    pixels = [1] * (images.ndim - 1) if for_each_image else images.shape[1:]
    whole = jax.random.uniform(key, (device_count() * len(images), *pixels), images.dtype)
    return own_rows(whole)
