"""What each player minimises.

To add a loss, write a function that returns a `Loss` and enter it in `LOSSES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from optax.losses import sigmoid_binary_cross_entropy as binary_cross_entropy

Critic = Callable[[jax.Array], jax.Array]


class Loss(NamedTuple):
    """A loss for each player, both functions of `(critic, real, fake, key)`.

    `critic` is the discriminator with its parameters bound: images `[n, ...]` to logits `[n]`.
    `real` and `fake` are images `[n, ...]`; `key` is for losses that draw numbers of their own:
    for the whole batch, `device_count() * n` rows, of which `own_rows` takes this device's.
    A loss must be a mean over the batch, for the means of several devices to make up its own.

    discriminator: returns the loss, a scalar, and the logits `(real [n], fake [n])` it came from.
    generator: returns the loss, a scalar.
    """

    discriminator: Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]
    generator: Callable[..., jax.Array]


def scores(critic: Critic, real: jax.Array, fake: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the logits of real and of generated images, `[n]` each, from one pass over both."""
    real_logits, fake_logits = jnp.split(critic(jnp.concatenate([real, fake])), 2)
    return real_logits, fake_logits


def _cross_entropy_discriminator(critic: Critic, real, fake, key):
    """Returns -log D(real) - log(1 - D(fake)), the means added, and the logits."""
    del key
    real_logits, fake_logits = scores(critic, real, fake)
    loss = binary_cross_entropy(real_logits, 1.0).mean()
    loss += binary_cross_entropy(fake_logits, 0.0).mean()
    return loss, (real_logits, fake_logits)


def non_saturating() -> Loss:
    """Returns the loss whose generator minimises -log D(fake) (Goodfellow et al. 2014, section 3).

    D is the sigmoid of the logits; the logarithms are computed from the logits, without overflow.
    """

    def generator(critic: Critic, real, fake, key):
        del real, key
        return binary_cross_entropy(critic(fake), 1.0).mean()

    return Loss(_cross_entropy_discriminator, generator)


def minimax() -> Loss:
    """Returns the loss whose generator minimises log(1 - D(fake)) (Goodfellow et al. 2014, eq. 1).

    Its gradient vanishes where the discriminator is sure, which `non_saturating` avoids.
    """

    def generator(critic: Critic, real, fake, key):
        del real, key
        return -binary_cross_entropy(critic(fake), 0.0).mean()

    return Loss(_cross_entropy_discriminator, generator)


LOSSES = {"non_saturating": non_saturating, "minimax": minimax}
