"""python -m jaxgan.classify: train the classifier whose features samples are compared by."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.constraints import Range, check_fields
from jaxgan.data_settings import DataSettings, PictureSettings, SourceSettings
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths


@dataclasses.dataclass(frozen=True)
class Config(PictureSettings, SourceSettings):
    """Train a classifier on the training split of a data set.

    It learns the classes or, without classes, by which angle images were rotated.
    jaxgan.evaluate trains one by itself if there is none for the data of a run.
    """

    epochs: Annotated[int, Range(1, 999, "at least 1 and below 1000")] | None = None
    """number of times that every image is seen; if not given, 6, or more for few images"""
    seed: Annotated[int, Range(0, 2**32 - 1, "at least 0 and below 2**32")] = 0
    """seed of parameters, order of the images and their shifts"""
    out: Path | None = None
    """file to write, which jaxgan.evaluate does not read; if not given, a file in the user's cache,
    which it reads (of mnist, it reads the one in the package)"""

    def __post_init__(self):
        expand_paths(self, "data_dir", "data_file", "out")


def main(config: Config):
    """Trains a classifier, saves it, and returns it as a `classifier_files.Trained`.

    Raises `UsageError` for settings and data that no classifier can be trained with.
    """
    if config.dataset is None and config.data_file is None:
        raise UsageError("name the data: --dataset or --data-file")
    check_fields(config)
    with pin_options():
        enable_compilation_cache()
        from jaxgan import data
        from jaxgan.evaluation.classifier_files import (
            classifier_path,
            describe_data,
            train_and_save,
        )

        names = [field.name for field in dataclasses.fields(DataSettings)]
        settings = DataSettings(**{k: v for k, v in vars(config).items() if k in names})
        opened = data.open_data(settings)
        train, test = opened.load("train"), opened.load("test")
        if not isinstance(train, data.Images):
            raise UsageError(f"no classifier is trained on {train.name}: choose a set of images")
        out = config.out or classifier_path(train)
        return train_and_save(train, test, out, config.epochs, config.seed, describe_data(settings))


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.classify", "nothing was written"))
