"""The settings of the data, as groups of fields that commands share."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from jaxgan.constraints import Count, Pattern

DatasetName = Literal[
    "mnist", "fashion_mnist", "kmnist", "cifar10", "digits", "stacked_mnist", "ring", "grid"
]
TFDSName = Annotated[
    str,
    Pattern(r"tfds:\w+(/[\w.+-]+)?", "and tfds:NAME or tfds:NAME/CONFIG, which must be prepared"),
]


@dataclasses.dataclass(frozen=True)
class SourceSettings:
    """Which data to use."""

    dataset: DatasetName | TFDSName | None = None
    """data set, or tfds:NAME[/CONFIG] for any image data set that TensorFlow Datasets has prepared;
    if not given, mnist, or digits if mnist is neither on disk nor downloadable"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets; if not given, TFDS_DATA_DIR or ~/tensorflow_datasets"""
    data_file: Path | None = None
    """your own data instead of a data set: a folder of pictures, whose subfolders, if any, are the
    classes; an .array_record file, or a folder of them, with one picture in each record; a .npy
    file with one array, or an .npz file with images (or values) and, optionally, labels; images are
    uint8 [n, h, w] or [n, h, w, c] with c 1 or 3, any other data floating-point [n, ...]"""


@dataclasses.dataclass(frozen=True)
class PictureSettings:
    """How pictures in files are converted to arrays."""

    resize: Count | None = None
    """height and width of the images: the shorter side of each picture is scaled to this size, and
    the center is cropped; if not given, all pictures must have one size"""
    channels: Literal[1, 3] | None = None
    """1 for grayscale or 3 for RGB images; if not given, 3 if any picture has color, else 1"""
    background: str = "black"
    """color behind transparent pixels, as a name or #rrggbb"""
    skip_broken: bool = False
    """skip pictures that cannot be read, instead of stopping"""


@dataclasses.dataclass(frozen=True)
class DataSettings(PictureSettings, SourceSettings):
    """The training data."""

    train_examples: Count | None = None
    """number of examples to train on, chosen at random, the same ones for every seed; if not given,
    all; of stacked_mnist, the number of digits; scores compare samples with the other examples,
    too"""
    image_size: Count | None = None
    """height and width to which images are padded with black, such as 32 for mnist"""
    stacked_images: Count | None = None
    """size of a fixed training set of stacked_mnist; if not given, every step has new images"""
    data_in: Literal["auto", "memory", "disk"] = "auto"
    """where the data are kept during training: in the memory of the device, or on disk, from which
    the examples of each step are read ahead of time; auto means memory for data that need at most
    a quarter of it; this changes only the speed, not the results"""
