"""The optimizers and the schedules that a configuration describes."""

import optax

from jaxgan.errors import choose
from jaxgan.losses import GRADIENT_PENALTIES
from jaxgan.optimizers import clip_weights, make_optimizer, orthogonal_regularization
from jaxgan.runs.config import Config
from jaxgan.schedules import SCHEDULES, Schedule, decaying, ema_decay


def build_optimizers(config: Config, values: Config) -> tuple[optax.GradientTransformation, ...]:
    """Returns the Optax transformations of the generator and of the discriminator."""

    def tx(player: str, updates_per_step: int, lazy: int | None):
        correction = None
        if lazy is not None:
            usual, updates_per_step = updates_per_step, updates_per_step + 1 / lazy
            correction = usual / updates_per_step

        def own(name: str) -> float:
            value = getattr(values, f"{player}_{name}")
            return getattr(values, name) if value is None else value

        def decay(value: float) -> float:
            return value if correction is None else value**correction

        rate = own("learning_rate") if correction is None else correction * own("learning_rate")
        end = values.final_learning_rate
        if end is not None:
            end *= rate / values.learning_rate
        rate = make_schedule(config, rate, end, updates_per_step)
        if config.decay_steps:
            length = round(config.decay_steps * updates_per_step)
            rate = decaying(rate, SCHEDULES[config.decay](1.0, 0.0, length))
        final_beta2 = None if values.final_beta2 is None else decay(values.final_beta2)
        beta2 = make_schedule(config, decay(own("beta2")), final_beta2, updates_per_step)
        beta1 = decay(own("beta1"))
        made = make_optimizer(config.optimizer, rate, beta1, beta2, values.weight_decay)
        if config.clip_gradients:
            made = optax.chain(optax.clip_by_global_norm(values.clip_gradients), made)
        return made

    g_lazy = config.path_length_every if config.path_length else None
    penalized = config.penalty_every > 1 and penalizes_gradients(config)
    g_tx = tx("g", 1, g_lazy)
    d_tx = tx("d", config.d_steps, config.penalty_every if penalized else None)
    if config.orthogonal_regularization:
        g_tx = optax.chain(orthogonal_regularization(values.orthogonal_regularization), g_tx)
    if config.clip_weights:
        d_tx = optax.chain(d_tx, clip_weights(values.clip_weights))
    return g_tx, d_tx


def penalizes_gradients(config: Config) -> bool:
    """Returns whether a penalty depends on gradients of the discriminator at single images."""
    return any(getattr(config, name) for name in GRADIENT_PENALTIES)


def build_ema_decay(config: Config, values: Config) -> float | Schedule:
    """Returns the decay of the averaged generator: 0 or a schedule of the step."""
    if not config.ema_half_life:
        return 0.0
    half_life = values.ema_half_life
    if config.ema_burn_in:
        half_life = make_schedule(config, 0.0, half_life)
    warm_up = values.ema_warm_up if config.ema_warm_up else None
    return ema_decay(half_life, counted_images_per_step(config), warm_up)


def make_schedule(
    config: Config, start: float, end: float | None, updates_per_step: float = 1
) -> float | Schedule:
    """Returns a number, or its schedule over the burn-in as a function of the updates made."""
    if end is None or not config.burn_in:
        return start
    steps = -(-config.burn_in // counted_images_per_step(config))
    return choose("schedule", SCHEDULES, config.schedule)(
        start, end, round(steps * updates_per_step)
    )


def images_per_step(config: Config) -> int:
    """Returns the number of real images of a step."""
    return config.batch_size * (config.d_steps + config.fresh_generator_batch)


def counted_images_per_step(config: Config) -> int:
    """Returns the number of real images of a step in settings that count images.

    As in R3GAN, the real images of a generator update do not count.
    """
    return config.batch_size * config.d_steps
