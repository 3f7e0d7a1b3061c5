"""The settings of the method: networks, loss, penalties, optimizers, average and schedules.

To add a setting, add a field to one of the groups, whose docstring is its introduction in `--help`.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from jaxgan.constraints import (
    LARGEST_FLOAT32,
    Count,
    Fraction,
    Index,
    ProfileWidth,
    Range,
    Rate,
    Share,
    UnitInterval,
    Weight,
)

NetworkName = Literal[
    "mlp", "dcgan", "resnet", "sagan", "biggan", "stylegan2", "r3gan", "maxout", "stacked"
]
NormName = Literal["none", "batch", "layer", "instance", "spectral", "spectral_batch"]
LossName = Literal[
    "minimax",
    "non_saturating",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "relativistic_average",
]
AugmentationName = Literal["flip", "color", "translation", "cutout", "ada_geometry", "ada_color"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd", "lion"]


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """The generator and the discriminator."""

    network: NetworkName = "mlp"
    """family of both networks"""
    width: Count | None = None
    """base width of both networks; if not given, mlp: 256 hidden units (512 in the other layer),
    dcgan: 64 channels, r3gan: 256, resnet and sagan: 128 (256 in the generator) and, from 48 pixels
    on, 64, biggan: 96 (192 in the discriminator, 384 in the generator) and, from 48 pixels on, 80,
    stylegan2: 512 (fewer from 128 pixels on), maxout: 200 units (400 in the generator), stacked: 4
    channels of the discriminator alone"""
    widths: tuple[Count, ...] = ()
    """channels of r3gan or stylegan2 at each size of the images, from the smallest; they replace
    --width"""
    mapping_layers: Count = 8
    """number of layers of stylegan2 from latents to styles"""
    style_mixing: UnitInterval = 0.9
    """probability, in training, of style mixing in stylegan2: the layers from a random one on get
    the styles of other latents; there is one draw for each batch"""
    g_norm: NormName | None = None
    """normalization in the generator; if not given, batch for dcgan, resnet, maxout and stacked,
    spectral_batch (spectral norm of the weights and batch norm) for sagan and biggan, else none"""
    d_norm: NormName | None = None
    """normalization in the discriminator; if not given, spectral for resnet, sagan and biggan,
    batch for dcgan and stacked (none with a gradient penalty), else none"""
    latent_size: Count = 100
    """length of the generator's input vectors, drawn from N(0, 1)"""
    conditional: bool = False
    """pass class labels to both networks"""
    g_conditioning: Literal["embedding", "norm"] = "embedding"
    """how a conditional generator uses labels: an embedding of the class beside the latents, or a
    scale and an offset for each class after every norm (conditional batch norm); biggan always
    passes embeddings to its norms, and stylegan2 to its mapping network"""
    d_conditioning: Literal["projection", "auxiliary_classifier", "data_to_data_cross_entropy"] = (
        "projection"
    )
    """how a conditional discriminator uses labels: by projection, by a classifier (AC-GAN), or by
    an embedding of the image near that of its class and far from images of other classes
    (ReACGAN)"""
    pack: Count = 1
    """number of images that are joined along their channels for the discriminator (PacGAN)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """type that the networks compute in; parameters are float32"""
    remat: bool = False
    """compute the values within the blocks of resnet, sagan, biggan, stylegan2 or r3gan again for
    gradients, instead of keeping them (rematerialization): less memory, more time"""


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """The loss and what changes it."""

    loss: LossName = "non_saturating"
    """loss of the generator and the discriminator"""
    label_smoothing: Fraction = 0.0
    """amount by which the target of real images is below 1, with --loss minimax or non_saturating;
    0 for none"""
    top_k: Share = 1.0
    """fraction of the generated images that the generator learns from: those with the largest
    outputs of the discriminator"""
    classification: Weight = 1.0
    """weight of the loss of the classes, for a --d-conditioning other than projection"""
    rotation: Weight = 0.0
    """weight, in the discriminator's loss, of recognizing how real images were rotated (SSGAN: 1);
    0 for none"""
    g_rotation: Weight = 0.0
    """weight, in the generator's loss, of recognizing how generated images were rotated (SSGAN:
    0.2)"""
    slicing: bool = False
    """train the direction of the discriminator's last layer with a loss of its own (SAN)"""


