"""Images that other programs generated, and data that are named without a run."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgan import data
from jaxgan.data.arrays import to_float
from jaxgan.data.prepared import PREFIX
from jaxgan.data_settings import DataSettings, PictureSettings
from jaxgan.errors import UsageError
from jaxgan.evaluation.protocol import extract_in_parts
from jaxgan.evaluation.reference import Reference
from jaxgan.evaluation.results import describe_protocol
from jaxgan.evaluation.scores import score_samples
from jaxgan.parallel.distributed import print_lines
from jaxgan.runs.config import Config
from jaxgan.runs.description import DatasetInfo, Description


def describe_data(settings: DataSettings) -> Description:
    """Returns a description with nothing but the data, for `load_reference`.

    settings: with a `dataset` or a `data_file`. Raises as `jaxgan.data.open_data` does.
    """
    settings = _drop_unused(settings)
    name = settings.dataset or str(settings.data_file)
    info = DatasetInfo(name=name, fingerprint=data.open_data(settings).fingerprint)
    fields = {field.name for field in dataclasses.fields(DataSettings)}
    config = Config(**{k: v for k, v in vars(settings).items() if k in fields})
    return Description(config, info, {}, {}, {}, None, ())


def load_images(path: Path, pictures: PictureSettings, shape: tuple[int, ...]) -> np.ndarray:
    """Returns generated images, uint8 `[n, h, w, c]`.

    path: a folder of pictures, an .npy file, or an .npz file with `images`. pictures: how pictures
    are converted. shape: that of the data, `(h, w, c)`, to which images may be padded.
    Raises `UsageError` for images that cannot be read or are of another shape.
    """
    if (path / "config.json").exists():
        raise UsageError(f"{path} is a run directory: name it before --images")
    settings = DataSettings(**vars(pictures), data_file=path, data_in="memory")
    try:
        found = data.open_data(_drop_unused(settings)).load(None)
    except UsageError as error:
        raise UsageError(str(error).replace("--data-file", "--images")) from error
    if not isinstance(found, data.Images):
        raise UsageError(f"--images {path} must be uint8, 0 to 255: it holds other numbers")
    check_shape(path, found.shape, shape)
    return np.asarray(found.images)


def check_shape(path: Path, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raises `UsageError` unless images have the shape of the data, perhaps with a border.

    The border is that of images padded to the next power of two, such as from 28 to 32.
    """
    padded = 2 ** int(np.ceil(np.log2(max(shape[:2]))))
    if found[2] != shape[2]:
        raise UsageError(
            f"the images in {path} have {found[2]} channels and the data {shape[2]}: give "
            f"--channels {shape[2]} for pictures, or convert the array"
        )
    if found[:2] not in (shape[:2], (padded, padded)):
        size, expected = ("x".join(map(str, each[:2])) for each in (found, shape))
        raise UsageError(
            f"the images in {path} have {size} pixels and the data {expected}: give --resize for "
            "pictures, or convert the array"
        )


def evaluate_images(
    path: Path, pictures: PictureSettings, reference: Reference, fingerprint: str
) -> dict:
    """Returns the results of images that another program generated, as those of a run.

    Of more images than are compared, random ones are taken.
    fingerprint: of the data. Raises `UsageError` as `load_images` does, and for too few images.
    """
    protocol, train = reference.protocol, reference.splits.train
    if not isinstance(train, data.Images | data.Stacked):
        raise UsageError(f"--images are compared with images, and {train.name} has none")
    print_lines(f"evaluating {path}")
    images = load_images(path, pictures, train.shape)
    if len(images) < reference.count:
        raise UsageError(
            f"{path} has {len(images):,} images, fewer than the {reference.count:,} to compare: "
            f"generate more, or give --samples {len(images)}"
        )
    if len(images) > (most := protocol.num_samples(reference.count)):
        images = images[np.random.Generator(np.random.PCG64(0)).permutation(len(images))[:most]]
    load = lambda indices: np.asarray(to_float(jnp.asarray(images[indices])))
    fake = extract_in_parts(protocol, load, len(images))
    scores = score_samples(reference, images, fake)
    about = describe_protocol(reference, fingerprint)
    result = {
        "protocol": {
            **about,
            "samples_of_modes": len(images),
            "labels": None,
            "keys": None,
            "generator": None,
        },
        "real": reference.scores,
        "mean": scores.metrics,
        "std": {},
        "deviation_over": None,
        "remarks": reference.remarks,
    }
    if scores.class_counts is not None:
        result["class_histogram"] = scores.class_counts
    return result


def _drop_unused(settings: DataSettings) -> DataSettings:
    """Returns settings without those of pictures, if they do not apply to the data.

    One flag is for all data of a command, of which some are pictures and some are not.
    """
    if settings.data_file is not None:
        pictures = settings.data_file.suffix.lower() not in (".npy", ".npz")
    else:
        pictures = settings.dataset.startswith(PREFIX)
    return settings if pictures else dataclasses.replace(settings, **vars(PictureSettings()))
