"""Every setting of a run: its default, its meaning and its limits.

To add a setting, add a field to one of the groups, whose docstring is its introduction in `--help`.
"""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

from jaxgan.constraints import Count, Range, check_fields
from jaxgan.data_settings import DataSettings
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths

LARGEST_FLOAT32 = 3.4e38
BELOW_ONE = 1 - 2.0**-24
"""The largest number that is still below one as a float32."""

Seed = Annotated[int, Range(0, 2**32 - 1, "at least 0 and below 2**32")]
Index = Annotated[int, Range(0, 2**31 - 1, "at least 0 and below 2**31")]
Fraction = Annotated[float, Range(0, BELOW_ONE, "at least 0 and below 1")]
Weight = Annotated[float, Range(0, LARGEST_FLOAT32, "at least 0 and at most 3.4e38")]
Rate = Annotated[float, Range(5e-324, LARGEST_FLOAT32, "above 0 and at most 3.4e38")]

NetworkName = Literal["mlp", "dcgan", "resnet", "r3gan"]
LossName = Literal[
    "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"
]
AugmentationName = Literal["color", "translation", "cutout"]


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The length of the run and its seeds."""

    steps: Count = 20_000
    """number of generator updates"""
    seed: Seed = 0
    """seed of parameters, data order and latents"""
    seeds: Count = 1
    """number of consecutive seeds to train at once, beginning with --seed"""


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """The generator and the discriminator."""

    network: NetworkName = "mlp"
    """family of both networks"""
    width: Count | None = None
    """base width of both networks; if not given, 256 hidden units for mlp, and 64, 128 and 256
    channels for dcgan, resnet and r3gan"""
    latent_size: Count = 100
    """length of the generator's input vectors, drawn from N(0, 1)"""
    conditional: bool = False
    """pass class labels to both networks"""
    pack: Count = 1
    """number of images that are joined along their channels for the discriminator (PacGAN)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """type that the networks compute in; parameters are float32"""


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """The loss, its penalties and the augmentation of images."""

    loss: LossName = "non_saturating"
    """loss of the generator and the discriminator"""
    r1: Weight = 0.0
    """gamma of the gradient penalty at real images; 0 for none"""
    r2: Weight = 0.0
    """gamma of the gradient penalty at generated images; 0 for none"""
    gradient_penalty: Weight = 0.0
    """weight of WGAN-GP's penalty on gradient norms other than 1; 0 for none"""
    dragan: Weight = 0.0
    """weight of DRAGAN's gradient penalty around real images; 0 for none"""
    augment: tuple[AugmentationName, ...] = ()
    """differentiable augmentations of all images that the discriminator sees"""


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """Adam for both networks, and the batches."""

    batch_size: Count = 64
    """number of real images, and of generated ones, in a discriminator update"""
    d_steps: Count = 1
    """number of discriminator updates for each generator update"""
    learning_rate: Rate = 2e-4
    """learning rate of Adam"""
    beta1: Fraction = 0.5
    """decay rate of Adam's first moment"""
    beta2: Fraction = 0.999
    """decay rate of Adam's second moment"""
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
    """learning rate after the burn-in; if not given, it does not change"""
    final_beta2: Fraction | None = None
    """beta2 after the burn-in; if not given, it does not change"""
    final_penalty: Weight = 1.0
    """factor that the weights of all penalties are multiplied by after the burn-in"""
    ema_burn_in: bool = False
    """let the half-life of the average grow from 0 over the burn-in"""


