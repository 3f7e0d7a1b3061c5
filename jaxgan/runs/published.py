"""Published methods: their settings, their papers, and the figures that they claim.

To add a recipe, add it to `CHOSEN` and its name to `RecipeName`. Lengths of runs and data sets are
not part of a recipe, unless its schedules depend on them. Where the original uses another network,
the recipe has its loss and its optimizer, with the closest network of this package; so for
augmentations.
"""

from typing import NamedTuple

from jaxgan.runs.config import Config


class Recipe(NamedTuple):
    """A published method.

    config: its settings. paper: where it was published. claim: a figure, and its source.
    """

    config: Config
    paper: str
    claim: str = ""


SNGAN = {
    "network": "resnet",
    "loss": "hinge",
    "latent_size": 128,
    "d_steps": 5,
    "fresh_generator_batch": True,
    "beta1": 0.0,
    "beta2": 0.9,
    "ema_half_life": 0.0,
    "decay_steps": 100_000,
}
"""The settings that many methods since SNGAN share."""
CGAN = {**SNGAN, "conditional": True, "g_conditioning": "norm"}
DCGAN = {"network": "dcgan", "ema_half_life": 0.0}
SAN = {
    **DCGAN,
    "loss": "hinge",
    "slicing": True,
    "d_norm": "spectral",
    "fresh_generator_batch": True,
    "learning_rate": 1e-3,
    "beta1": 0.0,
    "beta2": 0.99,
}
STYLEGAN2 = {
    "network": "stylegan2",
    "latent_size": 512,
    "fresh_generator_batch": True,
    "beta1": 0.0,
    "beta2": 0.99,
    "penalty_every": 16,
}
R3GAN = {
    "network": "r3gan",
    "width": 768,
    "latent_size": 64,
    "precision": "bfloat16",
    "loss": "relativistic",
    "batch_size": 512,
    "fresh_generator_batch": True,
    "beta1": 0.0,
    "beta2": 0.9,
    "final_beta2": 0.99,
    "final_penalty": 0.1,
    "ema_burn_in": True,
    "ema_warm_up": 0.0,
}


def recipe(name: str, paper: str, claim: str = "", **settings) -> Recipe:
    """Returns a recipe with the settings that differ from the defaults."""
    return Recipe(Config(recipe=name, **settings), paper, claim)


