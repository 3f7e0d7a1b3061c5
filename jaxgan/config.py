"""Every setting of a run, its default and its meaning."""

import dataclasses
from pathlib import Path

from jaxgan.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a GAN; the result is a function of these settings and the seed alone.

    The same command again continues a run that was stopped; more steps extend it.
    """

    steps: int = 20_000
    """how many generator updates the run has when it is complete"""
    seed: int = 0
    """the run's key: parameters, order of the data, latents"""
    dataset: str | None = None
    """mnist, fashion_mnist, kmnist, digits, ring or grid; by default mnist, or digits where mnist
    can neither be found nor downloaded"""
    data_dir: Path | None = None
    """where TensorFlow Datasets keeps its data (by default TFDS_DATA_DIR, else
    ~/tensorflow_datasets)"""
    network: str = "mlp"
    """the pair of networks: mlp"""
    loss: str = "non_saturating"
    """what the players minimise: non_saturating or minimax"""
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
    ema_decay: float = 0.999
    """of the averaged generator that samples are drawn from; 0 turns it off"""
    deterministic: bool = False
    """make a GPU repeat itself to the bit (a CPU always does); slower"""
    out: Path | None = None
    """the run directory (by default runs/<dataset>-<network>-<seed>)"""
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


BOOKKEEPING = frozenset(
    "steps data_dir out overwrite steps_per_call log_every sample_every checkpoint_every".split()
)
"""The settings that a run may change when it is continued: they do not decide its state."""


LARGEST_FLOAT32 = 3.4e38
BELOW_ONE = 1 - 2.0**-24
"""The largest number below one that is still below one as a float32."""


def validate(config: Config) -> None:
    """Raises `UsageError` for a number that no run can have."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        flag = "--" + field.name.replace("_", "-")
        if field.name in ("steps_per_call", "batch_size", "latent_size", "d_steps", "steps") or (
            field.name.endswith("_every")
        ):
            if value is not None and not 1 <= value < 2**31:
                raise UsageError(f"{flag} {value} must be at least 1 and below 2**31")
        elif field.name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= value <= BELOW_ONE:
                raise UsageError(f"{flag} {value} must be at least 0 and below 1")
        elif field.name == "learning_rate" and not 0 < value < LARGEST_FLOAT32:
            raise UsageError(f"{flag} {value} must be above 0 and a float32")
        elif field.name == "seed" and not 0 <= value < 2**32:
            raise UsageError(f"{flag} {value} must be at least 0 and below 2**32")
    if config.batch_size * config.d_steps >= 2**31:
        raise UsageError(
            f"--batch-size {config.batch_size} times --d-steps {config.d_steps} must be below 2**31"
        )
