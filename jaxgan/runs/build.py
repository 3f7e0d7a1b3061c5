"""The GAN that a configuration describes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from jaxgan.augment import Augmentation, add_noise, in_turn, make_augmentation
from jaxgan.data.float_arrays import FloatArrays, to_units
from jaxgan.errors import UsageError, choose
from jaxgan.gan import GAN, GANState, gan
from jaxgan.keys import key_of_seed
from jaxgan.losses import (
    LOSSES,
    PENALTIES,
    Loss,
    auxiliary_classifier,
    data_to_data_cross_entropy,
    label_smoothing,
    rotation,
    slicing,
    top_k,
)
from jaxgan.networks import NETWORKS, Heads, NetworkOptions
from jaxgan.optimizers import (
    clip_weights,
    freeze,
    make_optimizer,
    orthogonal_regularization,
)
from jaxgan.runs.config import Config
from jaxgan.schedules import SCHEDULES, Schedule, decaying, ema_decay

UNITS = "units"
"""The collection of a generator's variables that holds the mean and the deviation of the data."""
NUM_SAMPLES = 64
"""The number of samples in a picture."""


def build_gan(config: Config, dataset, numbers: dict | None = None) -> GAN:
    """Returns the GAN that a configuration describes, for examples of a data set's shape.

    numbers: values for settings of `jaxgan.runs.numbers.numbers_of`, which may be traced: the
    arguments of a compiled program. By default, they are those of the configuration.
    Raises `UsageError` for settings that cannot be combined with the data.
    """
    if config.conditional and dataset.num_classes is None:
        raise UsageError(
            f"--conditional needs labels, and {dataset.name} has none (in a folder of pictures, "
            "each subfolder is a class)"
        )
    pictures = dataset.bounded and len(dataset.shape) == 3
    for name in ("augment", "consistency", "fake_consistency"):
        if getattr(config, name) and not pictures:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} needs images, and {dataset.name} has none")
    if config.rotation and not (pictures and dataset.shape[0] == dataset.shape[1]):
        raise UsageError(f"--rotation needs square images, and {dataset.name} has none")
    values = dataclasses.replace(config, **(numbers or {}))
    loss = build_loss(config, values)
    generator, discriminator = build_networks(config, dataset, not loss.penalizes_gradients)
    g_tx, d_tx = build_optimizers(config, values)
    if config.freeze_d:
        d_tx = optax.chain(d_tx, freeze(first_layers(config, dataset, discriminator)))
    model = gan(
        generator,
        discriminator,
        loss=loss,
        g_tx=g_tx,
        d_tx=d_tx,
        latent_size=config.latent_size,
        d_steps=config.d_steps,
        ema_decay=build_ema_decay(config, values),
        num_classes=dataset.num_classes if config.conditional else None,
        pack=config.pack,
        augment=build_augmentation(config, values),
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        class_frequencies=dataset.class_frequencies if config.conditional else None,
        fresh_generator_batch=config.fresh_generator_batch,
    )
    return with_units(model, dataset) if isinstance(dataset, FloatArrays) else model


def with_units(model: GAN, dataset: FloatArrays) -> GAN:
    """Returns the GAN with a `sample` that returns samples in the units of the data.

    Its `averaged` adds the mean and the deviation to the generator's variables, as a collection
    `UNITS`.
    """
    units = {"mean": jnp.asarray(dataset.mean), "deviation": jnp.asarray(dataset.deviation)}
    return model._replace(
        sample=lambda *args, **settings: to_units(model.sample(*args, **settings), **units),
        averaged=lambda key, state: {**model.averaged(key, state), UNITS: units},
    )


def build_networks(config: Config, dataset, d_batch_norm: bool = True) -> tuple[nn.Module, ...]:
    """Returns the generator and the discriminator.

    dataset: anything with the `shape`, `bounded` and `num_classes` of a data set.
    d_batch_norm: whether the discriminator may have batch norm if --d-norm is not given.
    """
    num_classes = dataset.num_classes if config.conditional else None
    family = choose("network", NETWORKS, config.network)
    heads = Heads(config.d_conditioning, rotation=config.rotation > 0, slicing=config.slicing)
    options = NetworkOptions(
        config.g_norm, config.d_norm, config.g_conditioning, heads, tuple(config.widths)
    )
    arguments = dataset.shape, dataset.bounded, config.width, num_classes
    generator, discriminator = family(*arguments, options)
    if config.d_norm is None and discriminator.norm == "batch" and not d_batch_norm:
        return family(*arguments, options._replace(d_norm="none"))
    return generator, discriminator


def describe_changes(config: Config, dataset) -> str:
    """Returns how the networks differ from those that `--network` names; "" if they do not."""
    if not build_loss(config, config).penalizes_gradients:
        return ""
    usual, chosen = (
        build_networks(config, dataset, d_batch_norm) for d_batch_norm in (True, False)
    )
    if usual == chosen:
        return ""
    return "no batch norm in the discriminator, whose gradients are penalized"


def build_loss(config: Config, values: Config) -> Loss:
    """Returns the loss with its penalties. values: the configuration with the numbers to use."""
    loss = choose("loss", LOSSES, config.loss)()
    if config.label_smoothing:
        loss = label_smoothing(loss, values.label_smoothing)
    if config.top_k < 1 or config.final_top_k is not None:
        loss = top_k(loss, make_schedule(config, values.top_k, values.final_top_k))
    loss = add_heads(config, values, loss)
    transform = make_augmentation(config.consistency_augment)
    settings = {
        "consistency": {"transform": transform},
        "fake_consistency": {"transform": transform},
        "latent_consistency": {
            "generator_weight": values.g_latent_consistency,
            "latent_noise": values.latent_noise,
        },
        "lecam": {"start": config.lecam_start},
    }
    for name, penalty in PENALTIES.items():
        if getattr(config, name):
            weight = getattr(values, name)
            end = None if config.final_penalty == 1 else weight * values.final_penalty
            loss = penalty(loss, make_schedule(config, weight, end), **settings.get(name, {}))
    return loss


