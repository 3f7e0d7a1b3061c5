"""The settings of an evaluation, and their limits."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxgan.constraints import ProfileWidth, Range, check_fields
from jaxgan.data_settings import DatasetName, PictureSettings, TFDSName
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths, given_path

LIMIT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """What is compared with what."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """run directories, all of the same data"""
    images: tuple[Path, ...] = ()
    """generated images to evaluate beside the runs or, with --dataset or --data-file, by
    themselves: folders of pictures, .npy files, or .npz files with images; --resize, --channels,
    --background and --skip-broken apply to them, and to --data-file without runs"""
    dataset: DatasetName | TFDSName | None = None
    """data set to compare images with; not needed beside runs, which have their data"""
    data_dir: Path | None = None
    """directory of TensorFlow Datasets; if not given, the one that the run used"""
    data_file: Path | None = None
    """your own images; if not given, those that the run used"""
    samples: Annotated[int, Range(2, LIMIT, "at least 2 and below 2**31")] = 10_000
    """number of generated and of real samples, limited by the number of real ones"""
    against: Literal["train", "test"] = "test"
    """split to compare samples with; the first row of the table scores real images of the other
    split; published FID is often of 50,000 samples against the training split"""
    repeats: Annotated[int, Range(1, LIMIT, "at least 1 and below 2**31")] = 3
    """number of sets of samples, for the mean and the standard deviation of the metrics"""
    seed: Annotated[int, Range(0, LIMIT, "at least 0 and below 2**31")] = 0
    """seed of the latents of the first set; the other sets have the next seeds"""
    best: bool = False
    """evaluate the generator with the best FID during training (see --evaluate-every of
    jaxgan.train) instead of the last one"""
    ema_width: tuple[ProfileWidth, ...] = ()
    """relative widths of averages to evaluate instead of the run's own, made from its snapshots
    (see --ema-profiles of jaxgan.train); results are written to evaluations/ema-WIDTH.json"""
    inception: Path | None = None
    """weights of Inception-v3 that pytorch-fid publishes, .pth (needs torch) or .safetensors, to
    use its features instead of those of a classifier"""
    features: str | None = None
    """MODULE:FUNCTION, your own function from images, uint8 [n, h, w, c], to features [n, d] that
    replace a classifier's; the module may be in the working directory"""
    read_statistics: Path | None = None
    """.npz file with the mean mu and the covariance sigma of real features, as pytorch-fid writes
    it, for FID; metrics that need individual real samples, such as KID, are then empty"""
    write_statistics: Path | None = None
    """.npz file to write, with the mean and the covariance of the features of the real samples"""
    cas: bool = True
    """compute the classification accuracy score (CAS) of conditional runs, for which a classifier
    is trained on the samples of each seed: minutes on a CPU"""
    nearest: bool = False
    """search for copies of training examples; of images, nearest.png shows the closest samples"""
    stored: bool = False
    """show the results in evaluation.json, without computing anything"""
    out: Path | None = None
    """.json file to write, with all results of this command"""


@dataclasses.dataclass(frozen=True)
class Config(PictureSettings, EvaluationSettings):
    """Compare the samples of runs with real data; write evaluation.json into each run.

    The images of other programs are compared in the same way, see --images.
    """

    def __post_init__(self):
        for name in ("runs", "images"):
            paths = getattr(self, name)
            paths = (paths,) if isinstance(paths, str | os.PathLike) else paths
            object.__setattr__(self, name, tuple(given_path(path) for path in paths))
        expand_paths(self, "inception", "data_dir", "data_file", "out")
        expand_paths(self, "read_statistics", "write_statistics")


def check_config(config: Config) -> None:
    """Raises `UsageError` for settings outside of their limits or that exclude one another."""
    check_fields(config)
    named = config.dataset is not None or config.data_file is not None
    if not config.runs and not config.images and not (named and config.write_statistics):
        raise UsageError("name the run directories to evaluate, or images by --images")
    if not config.runs and not named:
        raise UsageError("name the data to compare images with: --dataset or --data-file")
    for what, paths in (("a run directory", config.runs), ("a path of --images", config.images)):
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError(f"{what} is given twice")
    if config.ema_width and (config.best or config.images):
        raise UsageError(
            "--ema-width cannot be combined with --best, which is another generator, or with "
            "--images, which are of no run"
        )
    if config.stored:
        _check_stored(config)
    if config.read_statistics is not None and config.write_statistics is not None:
        raise UsageError("--read-statistics and --write-statistics exclude each other")
    if config.inception is not None and config.features is not None:
        raise UsageError("--inception and --features exclude each other: give one of them")
    paths = [path for path in (*config.images, config.data_file) if path is not None]
    pictures = any(path.is_dir() for path in paths) or (config.dataset or "").startswith("tfds:")
    for name, default in vars(PictureSettings()).items():
        if getattr(config, name) != default and not pictures:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is for folders of pictures, of --images or --data-file")


def _check_stored(config: Config) -> None:
    """Raises `UsageError` for settings of a new evaluation, which --stored would ignore."""
    for field in dataclasses.fields(config):
        changed = getattr(config, field.name) != field.default
        if changed and field.name not in ("runs", "best", "stored", "out"):
            flag = "--" + field.name.replace("_", "-")
            raise UsageError(f"--stored shows earlier results as they are: remove {flag}")


def pictures_of(config: Config) -> PictureSettings:
    """Returns how pictures in files are converted."""
    names = [field.name for field in dataclasses.fields(PictureSettings)]
    return PictureSettings(**{name: getattr(config, name) for name in names})
