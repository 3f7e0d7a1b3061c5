"""python -m jaxgan.interpolate: draw paths between the samples of a run's generator."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import Count, Index, Range, check_fields
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths
from jaxgan.generator_settings import GeneratorSettings
from jaxgan.keys import key_of_seed


@dataclasses.dataclass(frozen=True)
class InterpolationSettings:
    """Which paths to draw."""

    num: Count = 8
    """number of paths, each a row of the picture: from one latent to the next, and from the last
    one back to the first; a single path ends at a latent of its own"""
    frames: Annotated[int, Range(2, 1_000, "at least 2 and at most 1,000")] = 12
    """number of samples on a path between two latents or two classes, both ends included"""
    seed: Index = 0
    """seed of the latents"""
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """class of all samples of a conditional GAN, a number or a name; if not given, each path has
    one class, in turn"""
    classes: tuple[str, ...] = ()
    """for paths between classes instead, each with a fixed latent: two or more classes, numbers or
    names, in their order, or all"""
    out: Path | None = None
    """.png file for the picture; for images, a .gif file beside it shows all paths at once, there
    and back; if not given, interpolation.png in the run directory"""


@dataclasses.dataclass(frozen=True)
class Config(InterpolationSettings, GeneratorSettings):
    """Draw paths between samples of a run's generator: between latents, or between classes."""

    def __post_init__(self):
        expand_paths(self, "run", "out")


def main(config: Config) -> list[Path]:
    """Draws paths, writes them, and returns the files that were written.

    Raises `UsageError` for a generator, a class or a path that cannot be used, and `RunError` for a
    generator that is damaged.
    """
    check_fields(config)
    out = config.out or config.run / "interpolation.png"
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} must end in .png")
    with pin_options():
        enable_compilation_cache()
        from jaxgan.outputs.interpolation import write_interpolation
        from jaxgan.runs.generators import load_chosen

        generator = load_chosen(config)
        paths = choose_paths(config, generator)
        written = write_interpolation(out, generator, key_of_seed(config.seed), paths)
    files = " and ".join(map(str, written))
    print(
        f"jaxgan: wrote {config.num:,} paths of the generator of step {generator.step} to {files}"
    )
    return written


def choose_paths(config: Config, generator):
    """Returns the paths that the settings ask for. Raises `UsageError` for unknown classes."""
    from jaxgan.outputs.interpolation import Paths
    from jaxgan.outputs.samples import find_class

    dataset, num_classes = generator.of_run.dataset, generator.num_classes
    label, names = find_class(dataset, num_classes, config.class_), config.classes
    if names and label is not None:
        raise UsageError("--class and --classes exclude each other: choose one")
    if names == ("all",) and num_classes is not None:
        names = tuple(map(str, range(num_classes)))
    classes = tuple(find_class(dataset, num_classes, name, "--classes") for name in names)
    if len(classes) == 1:
        raise UsageError("--classes needs at least two classes, or all")
    return Paths(config.num, config.frames, label, classes)


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.interpolate", "nothing was written"))
