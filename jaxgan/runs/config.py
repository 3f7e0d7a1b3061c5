"""Every setting of a run: its default, its meaning and its limits.

Those of the method are in `method_settings.py`, those of the data in `jaxgan.data_settings`.
"""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

from jaxgan.constraints import Count, Index, Range, check_fields
from jaxgan.data_settings import DataSettings
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths
from jaxgan.runs.axis_values import arrange_axes
from jaxgan.runs.method_checks import check_method, refuse
from jaxgan.runs.method_settings import (
    AugmentationSettings,
    AverageSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    PenaltySettings,
    ScheduleSettings,
    StartSettings,
)

Seed = Annotated[int, Range(0, 2**32 - 1, "at least 0 and below 2**32")]

RecipeName = Literal[
    "classic",
    "dcgan",
    "lsgan",
    "wgan",
    "wgan_gp",
    "dragan",
    "sngan",
    "cgan",
    "sagan",
    "biggan",
    "acgan",
    "reacgan",
    "ssgan",
    "crgan",
    "icrgan",
    "lecam",
    "diffaugment",
    "ragan",
    "san",
    "stylegan2",
    "stylegan2_ada",
    "r3gan",
    "r3gan_stacked_mnist",
    "mnist",
    "mnist_mlp",
]


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The length of the run and its seeds."""

    steps: Count = 20_000
    """number of generator updates"""
    recipe: RecipeName | None = None
    """published method, whose settings other flags override; --recipes lists all of them with
    their settings; only mnist sets --steps"""
    seed: Seed = 0
    """seed of parameters, data order and latents"""
    seeds: Count = 1
    """number of consecutive seeds to train at once, beginning with --seed"""
    most_members: Count = 256
    """largest number of members, the combinations of all values and seeds, of a run in which
    settings have several values; of --seeds alone there is no limit"""
    rank_by: str | None = None
    """score by which sweep.md ranks settings that have several values; if not given, fid if it is
    known"""


@dataclasses.dataclass(frozen=True)
class DeviceSettings:
    """The devices and processes that compute the run."""

    devices: Count | Literal["all"] = 1
    """number of devices of each process, or all; they share each batch or, with --seeds or
    settings with several values, the members (see --member-batch)"""
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
    member_batch: Count | None = None
    """number of members that a device computes at a time; if not given, all; fewer need less
    memory. A member is one of the GANs that a run trains: a combination of the settings with
    several values, with one of the seeds"""
    steps_per_call: Count | None = None
    """steps in one call of the compiled program; if not given, chosen from the cost of a step; it
    changes the speed only"""


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """The run directory and what is written there, and how often."""

    out: Path | None = None
    """run directory; if not given, runs/<dataset>-<recipe or network>-<seed>, with <first>-<last>
    for several seeds, and the names of settings with several values"""
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
    inception: Path | None = None
    """weights of Inception-v3 (see jaxgan.evaluate) whose features --evaluate-every uses instead of
    a classifier's, of 5,000 samples"""


GROUPS = {
    "run": RunSettings,
    "data": DataSettings,
    "network": NetworkSettings,
    "loss": LossSettings,
    "penalty": PenaltySettings,
    "augmentation": AugmentationSettings,
    "optimizer": OptimizerSettings,
    "average": AverageSettings,
    "schedule": ScheduleSettings,
    "start": StartSettings,
    "device": DeviceSettings,
    "output": OutputSettings,
}
"""By title, in the order of `--help`."""


@dataclasses.dataclass(frozen=True)
class Config(
    # A dataclass takes the fields of its last base class first.
    OutputSettings,
    DeviceSettings,
    StartSettings,
    ScheduleSettings,
    AverageSettings,
    OptimizerSettings,
    AugmentationSettings,
    PenaltySettings,
    LossSettings,
    NetworkSettings,
    DataSettings,
    RunSettings,
):
    """Train a GAN. With the same settings, data, versions and machine, the result is the same.

    The same command continues a run that was stopped; a larger --steps extends it. A setting of the
    method with several values, as in --learning-rate 1e-4 2e-4, trains a GAN with each of them, at
    once if possible; with several such settings and --seeds, every combination with every seed.
    """

    axes: dict[str, tuple] = dataclasses.field(default_factory=dict)
    """the values of the settings that have several, by name; the command line sets it"""

    def __post_init__(self):
        expand_paths(self, "data_dir", "data_file", "out", "inception", "init_from")
        object.__setattr__(self, "axes", arrange_axes(type(self), self.axes))


BOOKKEEPING = frozenset(
    "steps recipe most_members rank_by data_dir data_file data_in out overwrite steps_per_call "
    "log_every sample_every checkpoint_every evaluate_every inception init_from init_step devices "
    "member_batch remat accumulate distributed coordinator num_processes process_id".split()
)
"""The settings that may change when a run is continued. Those of devices and processes change its
state by rounding errors only, and the others do not change it."""


def check_config(config: Config) -> None:
    """Raises `UsageError` for settings outside of their limits or that exclude one another."""
    check_fields(config)
    check_method(config)
    if config.seed + config.seeds > 2**32:
        raise UsageError(f"--seed {config.seed} plus --seeds {config.seeds} must be at most 2**32")
    if config.inception is not None and config.evaluate_every is None:
        raise UsageError("--inception needs --evaluate-every, the steps between evaluations")
    changed = (config.init_with, config.init_step) != ("parameters", None)
    refuse(changed and config.init_from is None, "--init-with and --init-step need --init-from")
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
