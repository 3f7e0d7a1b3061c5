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
from jaxgan.batch_norm import find_running_statistics
from jaxgan.devices import mean_over_devices
from jaxgan.errors import UsageError
from jaxgan.feedback import Feedback, init_feedback, update_feedback
from jaxgan.keys import stream
from jaxgan.lazy import LazyPenalties, PathLength, apply_lazy_penalties, penalize_path_lengths
from jaxgan.losses import Loss, non_saturating
from jaxgan.optimizers import adam
from jaxgan.packing import pack_images, pack_labels
from jaxgan.players import init_player
from jaxgan.profiles import update_profiles
from jaxgan.schedules import Schedule, at, is_off
from jaxgan.state import FeedbackMetrics, GANState, Metrics
from jaxgan.updates import (
    Parts,
    draw_images,
    generate_images,
    make_critic,
    make_loss_inputs,
    replace_real,
    update_discriminator,
    update_generator,
)


class GAN(NamedTuple):
    """A GAN as pure functions, which are not jitted.

    init: `(key) -> state`.
    step: `(key, state, batch) -> (state, metrics)`; `key` is the run's key, the same at every step;
        `batch` holds the real images `[d_steps * n, ...]`, `n` for each discriminator update and,
        with `fresh_generator_batch`, `n` more; or images and labels `(images, labels)`.
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
    profiles: Sequence[float] = (),
    num_classes: int | None = None,
    pack: int = 1,
    augment: Augmentation | None = None,
    dtype: Any = None,
    class_frequencies: Sequence[float] | None = None,
    fresh_generator_batch: bool = False,
    lazy_penalties: LazyPenalties | None = None,
    path_length: PathLength | None = None,
    accumulate: int = 1,
    feedback: Feedback | None = None,
    replaced: float | Schedule | None = None,
) -> GAN:
    """Returns the GAN of a generator and a discriminator.

    A step updates the discriminator `d_steps` times, each time on new real and generated images,
    and then the generator, through the updated discriminator, on the last generated images or, with
    `fresh_generator_batch`, on new ones.

    generator: Flax module, latents `[n, latent_size]` (drawn from N(0, 1)) to images `[n, ...]`.
    discriminator: Flax module, images `[n, ...]` to logits `[n]` or `jaxgan.losses.HeadOutputs`. It
        sees real and generated images in separate passes, so batch statistics never mix them.
    loss: `non_saturating()` by default.
    g_tx, d_tx: Optax transformations; `adam()` by default.
    ema_decay: decay of the averaged generator, a number or a schedule of the step; 0 to sample from
        the generator itself.
    profiles: relative widths of further averages, whose profiles are powers of time, see
        `jaxgan.profiles`; they are part of the state, and no samples are drawn from them.
    num_classes: number of classes of a conditional GAN. Both modules are then called as
        `module(inputs, labels)`, and generated images have the labels of the real ones.
    pack: number of images, joined along the channels, that the discriminator sees at a time
        (PacGAN, Lin et al. 2018); its labels are then `[n / pack, pack]`.
    augment: a differentiable augmentation of all images that the discriminator sees. Real and
        generated images are augmented independently.
    dtype: type of the inputs of both networks, such as `jnp.bfloat16`. The networks of this package
        compute in the type of their inputs; Flax's own layers also need their `dtype` set.
    class_frequencies: `[num_classes]`, frequencies of the classes in the batches that the batch
        statistics of the averaged generator are estimated from; equal by default.
    fresh_generator_batch: whether the generator's update has latents, labels and real images of its
        own, instead of those of the last discriminator update.
    lazy_penalties, path_length: penalties that have updates of their own, see `jaxgan.lazy`.
    accumulate: number of parts of the batch that gradients are computed of, one after another. The
        loss must be a mean over images, and the outputs for an image must not depend on others.
    feedback: from the discriminator's outputs to the probability of `augment` and `replaced`.
    replaced: share of the real images that generated ones replace, a number or a schedule of
        the step; None for none.
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
        ema_decay=None if is_off(ema_decay) else ema_decay,
        profiles=tuple(profiles),
        num_classes=num_classes,
        pack=pack,
        augment=augment,
        dtype=dtype,
        class_frequencies=class_frequencies,
        fresh_generator_batch=fresh_generator_batch,
        lazy_penalties=lazy_penalties,
        path_length=path_length,
        accumulate=accumulate,
        feedback=feedback,
        replaced=replaced,
    )
    return GAN(*(partial(function, parts) for function in (_init, _step, _sample, _averaged)))


def _init(parts: Parts, key: jax.Array) -> GANState:
    g_key, d_key = jax.random.split(stream(key, "init"))
    labels = None if parts.num_classes is None else jnp.zeros(parts.pack, int)
    latents = jnp.zeros((parts.pack, parts.latent_size))
    images, g_variables = parts.generator.init_with_output(g_key, *_arguments(latents, labels))
    shown = _arguments(pack_images(images, parts.pack), pack_labels(labels, parts.pack))
    g = init_player(g_variables, parts.g_tx)
    d = init_player(parts.discriminator.init(d_key, *shown), parts.d_tx)
    has_batch_norm = lambda player: any(find_running_statistics(player.stats))
    losses = parts.loss, parts.lazy_penalties and parts.lazy_penalties.loss
    penalized = any(loss is not None and loss.penalizes_gradients for loss in losses)
    if parts.accumulate > 1 and any(map(has_batch_norm, (g, d))):
        raise UsageError(
            "--accumulate needs networks without batch norm, which depends on the whole batch: "
            "choose another --g-norm and --d-norm"
        )
    if penalized and has_batch_norm(d):
        raise UsageError(
            "the loss penalizes gradients at single images, which depend on the whole batch in a "
            "discriminator with batch norm: use a discriminator without batch norm, as by --d-norm "
            "layer or none"
        )
    return GANState(
        generator=g,
        discriminator=d,
        ema=None if parts.ema_decay is None else jax.tree.map(jnp.copy, g.params),
        step=jnp.zeros((), jnp.int32),
        loss=parts.loss.init(),
        profiles=tuple(jax.tree.map(jnp.copy, g.params) for _ in parts.profiles),
        path_length=() if parts.path_length is None else jnp.zeros(()),
        feedback=() if parts.feedback is None else init_feedback(),
    )


