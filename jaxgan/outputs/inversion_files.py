"""The images and masks that are inverted, and the files that show the result."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.data.arrays import pad_images, to_uint8
from jaxgan.data.pictures import Decoding, decode
from jaxgan.errors import UsageError, first_line
from jaxgan.files import replacing
from jaxgan.outputs.inversion import Inversion
from jaxgan.runs import plots
from jaxgan.runs.description import Description

KNOWN = 128
"""The least brightness of a known pixel in a mask."""


def check_data(of_run: Description) -> None:
    """Raises `UsageError` for a run on data that are not images."""
    if not (of_run.dataset.bounded and len(of_run.dataset.shape) == 3):
        raise UsageError(f"only images can be inverted, and {of_run.dataset.name} has none")


def read_images(paths: Sequence[Path], of_run: Description) -> np.ndarray:
    """Returns the images in files, uint8 `[n, h, w, c]`, in the shape of a run's data.

    A .npy file holds one image or several, uint8 in that shape. Other files are pictures, decoded
    as training data are: the shorter side is scaled, and the longer one cropped.
    Raises `UsageError` for files that cannot be used.
    """
    shape = of_run.dataset.shape
    parts = [
        _read_array(path, shape)
        if path.suffix.lower() == ".npy"
        else _read_picture(path, of_run)[None]
        for path in paths
    ]
    return np.concatenate(parts)


def read_masks(path: Path | None, count: int, of_run: Description) -> np.ndarray:
    """Returns which pixels are known, bool `[count, h, w, 1]`; all of them without a file.

    The file is a picture that is white where pixels are known and black where they are missing, in
    the shape of the images or scaled to it without new gray values; or a .npy file with one mask,
    or one for each image: bool, uint8 of 0 and 1, or uint8 with brightness as in a picture.
    Raises `UsageError` for a file that cannot be used, and for a mask without known pixels.
    """
    shape = (*of_run.dataset.shape[:2], 1)
    if path is None:
        return np.ones((count, *shape), bool)
    if path.suffix.lower() == ".npy":
        values = _read_array(path, shape, (np.uint8, np.bool_))
        if len(values) not in (1, count):
            raise UsageError(f"--mask {path} holds {len(values):,} masks for {count:,} images")
        known = values.astype(bool) if values.max() <= 1 else values >= KNOWN
    else:
        known = _read_picture(path, of_run, mask=True)[None] >= KNOWN
    if not known.any(axis=(1, 2, 3)).all():
        raise UsageError(
            f"--mask {path} has no known pixel: known pixels must be white (in an array 255, 1 or "
            f"True), missing ones black (0 or False)"
        )
    return np.broadcast_to(known, (count, *shape))


def write_inversion(path: Path, images: np.ndarray, masks: np.ndarray, found: Inversion) -> Path:
    """Writes a picture, and an .npz file beside it; returns the path of the latter.

    The picture has a row for each image: the image, gray where it is unknown, then that of the
    latent and, if pixels are missing, the completed image. The .npz file holds the fields of
    `Inversion` other than "objectives", with images in uint8.
    images: `[n, h, w, c]` in [-1, 1]. masks: `[n, h, w, 1]`. Raises `OSError`.
    """
    columns = [np.where(masks, images, 0), found.images]
    if not masks.all():
        columns.append(found.completed)
    rows = np.stack(columns, axis=1)
    arrays = {name: getattr(found, name) for name in ("latents", "labels", "errors")}
    arrays |= {name: to_uint8(getattr(found, name)) for name in ("images", "completed")}
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = path.with_suffix(".npz")
    with replacing(archive) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{name: each for name, each in arrays.items() if each is not None})
    plots.save_samples(path, rows.reshape(-1, *images.shape[1:]), 3, columns=len(columns))
    return archive


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check the path") from error


def _read_array(path: Path, shape: tuple[int, ...], types=(np.uint8,)) -> np.ndarray:
    """Returns the arrays in a .npy file, of one of the types, `[n, *shape]`."""
    try:
        array = np.load(io.BytesIO(_read_bytes(path)), allow_pickle=False)
    except UsageError:
        raise
    except Exception as error:  # Damaged files raise errors of many types.
        raise UsageError(f"{path} is not a .npy file ({first_line(error)})") from error
    shapes = {shape, shape[:-1]} if shape[-1] == 1 else {shape}
    fits = array.shape in shapes or array.shape[1:] in shapes
    if array.dtype not in types or not fits or not array.size:
        shape = shape[:-1] if shape[-1] == 1 else shape
        size, names = " x ".join(map(str, shape)), " or ".join(np.dtype(t).name for t in types)
        raise UsageError(
            f"{path} must be {names} of shape {size} or, for several, n x {size}: it is "
            f"{array.dtype} of shape {' x '.join(map(str, array.shape))}"
        )
    return array.reshape(-1, *shape)


def _read_picture(path: Path, of_run: Description, mask: bool = False) -> np.ndarray:
    """Returns a picture, uint8, in the height and width of the run's data; a mask with 1 channel.

    It is padded if the training data are and it is no larger than these, and scaled otherwise.
    """
    config, (height, width, channels) = of_run.config, of_run.dataset.shape
    data = _read_bytes(path)
    how = Decoding(None, 1) if mask else Decoding(config.resize, channels, config.background)
    pixels = _decode(path, data, how)
    if config.image_size is not None and max(pixels.shape[:2]) <= config.image_size:
        border = 255 if mask else 0  # The border of a padded image is known.
        return border - pad_images(border - pixels[None], config.image_size)[0]
    if pixels.shape[:2] == (height, width):
        return pixels
    if height != width:
        found = " x ".join(map(str, pixels.shape[:2]))
        raise UsageError(f"{path} must have {height} x {width} pixels, and has {found}")
    return _scale_mask(pixels, height) if mask else _decode(path, data, how._replace(size=height))


def _decode(path: Path, data: bytes, how: Decoding) -> np.ndarray:
    try:
        return decode(data, how).pixels
    except ValueError as error:
        raise UsageError(f"{path} cannot be used as a picture: {error}") from error


def _scale_mask(pixels: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    picture = Image.fromarray(pixels[..., 0])
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.NEAREST))[..., None]