@dataclasses.dataclass(frozen=True)
class PenaltySettings:
    """Penalties, added to the discriminator's loss unless they say otherwise."""

    r1: Weight = 0.0
    """gamma, of gamma / 2 times the squared gradient norm at real images (R1); 0 for none"""
    r2: Weight = 0.0
    """gamma, of gamma / 2 times the squared gradient norm at generated images (R2); 0 for none"""
    approximate_r1: Weight = 0.0
    """gamma of an estimate of --r1 that needs no second derivatives; 0 for none"""
    approximate_r2: Weight = 0.0
    """gamma of an estimate of --r2 that needs no second derivatives; 0 for none"""
    gradient_penalty: Weight = 0.0
    """weight of (gradient norm - 1)^2 between real and generated images (WGAN-GP: 10); 0 for
    none"""
    one_sided_gradient_penalty: Weight = 0.0
    """weight of max(0, gradient norm - 1)^2 between real and generated images (WGAN-LP); 0 for
    none"""
    zero_centered_gradient_penalty: Weight = 0.0
    """weight of the squared gradient norm between real and generated images (0-GP); 0 for none"""
    dragan: Weight = 0.0
    """weight of (gradient norm - 1)^2 around real images (DRAGAN: 10); 0 for none"""
    penalty_every: Count = 1
    """number of steps between the discriminator's updates with the gradient penalties above; above
    1, these are separate updates, and the weights are multiplied by this number and by --d-steps
    (StyleGAN2: 16); with several members, such as seeds, the penalties are computed in every step
    and used when they are due, which saves no time"""
    path_length: Weight = 0.0
    """weight, in the generator's loss, of the squared difference between path lengths (how fast
    images change with their styles) and their average (StyleGAN2: 2); 0 for none"""
    path_length_every: Count = 4
    """number of steps between the generator's updates with --path-length, as for --penalty-every"""
    consistency: Weight = 0.0
    """weight of the squared difference of the outputs for a real image and for its augmented
    version (CR-GAN: 10); 0 for none"""
    fake_consistency: Weight = 0.0
    """weight of the same difference for generated images (ICR-GAN: 10); 0 for none"""
    consistency_augment: tuple[AugmentationName, ...] = ("flip", "translation")
    """augmentations of --consistency and --fake-consistency"""
    latent_consistency: Weight = 0.0
    """weight of the squared difference of the outputs for images of latents and of latents plus
    noise (ICR-GAN: 20); 0 for none"""
    g_latent_consistency: Weight = 0.5
    """weight, in the generator's loss, of the squared difference of these images, which is
    maximized; for --latent-consistency"""
    latent_noise: Weight = 0.05
    """standard deviation of that noise, for --latent-consistency"""
    lecam: Weight = 0.0
    """weight of LeCam's penalty, for limited data (0.3 in the paper); 0 for none"""
    lecam_start: Index = 1_000
    """step from which LeCam's penalty is added"""
    logit_centering: Weight = 0.0
    """weight of the squared sum of the outputs for a real and a generated image, which keeps the
    outputs of relativistic losses close to 0 (0.01); 0 for none"""


