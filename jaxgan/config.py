"""Every setting of a run, its default and its meaning."""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from jaxgan.errors import UsageError
from jaxgan.files import expand_paths


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a GAN; the result is a function of these settings and the seed alone.

    The same command again continues a run that was stopped; more steps extend it.
    """

    steps: int = 20_000
    """how many generator updates the run has when it is complete"""
    seed: int = 0
    """the run's key: parameters, order of the data, latents"""
    seeds: int = 1
    """how many seeds to train beside one another, from that one on"""
    dataset: str | None = None
    """mnist, fashion_mnist, kmnist, cifar10, stacked_mnist, digits, ring or grid; by default mnist,
    or digits where mnist can neither be found nor downloaded"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data (by default TFDS_DATA_DIR, else
    ~/tensorflow_datasets)"""
    data_file: Path | None = None
    """images of your own: a .npy file, uint8 [n, h, w] or [n, h, w, c], or a folder of pictures,
    in which each folder is a class"""
    image_size: int | None = None
    """pixels to which a black border enlarges images, such as 32 for mnist"""
    stacked_images: int | None = None
    """how many triples of stacked_mnist make up a fixed set (by default all are fresh)"""
    network: str = "mlp"
    """the pair of networks: mlp, dcgan, resnet or r3gan"""
    width: int | None = None
    """how wide they are (by default: hidden units of mlp 256, channels of dcgan 64, resnet 128,
    r3gan 256)"""
    conditional: bool = False
    """give both players the labels"""
    loss: str = "non_saturating"
    """what the players minimise: minimax, non_saturating, least_squares, hinge, wasserstein or
    relativistic"""
    r1: float = 0.0
    """gamma of the penalty on the discriminator's gradients at real images; 0 is none"""
    r2: float = 0.0
    """gamma of the penalty at generated images"""
    gradient_penalty: float = 0.0
    """weight of WGAN-GP's penalty on norms other than 1, between real and generated images"""
    dragan: float = 0.0
    """weight of DRAGAN's penalty, around real images"""
    clip_weights: float = 0.0
    """largest weight of the discriminator (WGAN: 0.01); 0 is none"""
    pack: int = 1
    """images that the discriminator judges at a time (PacGAN)"""
    augment: tuple[str, ...] = ()
    """what the discriminator sees changed, differentiably: color, translation, cutout"""
    batch_size: int = 64
    """real images, and generated ones, of each discriminator update"""
    latent_size: int = 100
    """length of the generator's input, drawn from N(0, 1)"""
    learning_rate: float = 2e-4
    """of Adam, for both players"""
    beta1: float = 0.5
    """of Adam: decay of the mean of the gradients"""
    beta2: float = 0.999
    """of Adam: decay of the mean of their squares"""
    d_steps: int = 1
    """discriminator updates for each generator update"""
    ema_half_life: float = 50_000
    """images after which a generator counts half in the average that samples are drawn from; 0
    turns it off"""
    ema_warm_up: float = 0.05
    """the half-life is at most this share of the images seen so far; 0 does without"""
    burn_in: int = 0
    """images over which what follows here changes, from the start of the run on; constant after"""
    schedule: str = "cosine"
    """how it changes: cosine or linear"""
    final_learning_rate: float | None = None
    """the learning rate after the burn-in"""
    final_beta2: float | None = None
    """beta2 after the burn-in"""
    final_penalty: float = 1.0
    """what the weights of all penalties are multiplied by after the burn-in"""
    ema_burn_in: bool = False
    """let the half-life grow from 0 over the burn-in"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """what the networks compute in; parameters are float32"""
    deterministic: bool = False
    """make a GPU repeat itself to the bit (a CPU always does); slower"""
    devices: int | Literal["all"] = 1
    """how many devices share each batch or, with several seeds, the seeds; of each process"""
    distributed: bool = False
    """compute the run in the processes that Slurm, MPI, Kubernetes or a Cloud TPU started"""
    coordinator: str | None = None
    """HOST:PORT of the first of several processes that were started by hand"""
    num_processes: int | None = None
    """how many of them there are"""
    process_id: int | None = None
    """which of them this is, from 0 on"""
    out: Path | None = None
    """the run directory (by default runs/<dataset>-<network>-<seed>, for several seeds
    <first>-<last>)"""
    overwrite: bool = False
    """delete the run in that directory and start afresh"""
    steps_per_call: int | None = None
    """steps in one call of the device, which change nothing but the speed (by default from the cost
    of a step)"""
    log_every: int = 10
    """steps between the lines of metrics.jsonl"""
    sample_every: int = 200
    """steps between the pictures in samples/"""
    checkpoint_every: int = 2_000
    """steps between checkpoints; the last three are kept"""
    evaluate_every: int | None = None
    """steps between evaluations of 2,000 samples, which of images keep the best generator by FID
    (by default none)"""

    def __post_init__(self):
        expand_paths(self, "data_dir", "data_file", "out")


BOOKKEEPING = frozenset(
    "steps data_dir data_file out overwrite steps_per_call log_every sample_every checkpoint_every "
    "evaluate_every devices distributed coordinator num_processes process_id".split()
)
"""The settings that a run may change when it is continued: they do not decide its state."""


COUNTS = (
    "steps seeds batch_size latent_size d_steps steps_per_call devices num_processes width pack "
    "image_size stacked_images".split()
)
SHARES = "beta1 beta2 final_beta2 ema_warm_up".split()
WEIGHTS = "r1 r2 gradient_penalty dragan clip_weights final_penalty burn_in ema_half_life".split()
LARGEST_FLOAT32 = 3.4e38
BELOW_ONE = 1 - 2.0**-24
"""The largest number below one that is still below one as a float32."""


def validate(config: Config) -> None:
    """Raises `UsageError` for a number that no run can have."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        flag = "--" + field.name.replace("_", "-")
        if value is None:
            continue
        if field.name in COUNTS or field.name.endswith("_every"):
            if value != "all" and not 1 <= value < 2**31:
                raise UsageError(f"{flag} {value} must be at least 1 and below 2**31")
        elif field.name in SHARES:
            if not 0 <= value <= BELOW_ONE:
                raise UsageError(f"{flag} {value} must be at least 0 and below 1")
        elif field.name in WEIGHTS:
            if not 0 <= value < LARGEST_FLOAT32:
                raise UsageError(f"{flag} {value} must be at least 0 and a float32")
        elif field.name.endswith("learning_rate") and not 0 < value < LARGEST_FLOAT32:
            raise UsageError(f"{flag} {value} must be above 0 and a float32")
        elif field.name == "seed" and not 0 <= value < 2**32:
            raise UsageError(f"{flag} {value} must be at least 0 and below 2**32")
    if config.precision not in ("float32", "bfloat16"):
        raise UsageError(f"--precision {config.precision} must be float32 or bfloat16")
    changing = {
        "--final-learning-rate": config.final_learning_rate is not None,
        "--final-beta2": config.final_beta2 is not None,
        "--final-penalty": config.final_penalty != 1,
        "--ema-burn-in": config.ema_burn_in,
    }
    for flag, given in changing.items():
        if given and not config.burn_in:
            raise UsageError(f"{flag} needs --burn-in, the number of images until it is reached")
    if config.batch_size % config.pack:
        raise UsageError(
            f"--batch-size {config.batch_size} must be a multiple of --pack {config.pack}"
        )
    if config.seed + config.seeds > 2**32:
        raise UsageError(f"--seed {config.seed} plus --seeds {config.seeds} must be below 2**32")
    named = (config.coordinator, config.num_processes, config.process_id)
    if named.count(None) not in (0, 3):
        raise UsageError("--coordinator, --num-processes and --process-id go together")
    if config.coordinator is not None:
        if not re.fullmatch(r"\S+:\d+", config.coordinator):
            raise UsageError(f"--coordinator {config.coordinator} must be HOST:PORT")
        if not 0 <= config.process_id < config.num_processes:
            raise UsageError(
                f"--process-id {config.process_id} must be at least 0 and below --num-processes "
                f"{config.num_processes}"
            )
    if config.batch_size * config.d_steps >= 2**31:
        raise UsageError(
            f"--batch-size {config.batch_size} times --d-steps {config.d_steps} must be below 2**31"
        )
