"""python -m jaxgan.export: write the generator of a run for other programs."""

import dataclasses
import sys
from pathlib import Path
from typing import Literal, get_args

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import check_fields
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths
from jaxgan.generator_settings import GeneratorSettings

Format = Literal["safetensors", "stablehlo", "onnx"]
FORMATS = get_args(Format)


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """The kind of file, and its path."""

    format: Format = "safetensors"
    """safetensors: the weights, and the list of layers of an mlp or a dcgan with --g-norm none or
    batch; stablehlo: the function from latents to samples, for JAX on a CPU or CUDA; onnx: the same
    function for any program that reads ONNX, of an mlp or a dcgan with --g-norm none or batch"""
    out: Path | None = None
    """file to write; if not given, export.<format> in the run directory"""


@dataclasses.dataclass(frozen=True)
class Config(ExportSettings, GeneratorSettings):
    """Write the generator of a run for other programs."""

    def __post_init__(self):
        expand_paths(self, "run", "out")


def main(config: Config) -> Path:
    """Writes the generator of a run, and returns the path that was written.

    Raises `UsageError` for a generator that cannot be written in this format, and `RunError` for
    one that is damaged.
    """
    check_fields(config)
    out = config.out or config.run / f"export.{config.format}"
    if (kind := out.suffix.lower().removeprefix(".")) in FORMATS and kind != config.format:
        raise UsageError(f"--out {out} is named as a file of --format {kind}: choose another name")
    with pin_options():
        enable_compilation_cache()
        from jaxgan.outputs.exports import WRITERS
        from jaxgan.runs.generators import load_chosen

        generator = load_chosen(config)
        out.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[config.format](out, generator)
    size = out.stat().st_size / 1e6
    print(f"jaxgan: wrote the generator of step {generator.step} to {out} ({size:.1f} MB)")
    return out


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.export", "nothing was written"))
