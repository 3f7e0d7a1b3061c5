"""What each player minimises, and penalties, which are functions from loss to loss.

To add a loss, write a function that returns a `Loss` and enter it in `LOSSES`; to add a penalty,
one that takes a `Loss` and a weight, and enter it in `PENALTIES`. Penalties compose as Optax's
transformations do: `r2(r1(relativistic(), 1.0), 1.0)`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from optax.losses import sigmoid_binary_cross_entropy as binary_cross_entropy

from jaxgan.devices import device_count, mean_over_devices, own_rows
from jaxgan.schedules import Schedule, at

Critic = Callable[[jax.Array, jax.Array], jax.Array]


class Outputs(NamedTuple):
    """What the outputs of a discriminator mean, for whoever reads its metrics.

    title: of the two numbers, for curves and tables. summary: outputs for real and for generated
        images, `[n]` each, to the metrics `(d_real, d_fake)`, means over the batch.
    limits: of the two numbers, None where there are none.
    """

    title: str
    summary: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    limits: tuple[float, float] | None = None


PROBABILITIES = Outputs(
    "mean probability of being real",
    lambda real, fake: (jax.nn.sigmoid(real).mean(), jax.nn.sigmoid(fake).mean()),
    (0.0, 1.0),
)
"""Of outputs that are logits."""
MEANS = Outputs("mean output", lambda real, fake: (real.mean(), fake.mean()))
"""Of outputs that are only compared with one another, or with targets."""
PAIRS = Outputs(
    "share of pairs won",
    lambda real, fake: ((real > fake).mean(), (fake > real).mean()),
    (0.0, 1.0),
)
"""Of outputs that are known up to a shift: how often the real image of a pair has the larger one,
and how often the generated image."""


class Loss(NamedTuple):
    """A loss for each player, both functions of `(critic, real, fake, key, step)`.

    critic: the discriminator with its parameters bound, `(key, images [n, ...])` to outputs `[n]`,
        of packs of `m` images `[n / m]`. It augments the images first, by draws from the key, so
        that gradients with respect to images are those before augmentation.
    real, fake: images `[n, ...]`.
    key: for losses that draw numbers of their own: for the whole batch, `device_count() * n` rows,
        of which `own_rows` takes this device's.
    step: for weights that follow a schedule.
    A loss must be a mean over the batch, for the means of several devices to make up its own.

    discriminator: returns the loss, a scalar, and the outputs `(real, fake)` it came from.
    generator: returns the loss, a scalar.
    outputs: what those outputs mean.
    penalises_gradients: whether it takes gradients at single images. They would be those of the
        whole batch in a discriminator with batch norm, which `gan` then refuses.
    """

    discriminator: Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]
    generator: Callable[..., jax.Array]
    outputs: Outputs = MEANS
    penalises_gradients: bool = False


def of_logits(
    discriminator: Callable[[jax.Array, jax.Array], jax.Array],
    generator: Callable[[jax.Array], jax.Array],
    outputs: Outputs = MEANS,
) -> Loss:
    """Returns the loss of two functions of logits.

    discriminator: of real and fake logits, a mean over them. generator: of fake logits, likewise.
    outputs: what the logits mean.
    """

    def discriminator_loss(critic: Critic, real, fake, key, step):
        del step
        logits = _judged(critic, real, fake, key)
        return discriminator(*logits), logits

    def generator_loss(critic: Critic, real, fake, key, step):
        del real, step
        return generator(critic(key, fake))

    return Loss(discriminator_loss, generator_loss, outputs)


def _judged(critic: Critic, real, fake, key) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs for real and for generated images, each augmented by its own draws."""
    real_key, fake_key = jax.random.split(key)
    return critic(real_key, real), critic(fake_key, fake)