def _step(parts: Parts, key: jax.Array, state: GANState, batch: Any) -> tuple[GANState, Metrics]:
    """Updates the discriminator `d_steps` times, then the generator, then its average."""
    batches = _split_batch(parts, batch)
    keys = jax.random.split(jax.random.fold_in(stream(key, "step"), state.step), parts.d_steps)
    g, trained = state.generator, (state.discriminator, state.loss)

    def extra_update(trained, inputs):
        key, (real, labels) = inputs
        latents_key, d_key, _ = jax.random.split(key, 3)
        generated, _ = generate_images(parts, g.params, g.stats, latents_key, labels, len(real))
        inputs = make_loss_inputs(real, generated, d_key, labels, state)
        return update_discriminator(parts, trained, replace_real(parts, inputs))[0], None

    if parts.d_steps > 1:
        rows = jax.tree.map(lambda each: each[: parts.d_steps - 1], (keys, batches))
        trained, _ = lax.scan(extra_update, trained, rows)

    latents_key, d_key, g_key = jax.random.split(keys[-1], 3)
    real, labels = jax.tree.map(lambda each: each[parts.d_steps - 1], batches)
    drawn = draw_images(parts, g, latents_key, labels, len(real))
    d_inputs = replace_real(parts, make_loss_inputs(real, drawn[0], d_key, labels, state))
    (d, loss_state), d_loss, logits, d_grads = update_discriminator(parts, trained, d_inputs)
    lazy = parts.lazy_penalties, parts.d_tx, d, partial(make_critic, parts), d_inputs
    d = apply_lazy_penalties(*lazy, parts.accumulate)
    seen = parts.d_steps * len(real)
    feedback = update_feedback(parts.feedback, state.feedback, logits[0], state.step, seen)

    if parts.fresh_generator_batch:
        real, labels = jax.tree.map(lambda each: each[-1], batches)
        latents_key = stream(g_key, "latents")
    if parts.fresh_generator_batch or parts.accumulate > 1:
        drawn = None
    g_inputs = (real, labels), latents_key, g_key
    g, g_loss, g_grads = update_generator(parts, state, (d, loss_state), g_inputs, drawn)
    of_paths = state.step, g_key, (len(real), parts.latent_size), labels
    shorten = partial(penalize_path_lengths, parts.path_length, parts.generator, parts.g_tx)
    g, path_length = shorten((g, state.path_length), of_paths)

    ema, profiles = _update_averages(parts, state, g.params)
    summary = *parts.loss.outputs.summary(*logits), *((each > 0).mean() for each in logits)
    d_loss, g_loss, *summary = mean_over_devices((d_loss, g_loss, *summary))
    norms = optax.tree.norm(d_grads), optax.tree.norm(g_grads)
    metrics = Metrics(d_loss, g_loss, *summary[:2], *norms, *summary[2:])
    if parts.feedback is not None:
        metrics = FeedbackMetrics(*metrics, state.feedback.probability)
    return GANState(g, d, ema, state.step + 1, loss_state, profiles, path_length, feedback), metrics


def _update_averages(parts: Parts, state: GANState, params: Any) -> tuple:
    """Returns the averages of the generator's parameters, `ema` and `profiles`, after a step."""
    ema = state.ema
    if parts.ema_decay is not None:
        ema = optax.incremental_update(params, ema, 1 - at(parts.ema_decay, state.step))
    return ema, update_profiles(state.profiles, params, parts.profiles, state.step)


def _averaged(parts: Parts, key: jax.Array, state: GANState) -> dict:
    params = state.generator.params if state.ema is None else state.ema
    frequencies = parts.class_frequencies
    return parts.sampler.with_batch_statistics(params, state.generator.stats, key, frequencies)


def _sample(parts: Parts, key: jax.Array, state: GANState, num_samples: int, labels=None):
    return parts.sampler.sample(_averaged(parts, key, state), key, num_samples, labels)


def _split_batch(parts: Parts, batch: Any) -> tuple[jax.Array, jax.Array | None]:
    """Returns images and labels, `[batches, n, ...]`; labels are None if not conditional."""
    images, labels = batch if isinstance(batch, tuple) else (batch, None)
    count = parts.d_steps + parts.fresh_generator_batch
    return jax.tree.map(
        lambda rows: rows.reshape(count, -1, *rows.shape[1:]),
        (images, None if parts.num_classes is None else labels),
    )


def _arguments(inputs: jax.Array, labels: jax.Array | None) -> tuple:
    return (inputs,) if labels is None else (inputs, labels)
