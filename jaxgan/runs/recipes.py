"""Published methods by name: their settings, their papers, and the figures that they claim.

To add a recipe, add it to `CHOSEN` and its name to `RecipeName`. Lengths of runs and data sets are
not part of a recipe, unless its schedules depend on them. Where the original uses another network,
the recipe has its loss and its optimizer, with the closest network of this package; so for
augmentations.
"""

import dataclasses
import itertools
import textwrap
from typing import NamedTuple

from jaxgan.errors import choose
from jaxgan.runs.config import Config

INDENT = 21
WIDTH = 100
"""The column of the table in which its text begins, and the length of its lines."""


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
        augment=("flip", "color", "translation", "cutout"),
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


def choose_defaults(arguments: list[str]) -> Config:
    """Returns the settings of the recipe that the arguments of a command name, or the defaults.

    Of several, the last counts. An unknown name is left to the parser of the arguments.
    """
    named = [
        value if flag == "--recipe" else flag.removeprefix("--recipe=")
        for flag, value in itertools.pairwise([*arguments, ""])
        if flag == "--recipe" or flag.startswith("--recipe=")
    ]
    found = RECIPES.get(named[-1]) if named else None
    return found.config if found else Config()


def make_config(recipe: str, **settings) -> Config:
    """Returns the settings of a recipe, of which some are changed.

    Raises `UsageError` for an unknown name.
    """
    return dataclasses.replace(choose("recipe", RECIPES, recipe).config, **settings)


def format_table() -> str:
    """Returns the recipes with their settings, papers and claims, for reading in a terminal."""
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * INDENT, break_on_hyphens=False)
    lines = []
    for name, found in RECIPES.items():
        texts = [found.paper, found.claim, flags_of(found.config) or "the defaults"]
        for i, text in enumerate(filter(None, texts)):
            lines += wrapper.wrap(("" if i else name).ljust(INDENT) + text)
    return "\n".join(lines)


def flags_of(config: Config) -> str:
    """Returns the flags of the settings that differ from the defaults, but for the recipe."""
    words = []
    for field in dataclasses.fields(config):
        value, default = getattr(config, field.name), getattr(Config(), field.name)
        if value == default or field.name == "recipe":
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        texts = (f"{each:g}" if isinstance(each, float) else str(each) for each in values)
        words.append(" ".join([f"--{flag}", *texts]))
    return " ".join(words)
