"""The parts of a GAN's step: images of the generator, and an update of the discriminator."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.augment import Augmentation
from jaxgan.batch_norm import find_running_statistics, mean_of_statistics
from jaxgan.devices import accumulate, draw_rows, mean_over_devices
from jaxgan.feedback import Feedback
from jaxgan.keys import stream
from jaxgan.lazy import LazyPenalties, PathLength
from jaxgan.losses import Critic, Loss, LossInputs
from jaxgan.packing import pack_images, pack_labels
from jaxgan.players import Player, update_player
from jaxgan.sampling import Sampler, apply_in_training
from jaxgan.schedules import Schedule, at, is_off
from jaxgan.state import GANState


class Parts(NamedTuple):
    """The arguments of `gan`, with defaults filled in; `ema_decay` is None without averaging."""

    generator: nn.Module
    discriminator: nn.Module
    loss: Loss
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    latent_size: int
    d_steps: int
    ema_decay: float | Schedule | None
    profiles: tuple[float, ...]
    num_classes: int | None
    pack: int
    augment: Augmentation | None
    dtype: Any
    class_frequencies: Sequence[float] | None
    fresh_generator_batch: bool
    lazy_penalties: LazyPenalties | None
    path_length: PathLength | None
    accumulate: int
    feedback: Feedback | None
    replaced: float | Schedule | None

    @property
    def sampler(self) -> Sampler:
        """The generator without its parameters, for drawing samples."""
        return Sampler(self.generator, self.latent_size, self.num_classes)


def generate_images(parts: Parts, params, stats, key, labels, count: int) -> tuple:
    """Returns a pair of images `[count, ...]` and their neighbors, and new statistics.

    The neighbors are images of latents with noise, None unless the loss asks for them.
    """
    shape = count, parts.latent_size
    latents = draw_rows(jax.random.normal, key, shape)
    run = lambda latents: apply_in_training(
        parts.generator, {"params": params, **stats}, latents, labels, parts.dtype, key
    )
    images, stats = run(latents)
    if is_off(parts.loss.latent_noise):
        return (images, None), stats
    noise = draw_rows(jax.random.normal, stream(key, "noise"), shape)
    return (images, run(latents + parts.loss.latent_noise * noise)[0]), stats


def make_loss_inputs(real, generated, key, labels, state: GANState, loss_state=()) -> LossInputs:
    """Returns the inputs of a loss. generated: a pair of images and their neighbors."""
    probability = state.feedback.probability if state.feedback else None
    images, neighbors = generated
    return LossInputs(real, images, key, state.step, labels, neighbors, loss_state, probability)


def replace_real(parts: Parts, inputs: LossInputs) -> LossInputs:
    """Returns the inputs with generated images in the place of some real ones, at random.

    Jiang et al. 2021, "Deceive D: adaptive pseudo augmentation for GAN training with limited data",
    with the generated images of the same update.
    """
    if parts.replaced is None:
        return inputs
    share = at(parts.replaced, inputs.step) if inputs.probability is None else inputs.probability
    shape = len(inputs.real), *[1] * (inputs.real.ndim - 1)
    drawn = draw_rows(jax.random.uniform, stream(inputs.key, "replaced"), shape) < share
    return inputs._replace(real=jnp.where(drawn, inputs.fake, inputs.real))


def update_discriminator(parts: Parts, trained: tuple, inputs: LossInputs) -> tuple:
    """Returns the discriminator and the loss's state after one update, loss, logits, gradients."""
    d, loss_state = trained
    inputs = inputs._replace(state=loss_state)

    def of_part(rows: tuple) -> tuple:
        own = inputs.with_rows(rows)
        objective = lambda params: parts.loss.discriminator(make_critic(parts, own, d, params), own)
        (loss, logits), grads = jax.value_and_grad(objective, has_aux=True)(d.params)
        return (loss, grads), logits, ()

    (loss, grads), logits, _ = accumulate(parts.accumulate, of_part, inputs.rows)
    grads = mean_over_devices(grads)
    stats = d.stats
    # The discriminator is only used in training mode, in which batch norm does not read its running
    # statistics.
    if not all(find_running_statistics(stats)):
        keys = jax.random.split(inputs.key)
        passes = (
            _discriminate(parts, d, d.params, inputs, *own)[1]
            for own in zip(keys, (inputs.real, inputs.fake), strict=True)
        )
        stats = mean_of_statistics(*passes)
    loss_state = parts.loss.update(loss_state, logits, inputs.step)
    return (update_player(parts.d_tx, d, grads, stats), loss_state), loss, logits, grads


def draw_images(parts: Parts, g: Player, key: jax.Array, labels, count: int) -> tuple:
    """Returns what `generate_images` does, with a function from gradients of images in between."""
    run = lambda params: generate_images(parts, params, g.stats, key, labels, count)
    return jax.vjp(run, g.params, has_aux=True)


def update_generator(parts: Parts, state: GANState, critic: tuple, inputs: tuple, drawn) -> tuple:
    """Returns the generator after an update, its loss and its gradients.

    critic: the discriminator and the state of the loss. inputs: real images and labels, a key for
    the latents and a key for the loss. drawn: what `draw_images` returned for these latents, None
    to draw them.
    """
    g, (d, loss_state), (batch, latents_key, key) = state.generator, critic, inputs

    def of_part(batch: tuple) -> tuple:
        real, labels = batch
        images, pullback, stats = drawn or draw_images(parts, g, latents_key, labels, len(real))

        def objective(images):
            inputs = make_loss_inputs(real, images, key, labels, state, loss_state)
            return parts.loss.generator(make_critic(parts, inputs, d, d.params), inputs)

        loss, pixel_grads = jax.value_and_grad(objective)(images)
        return (loss, pullback(pixel_grads)[0]), (), stats

    (loss, grads), _, stats = accumulate(parts.accumulate, of_part, batch)
    grads = mean_over_devices(grads)
    return update_player(parts.g_tx, g, grads, stats), loss, grads


def make_critic(parts: Parts, inputs: LossInputs, d: Player, params) -> Critic:
    """Returns the discriminator with given parameters, as losses call it."""
    return lambda key, images: _discriminate(parts, d, params, inputs, key, images)[0]


def _discriminate(parts: Parts, d: Player, params, inputs: LossInputs, key, images) -> tuple:
    """Returns outputs and new statistics of the discriminator for augmented, packed images."""
    if parts.augment is not None:
        given = () if inputs.probability is None else (inputs.probability,)
        images = parts.augment(key, images, inputs.step, *given)
    images, labels = pack_images(images, parts.pack), pack_labels(inputs.labels, parts.pack)
    variables = {"params": params, **d.stats}
    return apply_in_training(parts.discriminator, variables, images, labels, parts.dtype)