CHOSEN = (
    recipe("classic", "Goodfellow et al. 2014, Generative adversarial nets, but with Adam"),
    recipe(
        "dcgan",
        "Radford et al. 2016, Unsupervised representation learning with DCGANs",
        "CIFAR-10 FID 48.29 (StudioGAN)",
        **DCGAN,
        batch_size=128,
    ),
    recipe(
        "lsgan",
        "Mao et al. 2017, Least squares GANs",
        "CIFAR-10 FID 40.22 (StudioGAN)",
        **DCGAN,
        loss="least_squares",
    ),
    recipe(
        "wgan",
        "Arjovsky et al. 2017, Wasserstein GAN",
        "CIFAR-10 FID 107.68 (StudioGAN)",
        **DCGAN,
        loss="wasserstein",
        clip_weights=0.01,
        d_steps=5,
        fresh_generator_batch=True,
        optimizer="rmsprop",
        learning_rate=5e-5,
        beta1=0.0,
        beta2=0.99,
    ),
    recipe(
        "wgan_gp",
        "Gulrajani et al. 2017, Improved training of Wasserstein GANs",
        "CIFAR-10 FID 22.29 (mimicry)",
        **{**SNGAN, "loss": "wasserstein"},
        d_norm="none",
        gradient_penalty=10.0,
    ),
    recipe(
        "dragan",
        "Kodali et al. 2017, On convergence and stability of GANs",
        "CIFAR-10 FID 34.69 (StudioGAN)",
        **DCGAN,
        dragan=10.0,
    ),
    recipe(
        "sngan",
        "Miyato et al. 2018, Spectral normalization for GANs",
        "CIFAR-10 FID 16.77 (mimicry)",
        **SNGAN,
    ),
    recipe(
        "cgan",
        "Miyato and Koyama 2018, cGANs with projection discriminator",
        "CIFAR-10 FID 10.84 (mimicry)",
        **CGAN,
    ),
    recipe(
        "sagan",
        "Zhang et al. 2019, Self-attention GANs",
        "CIFAR-10 FID 10.35 (StudioGAN)",
        **CGAN | {"network": "sagan", "d_steps": 1, "batch_size": 256, "decay_steps": None},
        g_learning_rate=1e-4,
        d_learning_rate=4e-4,
    ),
    recipe(
        "biggan",
        "Brock et al. 2019, Large scale GAN training for high fidelity natural image synthesis",
        "CIFAR-10 FID 4.16 (StudioGAN)",
        network="biggan",
        conditional=True,
        loss="hinge",
        latent_size=80,
        d_steps=5,
        fresh_generator_batch=True,
        ema_half_life=2_220_000.0,
    ),
    recipe(
        "acgan",
        "Odena et al. 2017, Conditional image synthesis with auxiliary classifier GANs",
        **DCGAN,
        conditional=True,
        d_conditioning="auxiliary_classifier",
    ),
    recipe(
        "reacgan",
        "Kang et al. 2021, Rebooting ACGAN",
        "CIFAR-10 FID 3.87 with BigGAN's networks (StudioGAN)",
        **CGAN,
        d_conditioning="data_to_data_cross_entropy",
        classification=0.5,
    ),
    recipe(
        "ssgan",
        "Chen et al. 2019, Self-supervised GANs via auxiliary rotation loss",
        "CIFAR-10 FID 14.65 (mimicry)",
        **SNGAN,
        rotation=1.0,
        g_rotation=0.2,
    ),
    recipe(
        "crgan",
        "Zhang et al. 2020, Consistency regularization for GANs",
        "CIFAR-10 FID 14.56 (paper)",
        **SNGAN,
        consistency=10.0,
    ),
    recipe(
        "icrgan",
        "Zhao et al. 2021, Improved consistency regularization for GANs",
        "CIFAR-10 FID 9.21 with BigGAN's networks and classes (paper)",
        **SNGAN,
        consistency=10.0,
        fake_consistency=10.0,
        latent_consistency=20.0,
    ),
    recipe(
        "lecam",
        "Tseng et al. 2021, Regularizing GANs under limited data",
        "CIFAR-10 FID 8.46 with BigGAN's networks and DiffAugment (paper)",
        **CGAN,
        lecam=0.3,
    ),
    recipe(
        "diffaugment",
        "Zhao et al. 2020, Differentiable augmentation for data-efficient GAN training",
        "CIFAR-10 FID 8.70 with BigGAN's networks (authors' code)",
        **CGAN,
        augment=("color", "translation", "cutout"),
    ),
    recipe(
        "ragan",
        "Jolicoeur-Martineau 2018, The relativistic discriminator",
        **DCGAN,
        loss="relativistic_average",
    ),
    recipe("san", "Takida et al. 2024, SAN: Inducing metrizability of GAN", **SAN, batch_size=128),
    recipe(
        "stylegan2",
        "Karras et al. 2020, Analyzing and improving the image quality of StyleGAN",
        "CIFAR-10 FID 11.07 (DiffAugment's authors)",
        **STYLEGAN2,
        batch_size=32,
        learning_rate=2e-3,
        r1=10.0,
        path_length=2.0,
        ema_half_life=10_000.0,
        ema_warm_up=0.0,
    ),
    recipe(
        "stylegan2_ada",
        "Karras et al. 2020, Training generative adversarial networks with limited data",
        "CIFAR-10 FID 2.42 (paper)",
        **STYLEGAN2,
        conditional=True,
        mapping_layers=2,
        style_mixing=0.0,
        learning_rate=2.5e-3,
        g_learning_rate=2e-3,
        g_beta2=0.992,
        r1=0.01,
        augment=("ada_geometry", "ada_color"),
        augment_target=0.6,
        ema_half_life=500_000.0,
    ),
    recipe(
        "r3gan",
        "Huang et al. 2024, The GAN is dead; long live the GAN!",
        "CIFAR-10 FID 1.96 (paper)",
        **R3GAN,
        conditional=True,
        r1=0.05,
        r2=0.05,
        burn_in=20_000_000,
        final_learning_rate=5e-5,
        ema_half_life=5_000_000.0,
        augment=("ada_geometry", "ada_color", "cutout"),
        augment_probability=0.0,
        final_augment_probability=0.55,
    ),
    recipe(
        "r3gan_stacked_mnist",
        "Huang et al. 2024, The GAN is dead; long live the GAN!",
        "1,000 modes, KL 0.029 (paper)",
        **R3GAN,
        dataset="stacked_mnist",
        image_size=32,
        r1=1.0,
        r2=1.0,
        burn_in=2_000_000,
        ema_half_life=500_000.0,
    ),
    recipe(
        "mnist",
        "Not published: SAN with labels, for five minutes on two CPU cores",
        **SAN | {"ema_half_life": 20_000.0, "learning_rate": 3e-3},
        conditional=True,
        width=48,
        steps=6_000,
        decay_steps=6_000,
    ),
    recipe(
        "mnist_mlp",
        "Not published: R3GAN's loss for an mlp on MNIST, for five minutes on two CPU cores",
        loss="relativistic",
        r1=0.05,
        r2=0.05,
        beta1=0.0,
        beta2=0.99,
        learning_rate=5e-4,
        decay_steps=20_000,
        fresh_generator_batch=True,
        ema_half_life=44_000.0,
    ),
)
RECIPES = {each.config.recipe: each for each in CHOSEN}
"""The recipes by name."""
