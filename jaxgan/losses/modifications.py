"""Changes of a loss that need no other output of the discriminator."""

import jax.numpy as jnp
from jax import lax

from jaxgan.devices import gather_rows
from jaxgan.errors import UsageError
from jaxgan.losses.base import PROBABILITIES, Critic, Loss, LossInputs, logits_of
from jaxgan.schedules import Schedule, at


def label_smoothing(loss: Loss, amount: float) -> Loss:
    """Returns a cross-entropy loss whose target for real images is 1 - amount.

    One-sided label smoothing (Salimans et al. 2016): the target for generated images
    remains 0, and the generator's loss is the same.
    Raises `UsageError` for a loss that is not a cross-entropy.
    """
    if loss.outputs is not PROBABILITIES:
        raise UsageError("--label-smoothing needs --loss non_saturating or minimax")

    def discriminator(critic: Critic, inputs: LossInputs):
        value, (real, fake) = loss.discriminator(critic, inputs)
        # The cross-entropy of a logit x is softplus(x) - target x.
        return value + amount * real.mean(), (real, fake)

    return loss._replace(discriminator=discriminator)


def top_k(loss: Loss, share: float | Schedule) -> Loss:
    """Returns the loss whose generator learns from the generated images with the largest logits.

    Sinha et al. 2020, "Top-k training of GANs". The gradient is that of the mean over this share of
    the batch; the value remains the mean over the whole batch.
    share: the fraction of the batch, above 0, a number or a schedule of the step.
    """

    def generator(critic: Critic, inputs: LossInputs):
        def of_best(key, images):
            logits = logits_of(critic(key, images))
            if images is not inputs.fake:
                return logits
            whole = jnp.sort(gather_rows(lax.stop_gradient(logits)))
            count = jnp.clip(jnp.round(at(share, inputs.step) * len(whole)), 1, len(whole))
            smallest = whole[len(whole) - count.astype(int)]
            kept = (whole >= smallest).sum()
            scale = jnp.where(logits >= smallest, len(whole) / kept, 0.0)
            fixed = lax.stop_gradient(logits)
            return fixed + scale * (logits - fixed)

        return loss.generator(of_best, inputs)

    return loss._replace(generator=generator)
