"""Checks of the settings of the method: which of them exclude or need one another.

Each raises `UsageError` for a configuration that cannot be run.
"""

from typing import Any

from jaxgan.errors import UsageError

GRADIENT_PENALTIES = (
    "r1",
    "r2",
    "approximate_r1",
    "approximate_r2",
    "gradient_penalty",
    "one_sided_gradient_penalty",
    "zero_centered_gradient_penalty",
    "dragan",
)
WITH_SIGNS = ("non_saturating", "minimax", "hinge")
"""Losses whose outputs are positive for images that are taken for real."""


def check_method(config: Any) -> None:
    """Raises `UsageError` for settings of the method that exclude or need one another."""
    _check_burn_in(config)
    _check_classes(config)
    _check_penalties(config)
    per_step = config.batch_size * (config.d_steps + config.fresh_generator_batch)
    refuse(config.g_rotation and not config.rotation, "--g-rotation needs --rotation")
    _check_augmentation(config)
    _check_stylegan2(config)
    _check_accumulation(config)
    refuse(
        config.batch_size % config.pack,
        f"--batch-size {config.batch_size} must be a multiple of --pack {config.pack}",
    )
    refuse(
        per_step >= 2**31,
        f"--batch-size {config.batch_size} times --d-steps {config.d_steps} must be below 2**31, "
        "with one more batch for --fresh-generator-batch",
    )
    refuse(
        config.decay_steps and config.steps > config.decay_steps,
        f"--steps {config.steps} is more than --decay-steps {config.decay_steps}, from which the "
        "learning rates are 0",
    )


def refuse(wrong: Any, message: str) -> None:
    """Raises `UsageError` if something is wrong."""
    if wrong:
        raise UsageError(message)


def _check_augmentation(config: Any) -> None:
    probability = config.augment_probability, config.final_augment_probability
    changing = config.augment or config.pseudo_augmentation
    refuse(
        probability != (1, None) and not changing,
        "--augment-probability and --final-augment-probability need --augment or "
        "--pseudo-augmentation",
    )
    refuse(
        config.augment_target is not None and not changing,
        "--augment-target needs --augment or --pseudo-augmentation",
    )
    refuse(
        config.augment_target is not None and probability != (1, None),
        "--augment-target excludes --augment-probability and --final-augment-probability: the "
        "probability follows the discriminator's outputs",
    )
    refuse(
        config.augment_target is not None and config.loss not in WITH_SIGNS,
        "--augment-target needs a loss whose outputs are positive for real images, --loss "
        f"{', '.join(WITH_SIGNS[:-1])} or {WITH_SIGNS[-1]}, not {config.loss}",
    )
    refuse(
        config.pseudo_augmentation and config.loss == "relativistic",
        "--pseudo-augmentation excludes --loss relativistic, which compares pairs of images: both "
        "would be the same",
    )
    refuse(
        config.augment_images != 500_000 and config.augment_target is None,
        "--augment-images needs --augment-target",
    )
    always = config.augment_target is None and 1 in probability
    refuse(
        config.pseudo_augmentation and always,
        "--pseudo-augmentation needs --augment-target, or an --augment-probability and a "
        "--final-augment-probability below 1: else the discriminator sees no real images",
    )


def _check_accumulation(config: Any) -> None:
    """Raises `UsageError` for what depends on the whole batch, if that is split into parts."""
    if config.accumulate == 1:
        return
    whole = {
        "--loss relativistic_average": config.loss == "relativistic_average",
        "--top-k": config.top_k < 1,
        "--final-top-k": config.final_top_k is not None,
        "--dragan": config.dragan,
        "--lecam": config.lecam,
        "--path-length": config.path_length,
        "--network stylegan2": config.network == "stylegan2",
        "--d-conditioning data_to_data_cross_entropy": config.conditional
        and config.d_conditioning == "data_to_data_cross_entropy",
    }
    for flag, given in whole.items():
        refuse(given, f"--accumulate cannot be combined with {flag}, which needs the whole batch")
    refuse(
        config.batch_size % (config.accumulate * config.pack),
        f"--batch-size {config.batch_size} must be a multiple of --accumulate {config.accumulate}"
        + (f" times --pack {config.pack}" if config.pack > 1 else ""),
    )


def _check_stylegan2(config: Any) -> None:
    for name, usual in (("mapping_layers", 8), ("style_mixing", 0.9), ("path_length", 0)):
        flag = "--" + name.replace("_", "-")
        refuse(
            getattr(config, name) != usual and config.network != "stylegan2",
            f"{flag} needs --network stylegan2, whose generator has styles: remove it"
            + (f", or give {flag} {usual} beside a recipe of stylegan2" if config.recipe else ""),
        )
    refuse(
        config.path_length_every != 4 and not config.path_length,
        "--path-length-every needs --path-length",
    )
    refuse(
        config.penalty_every > 1 and not any(getattr(config, name) for name in GRADIENT_PENALTIES),
        "--penalty-every needs a gradient penalty, such as --r1",
    )


def _check_penalties(config: Any) -> None:
    approximate = config.approximate_r1 or config.approximate_r2
    refuse(
        (config.consistency or config.fake_consistency) and not config.consistency_augment,
        "--consistency and --fake-consistency need --consistency-augment",
    )
    refuse(
        config.latent_consistency and not config.latent_noise,
        "--latent-consistency needs a --latent-noise above 0",
    )
    refuse(
        approximate and config.precision == "bfloat16",
        "--approximate-r1 and --approximate-r2 need --precision float32: in bfloat16, the "
        "differences are rounding errors",
    )
    refuse(
        (config.r1 and config.approximate_r1) or (config.r2 and config.approximate_r2),
        "--r1 and --approximate-r1 exclude each other, and so do --r2 and --approximate-r2",
    )


def _check_burn_in(config: Any) -> None:
    changing = {
        "--final-learning-rate": config.final_learning_rate is not None,
        "--final-beta2": config.final_beta2 is not None,
        "--final-penalty": config.final_penalty != 1,
        "--final-augment-probability": config.final_augment_probability is not None,
        "--final-instance-noise": config.final_instance_noise is not None,
        "--final-top-k": config.final_top_k is not None,
        "--ema-burn-in": config.ema_burn_in,
    }
    for flag, given in changing.items():
        if given and not config.burn_in:
            raise UsageError(f"{flag} needs --burn-in, the length of the burn-in in images")


def _check_classes(config: Any) -> None:
    changed = {
        "--g-conditioning": config.g_conditioning != "embedding",
        "--d-conditioning": config.d_conditioning != "projection",
    }
    for flag, given in changed.items():
        refuse(given and not config.conditional, f"{flag} needs --conditional")
    usual = "none" if config.network in ("mlp", "r3gan") else "batch"
    refuse(
        config.g_conditioning == "norm" and (config.g_norm or usual) in ("none", "spectral"),
        "--g-conditioning norm needs --g-norm batch, layer, instance or spectral_batch",
    )
    refuse(
        config.classification != 1 and config.d_conditioning == "projection",
        "--classification needs another --d-conditioning than projection",
    )
    heads = config.rotation or (config.conditional and config.d_conditioning != "projection")
    refuse(
        heads and config.pack > 1,
        "--rotation, and a --d-conditioning other than projection, need --pack 1",
    )
