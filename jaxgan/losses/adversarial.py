"""The adversarial losses of both players."""

import jax
import jax.numpy as jnp
from optax.losses import sigmoid_binary_cross_entropy as binary_cross_entropy

from jaxgan.devices import mean_over_devices
from jaxgan.losses.base import PAIRS, PROBABILITIES, Loss, from_logits, logits_of_both


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
    the two players use different images: see `fresh_generator_batch` of `jaxgan.gan.gan`.
    """

    def discriminator(critic, inputs):
        logits = real, fake = logits_of_both(critic, inputs)
        return jax.nn.softplus(fake - real).mean(), logits

    def generator(critic, inputs):
        real, fake = logits_of_both(critic, inputs)
        return jax.nn.softplus(real - fake).mean()

    return Loss(discriminator, generator, PAIRS)


def relativistic_average() -> Loss:
    """Returns the relativistic average loss (RaGAN, Jolicoeur-Martineau 2018).

    The cross-entropy of each logit minus the mean logit of the other kind of images: real images
    should have larger logits than the average generated one, for the discriminator, and smaller
    ones for the generator.
    """

    def discriminator(critic, inputs):
        logits = real, fake = logits_of_both(critic, inputs)
        return _cross_entropy(*_relative(real, fake)), logits

    def generator(critic, inputs):
        real, fake = _relative(*logits_of_both(critic, inputs))
        return _cross_entropy(fake, real)

    return Loss(discriminator, generator, PAIRS)


def _relative(real: jax.Array, fake: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns logits minus the mean of the other ones, over the batch."""
    real_mean, fake_mean = mean_over_devices((real.mean(), fake.mean()))
    return real - fake_mean, fake - real_mean