@dataclasses.dataclass(frozen=True)
class AugmentationSettings:
    """What the discriminator sees in the place of the images, and how often."""

    augment: tuple[AugmentationName, ...] = ()
    """differentiable augmentations; ada_geometry and ada_color each consist of several changes,
    which happen independently (ADA)"""
    augment_probability: UnitInterval = 1.0
    """probability of each augmentation of each image"""
    pseudo_augmentation: bool = False
    """replace real images by generated ones, each with the probability of --augment-probability or,
    with --augment-target, the adaptive one (APA); outputs for real images in metrics include those
    for the replaced ones"""
    augment_target: UnitInterval | None = None
    """target of the mean sign of the discriminator's outputs for real images: the probability of
    augmentations starts at 0; every 4 steps, it rises if the mean sign is above the target, and
    falls if it is below (ADA: 0.6); if not given, --augment-probability is used"""
    augment_images: Count = 500_000
    """number of real images over which that probability can rise from 0 to 1"""
    instance_noise: Weight = 0.0
    """standard deviation of noise on all examples that the discriminator sees; 0 for none"""


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer of each network, and the batches."""

    batch_size: Count = 64
    """number of real images, and of generated ones, in a discriminator update"""
    accumulate: Count = 1
    """number of parts of a batch whose gradients are computed one after another and averaged, which
    takes less memory; not with batch norm, --network stylegan2, or losses and penalties that depend
    on the whole batch, such as --top-k and --dragan"""
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
    """decay rate of the first moment; of rmsprop and sgd, the momentum"""
    g_beta1: Fraction | None = None
    """--beta1 of the generator; if not given, --beta1"""
    d_beta1: Fraction | None = None
    """--beta1 of the discriminator; if not given, --beta1"""
    beta2: Fraction = 0.999
    """decay rate of the second moment, also of rmsprop; of lion, of the momentum; sgd has none"""
    g_beta2: Fraction | None = None
    """--beta2 of the generator; if not given, --beta2"""
    d_beta2: Fraction | None = None
    """--beta2 of the discriminator; if not given, --beta2"""
    decay_steps: Count | None = None
    """number of steps over which the learning rates decay to 0; if not given, they do not decay"""
    decay: Literal["linear", "cosine"] = "linear"
    """shape of the decay of the learning rates"""
    weight_decay: Weight = 0.0
    """weight decay of both networks: decoupled for adamw and lion, added to the gradient (L2) for
    the others; 0 for none, also for adamw"""
    orthogonal_regularization: Weight = 0.0
    """weight of the squared scalar products of different filters in a layer of the generator
    (BigGAN: 1e-4); 0 for none"""
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
    ema_profiles: tuple[ProfileWidth, ...] = ()
    """relative widths of further averages; every checkpoint adds a snapshot of them to profiles/,
    and all snapshots are kept; from two widths, jaxgan.evaluate --ema-width makes averages of other
    widths after the run (EDM2: 0.05 0.1)"""


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """Settings that change during the first images of the run, the burn-in."""

    burn_in: Annotated[int, Range(0, LARGEST_FLOAT32, "at least 0 and at most 3.4e38")] = 0
    """length of the burn-in, in real images of discriminator updates (--batch-size times --d-steps
    in each step); the --final settings apply after it"""
    schedule: Literal["cosine", "linear"] = "cosine"
    """shape of the change"""
    final_learning_rate: Rate | None = None
    """--learning-rate after the burn-in, with --g-learning-rate and --d-learning-rate in
    proportion; if not given, it does not change"""
    final_beta2: Fraction | None = None
    """beta2 of both networks after the burn-in; if not given, it does not change"""
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


@dataclasses.dataclass(frozen=True)
class StartSettings:
    """Another run, from whose state this one starts."""

    init_from: Path | None = None
    """run directory from whose state to start; parts of the networks for classes that the other
    run does not have start anew; with --seeds, every seed starts from that seed of the other run,
    or all from the only one that it has"""
    init_with: Literal["parameters", "state"] = "parameters"
    """parameters: networks and average, while optimizers and steps start anew; state: everything,
    so that the run counts on from the steps of the other one"""
    init_step: Index | None = None
    """step of the kept checkpoint to start from; if not given, the last one"""
    freeze_d: Index = 0
    """number of the discriminator's first layers or blocks that are not trained (FreezeD); meant
    for --init-from: without it, they keep their random values"""
