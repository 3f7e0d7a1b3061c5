"""The GAN that a configuration describes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from jaxgan.data.float_arrays import FloatArrays, to_units
from jaxgan.errors import UsageError, choose
from jaxgan.gan import GAN, GANState, gan
from jaxgan.keys import key_of_seed
from jaxgan.networks import NETWORKS, Heads, NetworkOptions
from jaxgan.optimizers import freeze
from jaxgan.runs.build_loss import (
    build_augmentation,
    build_feedback,
    build_lazy_penalties,
    build_loss,
    build_path_length,
    build_replaced,
)
from jaxgan.runs.build_optimizers import (
    build_ema_decay,
    build_optimizers,
    penalizes_gradients,
)
from jaxgan.runs.config import Config

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
    consistent = config.consistency or config.fake_consistency
    chosen = {*config.augment, *(config.consistency_augment if consistent else ())}
    if "ada_color" in chosen and dataset.shape[-1] not in (1, 3):
        raise UsageError(
            f"ada_color needs images of 1 or 3 channels, and those of {dataset.name} have "
            f"{dataset.shape[-1]}"
        )
    if config.rotation and not (pictures and dataset.shape[0] == dataset.shape[1]):
        raise UsageError(f"--rotation needs square images, and {dataset.name} has none")
    values = dataclasses.replace(config, **(numbers or {}))
    loss = build_loss(config, values)
    generator, discriminator = build_networks(config, dataset, not penalizes_gradients(config))
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
        profiles=config.ema_profiles,
        num_classes=dataset.num_classes if config.conditional else None,
        pack=config.pack,
        augment=build_augmentation(config, values),
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        class_frequencies=dataset.class_frequencies if config.conditional else None,
        fresh_generator_batch=config.fresh_generator_batch,
        lazy_penalties=build_lazy_penalties(config, values),
        path_length=build_path_length(config, values),
        accumulate=config.accumulate,
        feedback=build_feedback(config, values),
        replaced=build_replaced(config, values),
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
        config.g_norm,
        config.d_norm,
        config.g_conditioning,
        heads,
        tuple(config.widths),
        config.mapping_layers,
        config.style_mixing,
        config.remat,
    )
    arguments = dataset.shape, dataset.bounded, config.width, num_classes
    generator, discriminator = family(*arguments, options)
    if config.d_norm is None and discriminator.norm == "batch" and not d_batch_norm:
        return family(*arguments, options._replace(d_norm="none"))
    return generator, discriminator


def describe_changes(config: Config, dataset) -> str:
    """Returns how the networks differ from those that `--network` names; "" if they do not."""
    if not penalizes_gradients(config):
        return ""
    usual, chosen = (
        build_networks(config, dataset, d_batch_norm) for d_batch_norm in (True, False)
    )
    if usual == chosen:
        return ""
    return "no batch norm in the discriminator, whose gradients are penalized"


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
