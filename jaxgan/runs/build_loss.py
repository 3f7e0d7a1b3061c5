"""The loss and the augmentation that a configuration describes."""

from collections.abc import Collection

from jaxgan.augment import Augmentation, add_noise, in_turn, make_augmentation
from jaxgan.errors import choose
from jaxgan.feedback import Feedback
from jaxgan.lazy import LazyPenalties, PathLength
from jaxgan.losses import (
    GRADIENT_PENALTIES,
    LOSSES,
    PENALTIES,
    Loss,
    auxiliary_classifier,
    data_to_data_cross_entropy,
    label_smoothing,
    no_loss,
    rotation,
    slicing,
    top_k,
)
from jaxgan.runs.build_optimizers import make_schedule
from jaxgan.runs.config import Config
from jaxgan.schedules import Schedule


def build_loss(config: Config, values: Config) -> Loss:
    """Returns the loss with its penalties. values: the configuration with the numbers to use."""
    loss = choose("loss", LOSSES, config.loss)()
    if config.label_smoothing:
        loss = label_smoothing(loss, values.label_smoothing)
    if config.top_k < 1 or config.final_top_k is not None:
        loss = top_k(loss, make_schedule(config, values.top_k, values.final_top_k))
    loss = add_heads(config, values, loss)
    lazy = GRADIENT_PENALTIES if config.penalty_every > 1 else set()
    return add_penalties(config, values, loss, PENALTIES.keys() - lazy)


def build_lazy_penalties(config: Config, values: Config) -> LazyPenalties | None:
    """Returns the penalties that have updates of their own, None if there are none."""
    given = {name for name in GRADIENT_PENALTIES if getattr(config, name)}
    if config.penalty_every == 1 or not given:
        return None
    updates = config.penalty_every * config.d_steps
    loss = add_penalties(config, values, no_loss(), given, updates)
    return LazyPenalties(loss, config.penalty_every)


def build_feedback(config: Config, values: Config) -> Feedback | None:
    """Returns the feedback to the probability of augmentations, None if there is none."""
    if config.augment_target is None:
        return None
    return Feedback(values.augment_target, config.augment_images)


def build_replaced(config: Config, values: Config) -> float | Schedule | None:
    """Returns the share of real images that generated ones replace, None for none."""
    if not config.pseudo_augmentation:
        return None
    return make_schedule(config, values.augment_probability, values.final_augment_probability)


def build_path_length(config: Config, values: Config) -> PathLength | None:
    """Returns the penalty on path lengths of the generator, None if there is none."""
    if not config.path_length:
        return None
    return PathLength(schedule_penalty(config, values, "path_length"), config.path_length_every)


def add_penalties(
    config: Config, values: Config, loss: Loss, names: Collection[str], factor: float = 1
) -> Loss:
    """Returns the loss with those of the penalties by name that the configuration has.

    factor: that the weights are multiplied by.
    """
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
        if getattr(config, name) and name in names:
            weight = schedule_penalty(config, values, name, factor)
            loss = penalty(loss, weight, **settings.get(name, {}))
    return loss


def schedule_penalty(
    config: Config, values: Config, name: str, factor: float = 1
) -> float | Schedule:
    """Returns the weight of a penalty by name, a number or a schedule, multiplied by a factor."""
    weight = factor * getattr(values, name)
    end = None if config.final_penalty == 1 else weight * values.final_penalty
    return make_schedule(config, weight, end)


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
