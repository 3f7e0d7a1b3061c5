"""python -m jaxgan.sample: draw samples from the generator of a run."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import Count, Index, Rate, UnitInterval, check_fields
from jaxgan.environment import pin_options
from jaxgan.files import expand_paths
from jaxgan.generator_settings import GeneratorSettings


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """Which samples to draw."""

    num: Count = 64
    """number of samples"""
    seed: Index = 0
    """seed of the latents; the first samples are the same whatever their number"""
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """class of all samples of a conditional GAN, a number or a name; if not given, the classes in
    turn"""
    truncation: Rate | None = None
    """largest absolute value in the latents, beyond which values are drawn again: smaller values
    give more typical and less diverse samples"""
    style_truncation: UnitInterval | None = None
    """factor of the distances of stylegan2's styles from their average: below 1, it gives more
    typical and less diverse samples"""
    out: Path | None = None
    """.png file for one picture of all samples, .npy or .npz file for an array (uint8, or the units
    of the data; .npz with labels), or a folder for one picture each, in subfolders by class; if not
    given, sample.png in the run directory"""


@dataclasses.dataclass(frozen=True)
class Config(SampleSettings, GeneratorSettings):
    """Draw samples from the generator of a run. The same settings give the same samples."""

    def __post_init__(self):
        expand_paths(self, "run", "out")


def main(config: Config) -> Path:
    """Draws samples, writes them, and returns the path that was written.

    Raises `UsageError` for a generator, a class or a path that cannot be used, and `RunError` for a
    generator that is damaged.
    """
    check_fields(config)
    with pin_options():
        enable_compilation_cache()
        from jaxgan.outputs.samples import Request, find_class, write_samples
        from jaxgan.runs.generators import load_chosen

        generator = load_chosen(config)
        generator = dataclasses.replace(generator, style_truncation=config.style_truncation)
        label = find_class(generator.of_run.dataset, generator.num_classes, config.class_)
        request = Request(config.num, config.seed, label, config.truncation)
        out = config.out or config.run / "sample.png"
        write_samples(out, generator, request)
    print(
        f"jaxgan: wrote {config.num:,} samples of the generator of step {generator.step} to {out}"
    )
    return out


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.sample", "nothing was written"))