def first_layers(config: Config, dataset, discriminator: nn.Module) -> list[str]:
    """Returns the names of the discriminator's layers that --freeze-d freezes.

    These are its first parts with a kernel, and the norms between them (Mo et al. 2020, "Freeze the
    discriminator"). Raises `UsageError` if no layer would be left to train.
    """
    called: list[str] = []

    def record(function, args, kwargs, context):
        if len(path := context.module.path) == 1 and path[0] not in called:
            called.append(path[0])
        return function(*args, **kwargs)

    images = jnp.zeros((1, *dataset.shape[:-1], dataset.shape[-1] * config.pack))
    labels = jnp.zeros((1, config.pack) if config.pack > 1 else 1, int)
    arguments = (images, labels) if config.conditional else (images,)
    with nn.intercept_methods(record):
        shapes = jax.eval_shape(discriminator.init, key_of_seed(0), *arguments)["params"]
    has_kernel = lambda tree: any(path[-1] == "kernel" for path in traverse_util.flatten_dict(tree))
    layers = [name for name in called if name in shapes]
    starts = [i for i, name in enumerate(layers) if has_kernel(shapes[name])]
    if config.freeze_d >= len(starts):
        raise UsageError(
            f"--freeze-d {config.freeze_d} must be below {len(starts)}, the number of layers of "
            "the discriminator"
        )
    return layers[: starts[config.freeze_d]]


def add_heads(config: Config, values: Config, loss: Loss) -> Loss:
    """Returns the loss of a discriminator with the heads that `build_networks` gives it."""
    of_classes = {
        "auxiliary_classifier": auxiliary_classifier,
        "data_to_data_cross_entropy": data_to_data_cross_entropy,
    }
    if config.conditional and config.d_conditioning in of_classes:
        loss = of_classes[config.d_conditioning](loss, values.classification)
    if config.rotation:
        loss = rotation(loss, values.rotation, values.g_rotation)
    return slicing(loss) if config.slicing else loss


def build_augmentation(config: Config, values: Config) -> Augmentation | None:
    """Returns the augmentation of all examples that the discriminator sees, if there is one."""
    chosen = []
    if config.augment:
        start, end = values.augment_probability, values.final_augment_probability
        chosen.append(make_augmentation(config.augment, make_schedule(config, start, end)))
    if config.instance_noise or config.final_instance_noise:
        start, end = values.instance_noise, values.final_instance_noise
        chosen.append(add_noise(make_schedule(config, start, end)))
    return in_turn(*chosen) if chosen else None


def build_optimizers(config: Config, values: Config) -> tuple[optax.GradientTransformation, ...]:
    """Returns the Optax transformations of the generator and of the discriminator."""

    def tx(player: str, updates_per_step: int):
        def own(name: str) -> float:
            value = getattr(values, f"{player}_{name}")
            return getattr(values, name) if value is None else value

        rate = own("learning_rate")
        end = values.final_learning_rate
        if end is not None:
            end *= rate / values.learning_rate
        rate = make_schedule(config, rate, end, updates_per_step)
        if config.decay_steps:
            length = config.decay_steps * updates_per_step
            rate = decaying(rate, SCHEDULES[config.decay](1.0, 0.0, length))
        beta2 = make_schedule(config, own("beta2"), values.final_beta2, updates_per_step)
        made = make_optimizer(config.optimizer, rate, own("beta1"), beta2, values.weight_decay)
        if config.clip_gradients:
            made = optax.chain(optax.clip_by_global_norm(values.clip_gradients), made)
        return made

    g_tx, d_tx = tx("g", 1), tx("d", config.d_steps)
    if config.orthogonal_regularization:
        g_tx = optax.chain(orthogonal_regularization(values.orthogonal_regularization), g_tx)
    if config.clip_weights:
        d_tx = optax.chain(d_tx, clip_weights(values.clip_weights))
    return g_tx, d_tx


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
    config: Config, start: float, end: float | None, updates_per_step: int = 1
) -> float | Schedule:
    """Returns a number, or its schedule over the burn-in as a function of the updates made."""
    if end is None or not config.burn_in:
        return start
    steps = -(-config.burn_in // counted_images_per_step(config))
    return choose("schedule", SCHEDULES, config.schedule)(start, end, steps * updates_per_step)


def images_per_step(config: Config) -> int:
    """Returns the number of real images of a step."""
    return config.batch_size * (config.d_steps + config.fresh_generator_batch)


def counted_images_per_step(config: Config) -> int:
    """Returns the number of real images of a step in settings that count images.

    As in R3GAN, the real images of a generator update do not count.
    """
    return config.batch_size * config.d_steps


def count_parameters(state: GANState, members: int | None) -> dict[str, int]:
    """Returns the number of parameters of each network, from the state of so many members."""
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(getattr(state, name).params))
        // (members or 1)
        for name in ("generator", "discriminator")
    }


def samples_per_picture(config: Config, dataset) -> int:
    """Returns the number of samples in a picture, equal for all classes of a conditional GAN."""
    columns = dataset.num_classes if config.conditional else None
    if columns is None or columns > NUM_SAMPLES:
        return NUM_SAMPLES
    return columns * (NUM_SAMPLES // columns)
