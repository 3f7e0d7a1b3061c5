"""python -m jaxgan.invert: find the latents of images, and complete damaged images."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import Count, Index, Range, check_fields
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths, given_path
from jaxgan.generator_settings import GeneratorSettings
from jaxgan.keys import key_of_seed


@dataclasses.dataclass(frozen=True)
class InversionSettings:
    """Which images to invert, and how."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """pictures, scaled and cropped to the size of the training images, or .npy files (uint8) of
    that size"""
    mask: Path | None = None
    """picture that is white where pixels are known and black where they are missing, which are
    filled in; it is scaled and cropped as the images are; or a .npy file with one mask or one for
    each image: bool (True where known), or uint8 (0 where missing, and 1 or 255 where known)"""
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """class of all images for a conditional GAN, a number or a name; if not given, the searches
    try different classes, the one of the most similar sample first"""
    restarts: Annotated[int, Range(1, 1_000, "at least 1 and at most 1,000")] = 8
    """searches for each image, of which the best one is kept; without --class, as many of them as
    there are classes try all"""
    steps: Count = 300
    """steps of each search"""
    seed: Index = 0
    """seed of the samples that the searches begin from"""
    out: Path | None = None
    """.png file for the picture, with a row for each image: the image, gray where it is missing,
    then the generator's, and with --mask the completed one; an .npz file beside it holds the
    latents and the images; if not given, inversion.png in the run directory"""


@dataclasses.dataclass(frozen=True)
class Config(InversionSettings, GeneratorSettings):
    """Find the latents whose images are nearest to given ones, and complete damaged images."""

    def __post_init__(self):
        expand_paths(self, "run", "mask", "out")
        object.__setattr__(self, "images", tuple(map(given_path, self.images)))


def main(config: Config):
    """Inverts images, writes the result, and returns it as `jaxgan.outputs.inversion.Inversion`.

    Raises `UsageError` for a generator, a class or a file that cannot be used, and `RunError` for a
    generator that is damaged.
    """
    check_fields(config)
    out = config.out or config.run / "inversion.png"
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} must end in .png")
    if not config.images:
        raise UsageError("name the images after the run: python -m jaxgan.invert RUN image.png")
    with pin_options():
        enable_compilation_cache()
        import jax
        import numpy as np

        from jaxgan.data.arrays import to_float
        from jaxgan.outputs.inversion import Settings, invert
        from jaxgan.outputs.inversion_files import (
            check_data,
            read_images,
            read_masks,
            write_inversion,
        )
        from jaxgan.outputs.samples import find_class
        from jaxgan.runs.generators import load_chosen

        generator = load_chosen(config)
        of_run = generator.of_run
        check_data(of_run)
        label = find_class(of_run.dataset, generator.num_classes, config.class_)
        settings = Settings(config.restarts, config.steps, label)
        images = np.asarray(to_float(read_images(config.images, of_run)))
        masks = read_masks(config.mask, len(images), of_run)
        found = jax.device_get(invert(generator, images, masks, key_of_seed(config.seed), settings))
        archive = write_inversion(out, images, masks, found)
    report(
        found, of_run.dataset.class_names, searched=label is None, masked=config.mask is not None
    )
    print(f"jaxgan: wrote {out} and {archive}")
    return found


def report(found, class_names: tuple[str, ...], searched: bool, masked: bool) -> None:
    """Prints the error of each image, with values from 0 to 1, and its class if it was searched."""
    pixels = "known pixels" if masked else "all pixels"
    for number, error in enumerate(found.errors, 1):
        # A difference of values from -1 to 1 is twice that of values from 0 to 1.
        line = f"jaxgan: image {number:,}: mean squared error of {pixels} {error / 4:.4f}"
        if found.labels is not None and searched:
            label = int(found.labels[number - 1])
            line += f", class {class_names[label] if class_names else label}"
        print(line)


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.invert", "nothing was written"))