@dataclasses.dataclass(frozen=True)
class DeviceSettings:
    """The devices and processes that compute the run."""

    devices: Count | Literal["all"] = 1
    """number of devices of each process, or all; they share each batch or, with --seeds, the
    seeds"""
    deterministic: bool = False
    """make results on a GPU reproducible bit for bit, as they are on a CPU; slower"""
    distributed: bool = False
    """join the other processes that Slurm, Open MPI, Kubernetes or Cloud TPU started"""
    coordinator: str | None = None
    """HOST:PORT of the first process, if the processes are started by hand"""
    num_processes: Count | None = None
    """number of processes, if they are started by hand"""
    process_id: Index | None = None
    """index of this process, if the processes are started by hand"""
    steps_per_call: Count | None = None
    """steps in one call of the compiled program; if not given, chosen from the cost of a step; it
    changes the speed only"""


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """The run directory and what is written there, and how often."""

    out: Path | None = None
    """run directory; if not given, runs/<dataset>-<network>-<seed>, with <first>-<last> for several
    seeds"""
    overwrite: bool = False
    """delete the run in that directory and start again"""
    log_every: Count = 10
    """steps between lines of metrics.jsonl"""
    sample_every: Count = 200
    """steps between pictures in samples/"""
    checkpoint_every: Count = 2_000
    """steps between checkpoints; the last three are kept"""
    evaluate_every: Count | None = None
    """steps between evaluations of 2,000 samples during training, whose scores are logged; of
    images, the generator with the best FID is kept; if not given, there are none"""


GROUPS = {
    "run": RunSettings,
    "data": DataSettings,
    "network": NetworkSettings,
    "loss": LossSettings,
    "optimizer": OptimizerSettings,
    "average": AverageSettings,
    "schedule": ScheduleSettings,
    "device": DeviceSettings,
    "output": OutputSettings,
}
"""By title, in the order of `--help`."""


@dataclasses.dataclass(frozen=True)
class Config(
    # A dataclass takes the fields of its last base class first.
    OutputSettings,
    DeviceSettings,
    ScheduleSettings,
    AverageSettings,
    OptimizerSettings,
    LossSettings,
    NetworkSettings,
    DataSettings,
    RunSettings,
):
    """Train a GAN. With the same settings, data, versions and machine, the result is the same.

    The same command continues a run that was stopped; a larger --steps extends it.
    """

    def __post_init__(self):
        expand_paths(self, "data_dir", "data_file", "out")


BOOKKEEPING = frozenset(
    "steps data_dir data_file data_in out overwrite steps_per_call log_every sample_every "
    "checkpoint_every evaluate_every devices distributed coordinator num_processes "
    "process_id".split()
)
"""The settings that may change when a run is continued. Those of devices and processes change its
state by rounding errors only, and the others do not change it."""


def check_config(config: Config) -> None:
    """Raises `UsageError` for settings outside of their limits or that exclude one another."""
    check_fields(config)
    changing = {
        "--final-learning-rate": config.final_learning_rate is not None,
        "--final-beta2": config.final_beta2 is not None,
        "--final-penalty": config.final_penalty != 1,
        "--ema-burn-in": config.ema_burn_in,
    }
    for flag, given in changing.items():
        if given and not config.burn_in:
            raise UsageError(f"{flag} needs --burn-in, the length of the burn-in in images")
    if config.batch_size % config.pack:
        raise UsageError(
            f"--batch-size {config.batch_size} must be a multiple of --pack {config.pack}"
        )
    if config.batch_size * config.d_steps >= 2**31:
        raise UsageError(
            f"--batch-size {config.batch_size} times --d-steps {config.d_steps} must be below 2**31"
        )
    if config.seed + config.seeds > 2**32:
        raise UsageError(f"--seed {config.seed} plus --seeds {config.seeds} must be at most 2**32")
    _check_processes(config)


def _check_processes(config: Config) -> None:
    by_hand = (config.coordinator, config.num_processes, config.process_id)
    if by_hand.count(None) not in (0, 3):
        raise UsageError("--coordinator, --num-processes and --process-id must be given together")
    if config.coordinator is None:
        return
    if not re.fullmatch(r"\S+:\d+", config.coordinator):
        raise UsageError(f"--coordinator {config.coordinator} must be HOST:PORT")
    if config.process_id >= config.num_processes:
        raise UsageError(
            f"--process-id {config.process_id} must be below --num-processes {config.num_processes}"
        )
