"""The losses of both players, and penalties, which are functions from a loss to a loss.

To add a loss, write a function that returns a `Loss` and add it to `LOSSES`. To add a penalty,
write a function `(loss, weight) -> loss` and add it to `PENALTIES`. Penalties can be composed, as
in `r2(r1(relativistic(), 1.0), 1.0)`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from optax.losses import sigmoid_binary_cross_entropy as binary_cross_entropy

from jaxgan.devices import draw_rows, mean_over_devices
from jaxgan.schedules import Schedule, at

Critic = Callable[[jax.Array, jax.Array], jax.Array]


class Outputs(NamedTuple):
    """The meaning of a discriminator's outputs, and the metrics that summarize them.

    summary: from the outputs for real and for generated images, `[n]` each, to the metrics
        `(d_real, d_fake)`, means over the batch.
    title: of the two metrics in curves and tables. limits: their lower and upper limit, or None.
    """

    title: str
    summary: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    limits: tuple[float, float] | None = None


PROBABILITIES = Outputs(
    "mean probability of being real",
    lambda real, fake: (jax.nn.sigmoid(real).mean(), jax.nn.sigmoid(fake).mean()),
    (0.0, 1.0),
)
"""For outputs that are logits."""
MEANS = Outputs("mean output", lambda real, fake: (real.mean(), fake.mean()))
"""For outputs that are only compared with each other or with targets."""
PAIRS = Outputs(
    "share of pairs won",
    lambda real, fake: ((real > fake).mean(), (fake > real).mean()),
    (0.0, 1.0),
)
"""For outputs that are known up to a constant: the fractions of pairs in which the output is larger
for the real image, and for the generated image."""


class Loss(NamedTuple):
    """A loss for each player, both functions of `(critic, real, fake, key, step)`.

    critic: the discriminator with its parameters bound, `(key, images [n, ...])` to outputs `[n]`,
        or `[n / m]` for packs of `m` images. It first augments the images with random numbers from
        the key, so gradients with respect to images are taken before augmentation.
    real, fake: images `[n, ...]`.
    key: for losses that draw random numbers, with `jaxgan.devices.draw_rows`.
    step: for weights that follow a schedule.
    A loss must be a mean over the batch, so that the mean over devices is the loss of the batch.

    discriminator: returns the loss, a scalar, and the outputs `(real, fake)`.
    generator: returns the loss, a scalar.
    outputs: the meaning of the outputs.
    penalizes_gradients: whether the loss uses gradients at single images. With batch norm in the
        discriminator they would depend on the whole batch, so `gan` does not accept both.
    """

    discriminator: Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]
    generator: Callable[..., jax.Array]
    outputs: Outputs = MEANS
    penalizes_gradients: bool = False


def from_logits(
    discriminator: Callable[[jax.Array, jax.Array], jax.Array],
    generator: Callable[[jax.Array], jax.Array],
    outputs: Outputs = MEANS,
) -> Loss:
    """Returns the loss given by two functions of logits.

    discriminator: from real and fake logits to the mean loss of the batch.
    generator: from fake logits to the same. outputs: the meaning of the logits.
    """

    def discriminator_loss(critic: Critic, real, fake, key, step):
        del step
        logits = _critic_outputs(critic, real, fake, key)
        return discriminator(*logits), logits

    def generator_loss(critic: Critic, real, fake, key, step):
        del real, step
        return generator(critic(key, fake))

    return Loss(discriminator_loss, generator_loss, outputs)


def _critic_outputs(critic: Critic, real, fake, key) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs for real and for generated images, augmented independently."""
    real_key, fake_key = jax.random.split(key)
    return critic(real_key, real), critic(fake_key, fake)