def _cross_entropy(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns -log D(real) - log(1 - D(fake)), the means added; D is the sigmoid of the logits."""
    real = binary_cross_entropy(real_logits, 1.0).mean()
    return real + binary_cross_entropy(fake_logits, 0.0).mean()


def non_saturating() -> Loss:
    """Returns the loss whose generator minimises -log D(fake) (Goodfellow et al. 2014, section 3).

    The logarithms are computed from the logits, without overflow.
    """
    generator = lambda fake: binary_cross_entropy(fake, 1.0).mean()
    return of_logits(_cross_entropy, generator, PROBABILITIES)


def minimax() -> Loss:
    """Returns the loss whose generator minimises log(1 - D(fake)) (Goodfellow et al. 2014, eq. 1).

    Its gradient vanishes where the discriminator is sure, which `non_saturating` avoids.
    """
    generator = lambda fake: -binary_cross_entropy(fake, 0.0).mean()
    return of_logits(_cross_entropy, generator, PROBABILITIES)


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
        del step
        logits = real_logits, fake_logits = _judged(critic, real, fake, key)
        return jax.nn.softplus(fake_logits - real_logits).mean(), logits

    def generator(critic: Critic, real, fake, key, step):
        del step
        real_logits, fake_logits = _judged(critic, real, fake, key)
        return jax.nn.softplus(real_logits - fake_logits).mean()

    return Loss(discriminator, generator, PAIRS)


LOSSES = {
    loss.__name__: loss
    for loss in (minimax, non_saturating, least_squares, hinge, wasserstein, relativistic)
}


def r1(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss with gamma / 2 times the squared gradients at real images (Mescheder 2018).

    "Which training methods for GANs do actually converge?", eq. 9. gamma: a number or a schedule.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        return _penalised_at(loss, gamma, critic, real, real, fake, key, step)

    return loss._replace(discriminator=discriminator, penalises_gradients=True)


def r2(loss: Loss, gamma: float | Schedule) -> Loss:
    """Returns the loss with gamma / 2 times the squared gradients at generated images.

    Mescheder et al. 2018, eq. 10. gamma: a number or a schedule.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        return _penalised_at(loss, gamma, critic, fake, real, fake, key, step)

    return loss._replace(discriminator=discriminator, penalises_gradients=True)


def gradient_penalty(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss with weight times (norm - 1)^2 of the gradients between real and generated.

    WGAN-GP (Gulrajani et al. 2017, algorithm 1): at random points of the lines between them, of
    packed images those between the packs.
    """

    def between(real, fake, inputs, key):
        return real + _places(key, real, inputs) * (fake - real)

    return _one_lipschitz(loss, weight, between)


def dragan(loss: Loss, weight: float | Schedule = 10.0) -> Loss:
    """Returns the loss with weight times (norm - 1)^2 of the gradients around real images.

    Kodali et al. 2017, "On convergence and stability of GANs": at random points of the lines from
    real images to noisy ones, with noise up to half a standard deviation of the batch.
    """

    def around(real, fake, inputs, key):
        del fake
        noise_key, place_key = jax.random.split(key)
        mean = mean_over_devices(real.mean())
        deviation = jnp.sqrt(mean_over_devices(jnp.square(real - mean).mean()))
        noise = 0.5 * deviation * _uniform(noise_key, real.shape, real.dtype)
        return real + _places(place_key, real, inputs) * noise

    return _one_lipschitz(loss, weight, around)


PENALTIES = {penalty.__name__: penalty for penalty in (r1, r2, gradient_penalty, dragan)}


def with_gradients(
    critic: Critic, key: jax.Array, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs for images and the gradients, `[n, ...]`, of their sum by the images."""
    outputs, pullback = jax.vjp(partial(critic, key), images)
    return outputs, pullback(jnp.ones_like(outputs))[0]


def _penalised_at(loss: Loss, gamma: float | Schedule, critic, images, real, fake, key, step):
    """Returns what `loss.discriminator` does, with a penalty on gradients at `images`."""
    own_key, key = jax.random.split(key)
    outputs, grads = with_gradients(critic, own_key, images)
    critic = _knowing(critic, images, outputs)
    value, scores = loss.discriminator(critic, real, fake, key, step)
    return value + at(gamma, step) / 2 * _squared_norms(grads, outputs).mean(), scores


def _one_lipschitz(loss: Loss, weight: float | Schedule, points: Callable) -> Loss:
    """Returns the loss with a penalty on norms other than one.

    points: `(real, fake, inputs, key)` to where gradients are taken, of `inputs` inputs.
    """

    def discriminator(critic: Critic, real, fake, key, step):
        points_key, own_key, key = jax.random.split(key, 3)
        value, scores = loss.discriminator(critic, real, fake, key, step)
        places = points(real, fake, len(scores[0]), points_key)
        outputs, grads = with_gradients(critic, own_key, places)
        norms = _norms(_squared_norms(grads, outputs))
        return value + at(weight, step) * jnp.square(norms - 1).mean(), scores

    return loss._replace(discriminator=discriminator, penalises_gradients=True)


def _knowing(critic: Critic, images: jax.Array, outputs: jax.Array) -> Critic:
    """Returns the critic that need not look at `images`, this very array, to know its outputs.

    So a loss and its penalties share one pass, forwards and backwards, and one augmentation.
    """
    return lambda key, others: outputs if others is images else critic(key, others)


def _squared_norms(grads: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns those of gradients `[n, ...]` for each logit, `[n]` or, of packs, `[n / m]`."""
    of_images = jnp.square(grads).reshape(len(grads), -1).sum(axis=1)
    return of_images.reshape(-1, len(logits)).sum(axis=0)


def _norms(squared: jax.Array) -> jax.Array:
    """Returns the square roots, with a gradient of zero where they are zero."""
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.where(squared > 0, jnp.sqrt(safe), 0.0)


def _places(key: jax.Array, images: jax.Array, inputs: int) -> jax.Array:
    """Returns a number in [0, 1) for each input of the critic, `[n, 1, ...]`.

    inputs: how many inputs the images `[n, ...]` make up: all images of a pack share the number.
    """
    shares = _uniform(key, (inputs, *[1] * (images.ndim - 1)), images.dtype)
    return jnp.concatenate([shares] * (len(images) // inputs))


def _uniform(key: jax.Array, shape: tuple[int, ...], dtype) -> jax.Array:
    """Returns numbers in [0, 1) of a shape, this device's rows of those for the whole batch."""
    return own_rows(jax.random.uniform(key, (device_count() * shape[0], *shape[1:]), dtype))
