"""The settings of the method: networks, loss, penalties, optimizers, average and schedules.

To add a setting, add a field to one of the groups, whose docstring is its introduction in `--help`.
"""

import dataclasses
from typing import Annotated, Any, Literal

from jaxgan.constraints import Count, Range
from jaxgan.errors import UsageError

LARGEST_FLOAT32 = 3.4e38
BELOW_ONE = 1 - 2.0**-24
"""The largest number that is still below one as a float32."""

Index = Annotated[int, Range(0, 2**31 - 1, "at least 0 and below 2**31")]
Share = Annotated[float, Range(2.0**-24, 1, "above 0 and at most 1")]
UnitInterval = Annotated[float, Range(0, 1, "at least 0 and at most 1")]
Fraction = Annotated[float, Range(0, BELOW_ONE, "at least 0 and below 1")]
Weight = Annotated[float, Range(0, LARGEST_FLOAT32, "at least 0 and at most 3.4e38")]
Rate = Annotated[float, Range(5e-324, LARGEST_FLOAT32, "above 0 and at most 3.4e38")]

NetworkName = Literal["mlp", "dcgan", "resnet", "r3gan"]
NormName = Literal["none", "batch", "layer", "instance", "spectral"]
LossName = Literal[
    "minimax",
    "non_saturating",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "relativistic_average",
]
AugmentationName = Literal["flip", "color", "translation", "cutout"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd", "lion"]


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """The generator and the discriminator."""

    network: NetworkName = "mlp"
    """family of both networks"""
    width: Count | None = None
    """base width of both networks; if not given, 256 hidden units for mlp, and 64, 128 and 256
    channels for dcgan, resnet and r3gan"""
    widths: tuple[Count, ...] = ()
    """channels of r3gan at each size of the images, from the smallest, instead of --width"""
    g_norm: NormName | None = None
    """normalization in the generator; if not given, batch for dcgan and resnet, else none"""
    d_norm: NormName | None = None
    """normalization in the discriminator; if not given, spectral for resnet, batch for dcgan
    without a gradient penalty, else none"""
    latent_size: Count = 100
    """length of the generator's input vectors, drawn from N(0, 1)"""
    conditional: bool = False
    """pass class labels to both networks"""
    g_conditioning: Literal["embedding", "norm"] = "embedding"
    """how a conditional generator uses labels: an embedding beside the latents, or a scale and an
    offset of each class after every norm (conditional batch norm)"""
    d_conditioning: Literal["projection", "auxiliary_classifier", "data_to_data_cross_entropy"] = (
        "projection"
    )
    """how a conditional discriminator uses labels: by projection, by a classifier (AC-GAN), or by
    embeddings that are close for images of a class (ReACGAN)"""
    pack: Count = 1
    """number of images that are joined along their channels for the discriminator (PacGAN)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """type that the networks compute in; parameters are float32"""


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """The loss and what changes it."""

    loss: LossName = "non_saturating"
    """loss of the generator and the discriminator"""
    label_smoothing: Fraction = 0.0
    """amount that the target of real images is below 1, for the first two losses; 0 for none"""
    top_k: Share = 1.0
    """fraction of the generated images with the largest outputs that the generator learns from"""
    classification: Weight = 1.0
    """weight of the classes in the loss, for a --d-conditioning other than projection"""
    rotation: Weight = 0.0
    """weight of recognizing rotations of real images, for the discriminator (SSGAN: 1); 0 for
    none"""
    g_rotation: Weight = 0.0
    """weight of recognizing rotations of generated images, for the generator (SSGAN: 0.2)"""
    slicing: bool = False
    """train the direction of the discriminator's last layer by itself (SAN)"""


@dataclasses.dataclass(frozen=True)
class PenaltySettings:
    """Penalties that are added to the discriminator's loss."""

    r1: Weight = 0.0
    """gamma of the gradient penalty at real images; 0 for none"""
    r2: Weight = 0.0
    """gamma of the gradient penalty at generated images; 0 for none"""
    approximate_r1: Weight = 0.0
    """gamma of an estimate of --r1 that needs no second derivatives; 0 for none"""
    approximate_r2: Weight = 0.0
    """gamma of an estimate of --r2 that needs no second derivatives; 0 for none"""
    gradient_penalty: Weight = 0.0
    """weight of WGAN-GP's penalty on gradient norms other than 1; 0 for none"""
    one_sided_gradient_penalty: Weight = 0.0
    """weight of the same penalty on gradient norms above 1 only; 0 for none"""
    zero_centered_gradient_penalty: Weight = 0.0
    """weight of the same penalty on gradient norms other than 0; 0 for none"""
    dragan: Weight = 0.0
    """weight of DRAGAN's gradient penalty around real images; 0 for none"""
    consistency: Weight = 0.0
    """weight of the change of outputs when real images are augmented (CR-GAN: 10); 0 for none"""
    fake_consistency: Weight = 0.0
    """weight of the change of outputs when generated images are augmented (ICR-GAN: 10); 0 for
    none"""
    consistency_augment: tuple[AugmentationName, ...] = ("flip", "translation")
    """augmentations of both consistencies"""
    latent_consistency: Weight = 0.0
    """weight of the change of outputs when latents are changed (ICR-GAN); 0 for none"""
    g_latent_consistency: Weight = 0.5
    """weight, in the generator's loss, of the change of images when latents are changed"""
    latent_noise: Weight = 0.05
    """standard deviation of the change of latents"""
    lecam: Weight = 0.0
    """weight of LeCam's penalty, for few data (0.3 in the paper); 0 for none"""
    lecam_start: Index = 1_000
    """step from which LeCam's penalty is added"""
    logit_centering: Weight = 0.0
    """weight of the squared sum of a real and a generated image's outputs, which keeps the outputs
    of relativistic losses close to 0 (0.01); 0 for none"""


@dataclasses.dataclass(frozen=True)
class AugmentationSettings:
    """Augmentation of all images, real and generated, that the discriminator sees."""

    augment: tuple[AugmentationName, ...] = ()
    """differentiable augmentations"""
    augment_probability: UnitInterval = 1.0
    """probability of each augmentation of each image"""
    instance_noise: Weight = 0.0
    """standard deviation of noise on all examples that the discriminator sees; 0 for none"""


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer of each network, and the batches."""

    batch_size: Count = 64
    """number of real images, and of generated ones, in a discriminator update"""
    d_steps: Count = 1
    """number of discriminator updates for each generator update"""
    fresh_generator_batch: bool = False
    """draw new latents, labels and real images for the generator's update, instead of those of the
    last discriminator update"""
    optimizer: OptimizerName = "adam"
    """optimizer of both networks"""
    learning_rate: Rate = 2e-4
    """learning rate"""
    g_learning_rate: Rate | None = None
    """learning rate of the generator; if not given, --learning-rate"""
    d_learning_rate: Rate | None = None
    """learning rate of the discriminator; if not given, --learning-rate"""
    beta1: Fraction = 0.5
    """decay rate of the first moment; for rmsprop and sgd, the momentum"""
    g_beta1: Fraction | None = None
    """--beta1 of the generator; if not given, --beta1"""
    d_beta1: Fraction | None = None
    """--beta1 of the discriminator; if not given, --beta1"""
    beta2: Fraction = 0.999
    """decay rate of the second moment; for rmsprop, of the mean square"""
    g_beta2: Fraction | None = None
    """--beta2 of the generator; if not given, --beta2"""
    d_beta2: Fraction | None = None
    """--beta2 of the discriminator; if not given, --beta2"""
    weight_decay: Weight = 0.0
    """weight decay of both networks; 0 for none"""
    clip_gradients: Weight = 0.0
    """largest norm of the gradient of a network, to which larger ones are scaled; 0 for no limit"""
    clip_weights: Weight = 0.0
    """limit to which the discriminator's parameters are clipped (WGAN: 0.01); 0 for none"""


@dataclasses.dataclass(frozen=True)
class AverageSettings:
    """The averaged generator, from which samples are drawn."""

    ema_half_life: Weight = 50_000
    """half-life of the average, in images; 0 for no average"""
    ema_warm_up: Fraction = 0.05
    """upper limit of the half-life as a fraction of the images seen so far; 0 for no limit"""


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """Settings that change during the first images of the run, the burn-in."""

    burn_in: Annotated[int, Range(0, LARGEST_FLOAT32, "at least 0 and at most 3.4e38")] = 0
    """length of the burn-in, in images; all settings are constant after it"""
    schedule: Literal["cosine", "linear"] = "cosine"
    """shape of the change"""
    final_learning_rate: Rate | None = None
    """learning rate of both networks after the burn-in; if not given, it does not change"""
    decay_steps: Count | None = None
    """steps over which the learning rates decay to 0; if not given, they do not"""
    decay: Literal["linear", "cosine"] = "linear"
    """shape of that decay"""
    final_beta2: Fraction | None = None
    """beta2 after the burn-in; if not given, it does not change"""
    final_penalty: Weight = 1.0
    """factor that the weights of all penalties are multiplied by after the burn-in"""
    final_augment_probability: UnitInterval | None = None
    """--augment-probability after the burn-in; if not given, it does not change"""
    final_instance_noise: Weight | None = None
    """--instance-noise after the burn-in; if not given, it does not change"""
    final_top_k: Share | None = None
    """--top-k after the burn-in; if not given, it does not change"""
    ema_burn_in: bool = False
    """let the half-life of the average grow from 0 over the burn-in"""


def check_method(config: Any) -> None:
    """Raises `UsageError` for settings of the method that exclude or need one another.

    config: with the fields of all groups of this file, and `steps`.
    """
    _check_burn_in(config)
    _check_classes(config)
    heads = config.rotation or (config.conditional and config.d_conditioning != "projection")
    needs = (
        (config.width and config.widths, "--width and --widths exclude each other"),
        (config.g_rotation and not config.rotation, "--g-rotation needs --rotation"),
        (heads and config.pack > 1, "--rotation and --d-conditioning need --pack 1"),
        (
            config.augment_probability != 1 and not config.augment,
            "--augment-probability needs --augment",
        ),
        (
            (config.consistency or config.fake_consistency) and not config.consistency_augment,
            "--consistency and --fake-consistency need --consistency-augment",
        ),
        (
            config.batch_size % config.pack,
            f"--batch-size {config.batch_size} must be a multiple of --pack {config.pack}",
        ),
        (
            config.batch_size * (config.d_steps + config.fresh_generator_batch) >= 2**31,
            f"--batch-size {config.batch_size} times --d-steps {config.d_steps} must be below "
            "2**31",
        ),
        (
            config.decay_steps and config.steps > config.decay_steps,
            f"--steps {config.steps} is more than --decay-steps {config.decay_steps}, from which "
            "the learning rates are 0",
        ),
    )
    for wrong, message in needs:
        if wrong:
            raise UsageError(message)


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
        if given and not config.conditional:
            raise UsageError(f"{flag} needs --conditional")
    usual = "batch" if config.network in ("dcgan", "resnet") else "none"
    if config.g_conditioning == "norm" and (config.g_norm or usual) in ("none", "spectral"):
        raise UsageError("--g-conditioning norm needs --g-norm batch, layer or instance")
    if config.classification != 1 and config.d_conditioning == "projection":
        raise UsageError("--classification needs another --d-conditioning than projection")