def _cross_entropy(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns the mean of -log D(real) - log(1 - D(fake)), where D is the sigmoid of the logits."""
    real = binary_cross_entropy(real_logits, 1.0).mean()
    return real + binary_cross_entropy(fake_logits, 0.0).mean()


def non_saturating() -> Loss:
    """Returns the loss whose generator minimizes -log D(fake) (Goodfellow et al. 2014, section 3).

    The logarithms are computed from the logits, without overflow.
    """
    generator = lambda fake: binary_cross_entropy(fake, 1.0).mean()
    return from_logits(_cross_entropy, generator, PROBABILITIES)


def minimax() -> Loss:
    """Returns the loss whose generator minimizes log(1 - D(fake)) (Goodfellow et al. 2014, eq. 1).

    Its gradient vanishes when the discriminator is confident; `non_saturating` avoids this.
    """
    generator = lambda fake: -binary_cross_entropy(fake, 0.0).mean()
    return from_logits(_cross_entropy, generator, PROBABILITIES)


def least_squares() -> Loss:
    """Returns half the squared distances from 1 for real, 0 for fake (Mao et al. 2017, eq. 9)."""
    return from_logits(
        lambda real, fake: (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2,
        lambda fake: jnp.square(fake - 1).mean() / 2,
    )


def hinge() -> Loss:
    """Returns the hinge loss; -D(fake) for the generator (Lim and Ye 2017; Miyato et al. 2018)."""
    return from_logits(
        lambda real, fake: jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    )


def wasserstein() -> Loss:
    """Returns the loss D(fake) - D(real) of a critic (Arjovsky et al. 2017, eq. 2).

    It needs a Lipschitz critic: use `gradient_penalty`, spectral normalization, or
    `jaxgan.optimizers.clip_weights` as in the paper.
    """
    return from_logits(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean())


def relativistic() -> Loss:
    """Returns the relativistic pairing loss, of pairs of a real and a generated image.

    RpGAN (Jolicoeur-Martineau 2018; in R3GAN, Huang et al. 2024, eq. 2): softplus of
    D(fake) - D(real) for the discriminator, and of D(real) - D(fake) for the generator. In R3GAN
    the two players use different real images; here they use the same ones.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        del step
        logits = real_logits, fake_logits = _critic_outputs(critic, real, fake, key)
        return jax.nn.softplus(fake_logits - real_logits).mean(), logits

    def generator(critic: Critic, real, fake, key, step):
        del step
        real_logits, fake_logits = _critic_outputs(critic, real, fake, key)
        return jax.nn.softplus(real_logits - fake_logits).mean()

    return Loss(discriminator, generator, PAIRS)


LOSSES = {
    loss.__name__: loss
    for loss in (minimax, non_saturating, least_squares, hinge, wasserstein, relativistic)
}


def r1(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus gamma / 2 times the squared gradient norm at real images.

    Mescheder et al. 2018, "Which training methods for GANs do actually converge?", eq. 9.
    gamma: a number or a schedule of the step.
    """
    return _penalize_gradients_at(loss, gamma, lambda real, fake: real)


def r2(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss plus gamma / 2 times the squared gradient norm at generated images.

    Mescheder et al. 2018, eq. 10. gamma: a number or a schedule of the step.
    """
    return _penalize_gradients_at(loss, gamma, lambda real, fake: fake)


def gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times (norm - 1)^2 of gradients between real and fake images.

    WGAN-GP (Gulrajani et al. 2017, algorithm 1): the points are random ones on the lines between
    real and generated images or, with packing, between packs of them.
    """

    def between(real, fake, inputs, key):
        return real + _interpolation_weights(key, real, inputs) * (fake - real)

    return _penalize_norms(loss, weight, between)


def dragan(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss plus weight times (norm - 1)^2 of gradients around real images.

    Kodali et al. 2017, "On convergence and stability of GANs": the points are random ones on lines
    from real to noisy images, with uniform noise up to half the standard deviation of the batch.
    """

    def around(real, fake, inputs, key):
        del fake
        noise_key, place_key = jax.random.split(key)
        mean = mean_over_devices(real.mean())
        deviation = jnp.sqrt(mean_over_devices(jnp.square(real - mean).mean()))
        noise = (
            0.5 * deviation * draw_rows(jax.random.uniform, noise_key, real.shape, dtype=real.dtype)
        )
        return real + _interpolation_weights(place_key, real, inputs) * noise

    return _penalize_norms(loss, weight, around)


PENALTIES = {penalty.__name__: penalty for penalty in (r1, r2, gradient_penalty, dragan)}


def value_and_input_gradients(
    critic: Critic, key: jax.Array, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs, and the gradients `[n, ...]` of their sum with respect to the images."""
    outputs, pullback = jax.vjp(partial(critic, key), images)
    return outputs, pullback(jnp.ones_like(outputs))[0]


def _penalize_gradients_at(loss: Loss, gamma: float | Schedule, choose_images: Callable) -> Loss:
    """Returns the loss with a penalty on gradients at the images `choose_images(real, fake)`."""

    def discriminator(critic: Critic, real, fake, key, step):
        own_key, key = jax.random.split(key)
        images = choose_images(real, fake)
        outputs, grads = value_and_input_gradients(critic, own_key, images)
        critic = _with_known_outputs(critic, images, outputs)
        value, scores = loss.discriminator(critic, real, fake, key, step)
        return value + at(gamma, step) / 2 * _squared_norms(grads, outputs).mean(), scores

    return loss._replace(discriminator=discriminator, penalizes_gradients=True)


def _penalize_norms(loss: Loss, weight: float | Schedule, points: Callable) -> Loss:
    """Returns the loss with a penalty on gradient norms other than one.

    points: `(real, fake, inputs, key) -> images`, where inputs is the number of images or packs.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        points_key, own_key, key = jax.random.split(key, 3)
        value, scores = loss.discriminator(critic, real, fake, key, step)
        places = points(real, fake, len(scores[0]), points_key)
        outputs, grads = value_and_input_gradients(critic, own_key, places)
        norms = _norms(_squared_norms(grads, outputs))
        return value + at(weight, step) * jnp.square(norms - 1).mean(), scores

    return loss._replace(discriminator=discriminator, penalizes_gradients=True)


def _with_known_outputs(critic: Critic, images: jax.Array, outputs: jax.Array) -> Critic:
    """Returns a critic that returns known outputs for `images`, recognized by identity.

    A loss and its penalties thus share a forward pass, a backward pass and the augmentation.
    """
    return lambda key, others: outputs if others is images else critic(key, others)


def _squared_norms(grads: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns the squared norms of gradients `[n, ...]`, `[n]` or, with packing, `[n / m]`."""
    of_images = jnp.square(grads).reshape(len(grads), -1).sum(axis=1)
    return of_images.reshape(-1, len(logits)).sum(axis=0)


def _norms(squared: jax.Array) -> jax.Array:
    """Returns the square roots, with a gradient of zero instead of infinity at zero."""
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.where(squared > 0, jnp.sqrt(safe), 0.0)


def _interpolation_weights(key: jax.Array, images: jax.Array, inputs: int) -> jax.Array:
    """Returns random numbers in [0, 1) for images `[n, ...]`, `[n, 1, ...]`.

    inputs: number of inputs of the critic; all images of a pack have the same random number.
    """
    shape = (inputs, *[1] * (images.ndim - 1))
    shares = draw_rows(jax.random.uniform, key, shape, dtype=images.dtype)
    return jnp.concatenate([shares] * (len(images) // inputs))
