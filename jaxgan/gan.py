"""A GAN as four pure functions: `init`, `step`, `sample` and `averaged`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.augment import Augmentation
from jaxgan.batch_norm import find_running_statistics, override_batch_norm
from jaxgan.devices import AXIS, device_count, draw_rows, mean_over_devices
from jaxgan.errors import UsageError
from jaxgan.keys import stream
from jaxgan.losses import Loss, non_saturating
from jaxgan.optimizers import adam
from jaxgan.packing import pack_images, pack_labels
from jaxgan.players import Player, init_player, update_player
from jaxgan.sampling import Sampler, apply
from jaxgan.schedules import Schedule, at


class GANState(NamedTuple):
    """The state that a step reads and updates.

    ema: exponential moving average of the generator's parameters, None without averaging.
    step: number of steps taken, an int32 scalar.
    """

    generator: Player
    discriminator: Player
    ema: Any
    step: jax.Array


class Metrics(NamedTuple):
    """The metrics of a step, all scalars.

    d_loss, g_loss: losses of the players. d_real, d_fake: summaries of the discriminator's outputs
    for real and for generated images, which depend on the loss (`jaxgan.losses.Outputs`).
    d_grad_norm, g_grad_norm: global norms of the gradients. d_real_positive, d_fake_positive:
    fractions of real and of generated images with a positive output. The first is close to one if
    the discriminator overfits (Karras et al. 2020, "Training GANs with limited data", section 3.1),
    unless the loss is invariant to a shift of all outputs.
    With several discriminator updates per step, its metrics are from the last one.
    """

    d_loss: jax.Array
    g_loss: jax.Array
    d_real: jax.Array
    d_fake: jax.Array
    d_grad_norm: jax.Array
    g_grad_norm: jax.Array
    d_real_positive: jax.Array
    d_fake_positive: jax.Array


class GAN(NamedTuple):
    """A GAN as pure functions, which are not jitted.

    init: `(key) -> state`.
    step: `(key, state, batch) -> (state, metrics)`; `key` is the run's key, the same at every step;
        `batch` holds the real images `[d_steps * n, ...]`, `n` for each discriminator update, or
        images and labels `(images, labels)`.
        Under a mapped axis `jaxgan.devices.AXIS`, `batch` holds this device's rows of the whole
        batch; state and metrics are those of the whole batch, the same on every device.
    sample: `(key, state, num_samples, labels=None) -> images [num_samples, ...]`, from the averaged
        generator; the same key gives the same latents for every state. labels: for a conditional
        GAN, `[num_samples]` or one for all; by default the classes in turn.
    averaged: `(key, state) -> variables` of the generator from which samples are drawn.
    """

    init: Callable[[jax.Array], GANState]
    step: Callable[[jax.Array, GANState, Any], tuple[GANState, Metrics]]
    sample: Callable[..., jax.Array]
    averaged: Callable[[jax.Array, GANState], dict]


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    loss: Loss | None = None,
    g_tx: optax.GradientTransformation | None = None,
    d_tx: optax.GradientTransformation | None = None,
    latent_size: int = 100,
    d_steps: int = 1,
    ema_decay: float | Schedule = 0.999,
    num_classes: int | None = None,
    pack: int = 1,
    augment: Augmentation | None = None,
    dtype: Any = None,
    class_frequencies: Sequence[float] | None = None,
) -> GAN:
    """Returns the GAN of a generator and a discriminator.

    A step updates the discriminator `d_steps` times, each time on new real and generated images,
    and then the generator, through the updated discriminator, on the last generated images.

    generator: Flax module, latents `[n, latent_size]` (drawn from N(0, 1)) to images `[n, ...]`.
    discriminator: Flax module, images `[n, ...]` to logits `[n]`. It sees real and generated images
        in separate passes, so batch statistics never mix them.
    loss: `non_saturating()` by default.
    g_tx, d_tx: Optax transformations; `adam()` by default.
    ema_decay: decay of the averaged generator, a number or a schedule of the step; 0 to sample from
        the generator itself.
    num_classes: number of classes of a conditional GAN. Both modules are then called as
        `module(inputs, labels)`, and generated images have the labels of the real ones.
    pack: number of images, joined along the channels, that the discriminator sees at a time
        (PacGAN, Lin et al. 2018); its labels are then `[n / pack, pack]`.
    augment: `(key, images) -> images`, a differentiable augmentation of all images that the
        discriminator sees. Real and generated images are augmented independently.
    dtype: type of the inputs of both networks, such as `jnp.bfloat16`. The networks of this package
        compute in the type of their inputs; Flax's own layers also need their `dtype` set.
    class_frequencies: `[num_classes]`, frequencies of the classes in the batches that the batch
        statistics of the averaged generator are estimated from; equal by default.
    `init` raises `UsageError` for a loss that penalizes gradients at single images if the
    discriminator has batch norm.
    """
    parts = Parts(
        generator=generator,
        discriminator=discriminator,
        loss=loss or non_saturating(),
        g_tx=g_tx or adam(),
        d_tx=d_tx or adam(),
        latent_size=latent_size,
        d_steps=d_steps,
        ema_decay=ema_decay if callable(ema_decay) or ema_decay > 0 else None,
        num_classes=num_classes,
        pack=pack,
        augment=augment,
        dtype=dtype,
        class_frequencies=class_frequencies,
    )
    return GAN(*(partial(function, parts) for function in (_init, _step, _sample, _averaged)))


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
    num_classes: int | None
    pack: int
    augment: Augmentation | None
    dtype: Any
    class_frequencies: Sequence[float] | None

    @property
    def sampler(self) -> Sampler:
        """The generator without its parameters, for drawing samples."""
        return Sampler(self.generator, self.latent_size, self.num_classes)


def _init(parts: Parts, key: jax.Array) -> GANState:
    g_key, d_key = jax.random.split(stream(key, "init"))
    labels = None if parts.num_classes is None else jnp.zeros(parts.pack, int)
    latents = jnp.zeros((parts.pack, parts.latent_size))
    images, g_variables = parts.generator.init_with_output(g_key, *_arguments(latents, labels))
    shown = _arguments(pack_images(images, parts.pack), pack_labels(labels, parts.pack))
    g = init_player(g_variables, parts.g_tx)
    d = init_player(parts.discriminator.init(d_key, *shown), parts.d_tx)
    if parts.loss.penalizes_gradients and any(find_running_statistics(d.stats)):
        raise UsageError(
            "the loss penalizes gradients at single images, which depend on the whole batch in a "
            "discriminator with batch norm: use a discriminator without batch norm"
        )
    return GANState(
        generator=g,
        discriminator=d,
        ema=None if parts.ema_decay is None else jax.tree.map(jnp.copy, g.params),
        step=jnp.zeros((), jnp.int32),
    )


def _step(parts: Parts, key: jax.Array, state: GANState, batch: Any) -> tuple[GANState, Metrics]:
    """Updates the discriminator `d_steps` times, then the generator, then its average."""
    updates = _split_batch(parts, batch)
    keys = jax.random.split(jax.random.fold_in(stream(key, "step"), state.step), parts.d_steps)
    g, d = state.generator, state.discriminator

    def generate(params, key, labels):
        shape = (updates[0].shape[1], parts.latent_size)
        latents = draw_rows(jax.random.normal, key, shape)
        return _train_mode(parts, parts.generator, params, g.stats, latents, labels)

    def extra_update(d, inputs):
        key, (real, labels) = inputs
        latents_key, d_key, _ = jax.random.split(key, 3)
        fake, _ = generate(g.params, latents_key, labels)
        return _update_discriminator(parts, d_key, state.step, d, (real, fake), labels)[0], None

    if parts.d_steps > 1:
        d, _ = lax.scan(extra_update, d, jax.tree.map(lambda rows: rows[:-1], (keys, updates)))

    latents_key, d_key, g_key = jax.random.split(keys[-1], 3)
    real, labels = jax.tree.map(lambda rows: rows[-1], updates)
    fake, generator_vjp, g_stats = jax.vjp(
        lambda params: generate(params, latents_key, labels), g.params, has_aux=True
    )
    d, d_loss, outputs, d_grads = _update_discriminator(
        parts, d_key, state.step, d, (real, fake), labels
    )

    def g_objective(fake):
        critic = lambda key, images: _discriminate(parts, d, d.params, key, images, labels)[0]
        return parts.loss.generator(critic, real, fake, g_key, state.step)

    g_loss, fake_grads = jax.value_and_grad(g_objective)(fake)
    g_grads = mean_over_devices(generator_vjp(fake_grads)[0])
    g = update_player(parts.g_tx, g, g_grads, g_stats)

    ema = state.ema
    if parts.ema_decay is not None:
        ema = optax.incremental_update(g.params, ema, 1 - at(parts.ema_decay, state.step))
    summary = *parts.loss.outputs.summary(*outputs), *((each > 0).mean() for each in outputs)
    d_loss, g_loss, *summary = mean_over_devices((d_loss, g_loss, *summary))
    norms = optax.tree.norm(d_grads), optax.tree.norm(g_grads)
    metrics = Metrics(d_loss, g_loss, *summary[:2], *norms, *summary[2:])
    return GANState(g, d, ema, state.step + 1), metrics


def _update_discriminator(parts: Parts, key, step, d: Player, images, labels):
    """Returns the discriminator after one update, the loss, the outputs and the gradients.

    images: a pair of real and generated images.
    """

    def objective(params):
        critic = lambda key, images: _discriminate(parts, d, params, key, images, labels)[0]
        return parts.loss.discriminator(critic, *images, key, step)

    (loss, outputs), grads = jax.value_and_grad(objective, has_aux=True)(d.params)
    grads = mean_over_devices(grads)
    stats = d.stats
    # The discriminator is only used in training mode, in which batch norm does not read its running
    # statistics.
    if not all(find_running_statistics(stats)):
        keys = jax.random.split(key)
        passes = (
            _discriminate(parts, d, d.params, *own, labels)[1]
            for own in zip(keys, images, strict=True)
        )
        stats = jax.tree.map(_mean, *passes)
    return update_player(parts.d_tx, d, grads, stats), loss, outputs, grads


def _discriminate(parts: Parts, d: Player, params, key, images, labels):
    """Returns outputs and new statistics of the discriminator for augmented, packed images."""
    if parts.augment is not None:
        images = parts.augment(key, images)
    images, labels = pack_images(images, parts.pack), pack_labels(labels, parts.pack)
    return _train_mode(parts, parts.discriminator, params, d.stats, images, labels)


def _averaged(parts: Parts, key: jax.Array, state: GANState) -> dict:
    params = state.generator.params if state.ema is None else state.ema
    frequencies = parts.class_frequencies
    return parts.sampler.with_batch_statistics(params, state.generator.stats, key, frequencies)


def _sample(parts: Parts, key: jax.Array, state: GANState, num_samples: int, labels=None):
    return parts.sampler.sample(_averaged(parts, key, state), key, num_samples, labels)


def _split_batch(parts: Parts, batch: Any) -> tuple[jax.Array, jax.Array | None]:
    """Returns images and labels, `[d_steps, n, ...]`; labels are None if not conditional."""
    images, labels = batch if isinstance(batch, tuple) else (batch, None)
    return jax.tree.map(
        lambda rows: rows.reshape(parts.d_steps, -1, *rows.shape[1:]),
        (images, None if parts.num_classes is None else labels),
    )


def _arguments(inputs: jax.Array, labels: jax.Array | None) -> tuple:
    return (inputs,) if labels is None else (inputs, labels)


def _train_mode(parts: Parts, network: nn.Module, params, stats, inputs, labels):
    """Returns the outputs in training mode, and the new statistics of the whole batch."""
    variables = {"params": params, **stats}
    axis = AXIS if device_count() > 1 else None
    with nn.intercept_methods(override_batch_norm(axis_name=axis)):
        settings = {"train": True, "mutable": list(stats)}
        return apply(network, variables, inputs, labels, parts.dtype, **settings)


def _mean(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the mean of two statistics or, if not floating-point (counters), the first."""
    return (a + b) / 2 if jnp.issubdtype(a.dtype, jnp.floating) else a
