"""The pure core: a GAN is three functions, `init`, `step` and `sample`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.devices import device_count, mean_over_devices, own_rows, whole_batch_statistics
from jaxgan.keys import stream
from jaxgan.losses import Loss, non_saturating


class Player(NamedTuple):
    """One network in training; `stats` are Flax's mutable collections, `{}` when there are none."""

    params: Any
    stats: Any
    opt_state: optax.OptState


class GANState(NamedTuple):
    """All that a step reads and writes.

    ema: exponential moving average of the generator's parameters, None when it is off.
    step: how many steps were taken, an int32 scalar.
    """

    generator: Player
    discriminator: Player
    ema: Any
    step: jax.Array


class Metrics(NamedTuple):
    """What a step reports, each a scalar.

    d_loss, g_loss: the players' losses. d_real, d_fake: mean probability that the discriminator
    gave to real and to generated images. d_grad_norm, g_grad_norm: global norms of the gradients.
    With several discriminator updates a step, the discriminator's are those of the last one.
    """

    d_loss: jax.Array
    g_loss: jax.Array
    d_real: jax.Array
    d_fake: jax.Array
    d_grad_norm: jax.Array
    g_grad_norm: jax.Array


class GAN(NamedTuple):
    """A GAN as pure functions, none of them jitted.

    init: `(key) -> state`.
    step: `(key, state, batch) -> (state, metrics)`; `key` is the run's key, the same at every step;
        `batch` holds the real images `[d_steps * n, ...]`, `n` for each discriminator update.
        Under a mapped axis `jaxgan.devices.AXIS` it holds this device's rows of the whole batch;
        state and metrics are those of the whole batch, the same on every device.
    sample: `(key, state, num_samples) -> images [num_samples, ...]`, from the averaged generator;
        the same key gives the same latents whatever the state.
    """

    init: Callable[[jax.Array], GANState]
    step: Callable[[jax.Array, GANState, jax.Array], tuple[GANState, Metrics]]
    sample: Callable[[jax.Array, GANState, int], jax.Array]


