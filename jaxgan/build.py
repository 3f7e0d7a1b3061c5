"""The GAN that a configuration describes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.augment import augmentation
from jaxgan.config import Config
from jaxgan.errors import UsageError
from jaxgan.gan import GAN, gan
from jaxgan.keys import key_of_seed
from jaxgan.losses import LOSSES, PENALTIES, Loss
from jaxgan.networks import NETWORKS
from jaxgan.optimizers import adam, clip_weights
from jaxgan.schedules import SCHEDULES, Schedule, ema_decay

NUM_SAMPLES = 64


def build(config: Config, dataset) -> GAN:
    """Returns the `GAN` that a configuration describes, for examples of a data set's shape.

    Raises `UsageError` for what does not go together with the data.
    """
    if config.conditional and dataset.num_classes is None:
        raise UsageError(f"--conditional: {dataset.name} has no labels (a folder of folders has)")
    if config.augment and len(dataset.shape) != 3:
        raise UsageError(f"--augment is for images, and {dataset.name} has none")
    loss = penalised(config)
    generator, discriminator = networks(config, dataset, not loss.penalises_gradients)
    g_tx, d_tx = optimizers(config)
    return gan(
        generator,
        discriminator,
        loss=loss,
        g_tx=g_tx,
        d_tx=d_tx,
        latent_size=config.latent_size,
        d_steps=config.d_steps,
        ema_decay=averaging(config),
        num_classes=dataset.num_classes if config.conditional else None,
        pack=config.pack,
        augment=augmentation(config.augment) if config.augment else None,
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        class_frequencies=dataset.class_frequencies if config.conditional else None,
    )


def networks(config: Config, dataset, d_batch_norm: bool) -> tuple[nn.Module, nn.Module]:
    """Returns generator and discriminator.

    d_batch_norm: whether the discriminator may have batch norms.
    """
    num_classes = dataset.num_classes if config.conditional else None
    family = NETWORKS[config.network]
    return family(dataset.shape, dataset.bounded, config.width, num_classes, d_batch_norm)


def note(config: Config, dataset) -> str:
    """Returns what distinguishes the networks from those that `--network` names, or nothing."""
    if not penalised(config).penalises_gradients:
        return ""
    usual, chosen = (networks(config, dataset, d_batch_norm) for d_batch_norm in (True, False))
    return (
        "" if usual == chosen else "no batch norm in the discriminator: its gradients are penalised"
    )


def penalised(config: Config) -> Loss:
    """Returns the loss with its penalties."""
    loss = LOSSES[config.loss]()
    for name, penalty in PENALTIES.items():
        if weight := getattr(config, name):
            loss = penalty(loss, changing(config, weight, weight * config.final_penalty))
    return loss


def optimizers(config: Config) -> tuple[optax.GradientTransformation, ...]:
    """Returns the Optax transformations of the generator and of the discriminator."""

    def tx(updates_a_step: int):
        return adam(
            changing(config, config.learning_rate, config.final_learning_rate, updates_a_step),
            config.beta1,
            changing(config, config.beta2, config.final_beta2, updates_a_step),
        )

    g_tx, d_tx = tx(1), tx(config.d_steps)
    if config.clip_weights:
        d_tx = optax.chain(d_tx, clip_weights(config.clip_weights))
    return g_tx, d_tx


def averaging(config: Config) -> float | Schedule:
    """Returns the decay of the averaged generator, 0 or a schedule of the step."""
    if not config.ema_half_life:
        return 0.0
    half_life = config.ema_half_life
    if config.ema_burn_in:
        half_life = changing(config, 0.0, half_life)
    return ema_decay(half_life, images_a_step(config), config.ema_warm_up or None)


def changing(
    config: Config, start: float, end: float | None, updates_a_step: int = 1
) -> float | Schedule:
    """Returns a setting: a number, or a schedule of the updates made over the burn-in."""
    if end is None or end == start or not config.burn_in:
        return start
    steps = -(-config.burn_in // images_a_step(config))
    return SCHEDULES[config.schedule](start, end, steps * updates_a_step)


def images_a_step(config: Config) -> int:
    """Returns how many real images a step takes."""
    return config.batch_size * config.d_steps


def parameters(model: GAN) -> dict[str, int]:
    """Returns how many parameters each network of a GAN has."""
    state = jax.eval_shape(model.init, key_of_seed(0))
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(getattr(state, name).params))
        for name in ("generator", "discriminator")
    }


def num_samples(config: Config, dataset) -> int:
    """Returns how many samples a picture shows: of every class as many, where there are classes."""
    columns = dataset.num_classes if config.conditional else None
    if columns is None or columns > NUM_SAMPLES:
        return NUM_SAMPLES
    return columns * (NUM_SAMPLES // columns)