def adam(learning_rate: float = 2e-4, b1: float = 0.5, b2: float = 0.999):
    """Returns Adam with the momentum that GANs are trained with (Radford et al. 2016)."""
    return optax.adam(learning_rate, b1=b1, b2=b2)


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    loss: Loss | None = None,
    g_tx: optax.GradientTransformation | None = None,
    d_tx: optax.GradientTransformation | None = None,
    latent_size: int = 100,
    d_steps: int = 1,
    ema_decay: float = 0.999,
) -> GAN:
    """Returns the GAN of two networks.

    A step updates the discriminator `d_steps` times, each time on fresh real and generated images,
    and then the generator, through the new discriminator, on the images generated last.

    generator: Flax module, latents `[n, latent_size]` (drawn from N(0, 1)) to images `[n, ...]`.
    discriminator: Flax module, images `[n, ...]` to logits `[n]`.
    loss: `non_saturating()` unless given.
    g_tx, d_tx: Optax transformations; `adam()` unless given.
    ema_decay: of the averaged generator, 0 to sample from the generator itself.
    """
    loss = loss or non_saturating()
    g_tx, d_tx = g_tx or adam(), d_tx or adam()

    def init(key: jax.Array) -> GANState:
        g_key, d_key = jax.random.split(stream(key, "init"))
        images, g_variables = generator.init_with_output(g_key, jnp.zeros((1, latent_size)))
        g_player = _player(g_variables, g_tx)
        ema = jax.tree.map(jnp.copy, g_player.params) if ema_decay else None
        return GANState(
            generator=g_player,
            discriminator=_player(discriminator.init(d_key, images), d_tx),
            ema=ema,
            step=jnp.zeros((), jnp.int32),
        )

    def step(key: jax.Array, state: GANState, batch: jax.Array) -> tuple[GANState, Metrics]:
        reals = batch.reshape(d_steps, -1, *batch.shape[1:])
        keys = jax.random.split(jax.random.fold_in(stream(key, "step"), state.step), d_steps)
        g, d = state.generator, state.discriminator

        def generate(params, key):
            latents = jax.random.normal(key, (device_count() * reals.shape[1], latent_size))
            return _train_mode(generator, params, g.stats, own_rows(latents))

        def extra_update(d, inputs):
            key, real = inputs
            latents_key, loss_key, _ = jax.random.split(key, 3)
            fake, _ = generate(g.params, latents_key)
            return update_discriminator(loss_key, d, real, fake)[0], None

        if d_steps > 1:
            d, _ = lax.scan(extra_update, d, (keys[:-1], reals[:-1]))

        latents_key, d_key, g_key = jax.random.split(keys[-1], 3)
        real = reals[-1]
        fake, generator_vjp, g_stats = jax.vjp(
            lambda params: generate(params, latents_key), g.params, has_aux=True
        )
        d, d_loss, (real_logits, fake_logits), d_grads = update_discriminator(d_key, d, real, fake)

        def g_objective(fake):
            return loss.generator(_critic(discriminator, d), real, fake, g_key)

        g_loss, fake_grads = jax.value_and_grad(g_objective)(fake)
        g_grads = mean_over_devices(generator_vjp(fake_grads)[0])
        g = _update(g_tx, g, g_grads, g_stats)

        ema = optax.incremental_update(g.params, state.ema, 1 - ema_decay) if ema_decay else None
        d_real, d_fake = (jax.nn.sigmoid(logits).mean() for logits in (real_logits, fake_logits))
        metrics = Metrics(
            *mean_over_devices((d_loss, g_loss, d_real, d_fake)),
            d_grad_norm=optax.global_norm(d_grads),
            g_grad_norm=optax.global_norm(g_grads),
        )
        return GANState(g, d, ema, state.step + 1), metrics

    def update_discriminator(key, d: Player, real, fake):
        def objective(params):
            return loss.discriminator(_critic(discriminator, d, params), real, fake, key)

        (value, logits), grads = jax.value_and_grad(objective, has_aux=True)(d.params)
        grads = mean_over_devices(grads)
        stats = d.stats
        if stats:  # The pass of the loss again: XLA computes what is the same only once.
            both = jnp.concatenate([real, fake])
            _, stats = _train_mode(discriminator, d.params, stats, both)
        return _update(d_tx, d, grads, stats), value, logits, grads

    def sample(key: jax.Array, state: GANState, num_samples: int) -> jax.Array:
        return generated(generator, averaged(state), latent_size, key, num_samples)

    return GAN(init, step, sample)


def averaged(state: GANState) -> dict:
    """Returns the variables of the generator that samples are drawn from."""
    params = state.generator.params if state.ema is None else state.ema
    return {"params": params, **state.generator.stats}


def generated(
    generator: nn.Module, variables: dict, latent_size: int, key: jax.Array, num_samples: int
) -> jax.Array:
    """Returns images `[num_samples, ...]`; the same key gives the same latents."""
    latents = jax.random.normal(stream(key, "sample"), (num_samples, latent_size))
    return generator.apply(variables, latents)


def leaves(state: Any) -> dict[str, jax.Array]:
    """Returns the arrays of a state by their path in it."""
    flat, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def non_finite(state: Any) -> dict[str, jax.Array]:
    """Returns, for every floating-point leaf of a state, whether it holds a NaN or an infinity."""
    return {
        path: ~jnp.isfinite(leaf).all()
        for path, leaf in leaves(state).items()
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def _player(variables: dict, tx: optax.GradientTransformation) -> Player:
    stats = {name: value for name, value in variables.items() if name != "params"}
    return Player(variables["params"], stats, tx.init(variables["params"]))


def _train_mode(network: nn.Module, params, stats, inputs):
    """Returns the outputs in training mode and the new statistics."""
    variables = {"params": params, **stats}
    with nn.intercept_methods(whole_batch_statistics):
        return network.apply(variables, inputs, train=True, mutable=list(stats))


def _critic(discriminator: nn.Module, d: Player, params=None):
    """Returns images -> logits with the player's parameters, or those given, bound."""
    params = d.params if params is None else params
    return lambda images: _train_mode(discriminator, params, d.stats, images)[0]


def _update(tx: optax.GradientTransformation, player: Player, grads, stats) -> Player:
    updates, opt_state = tx.update(grads, player.opt_state, player.params)
    return Player(optax.apply_updates(player.params, updates), stats, opt_state)
