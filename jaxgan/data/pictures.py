"""Decoding pictures of any format that Pillow reads."""

import functools
import io
import warnings
from typing import NamedTuple

import numpy as np

from jaxgan.errors import UsageError, first_line

NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow recognizes but cannot decode by itself."""


class Decoding(NamedTuple):
    """How pictures are converted to arrays.

    size: height and width, to which the shorter side is scaled and the longer one is cropped; None
    to leave them as they are. channels: 1 or 3; None for 1 if a picture has no colors, else 3.
    background: the color behind transparent pixels, as Pillow's `ImageColor` names it.
    """

    size: int | None = None
    channels: int | None = None
    background: str = "black"


class Picture(NamedTuple):
    """A decoded picture, uint8 `[h, w, c]`, and what was done to it.

    gray: whether all its pixels are gray. transparent: whether some pixels were transparent, even
    in part. animated: whether it has more frames, which were left out. enlarged: whether it was
    smaller than the size that it was scaled to.
    """

    pixels: np.ndarray
    gray: bool
    transparent: bool
    animated: bool
    enlarged: bool


def check_background(color: str) -> str:
    """Returns the name of a color. Raises `UsageError` for one that Pillow does not know."""
    from PIL import ImageColor

    try:
        ImageColor.getrgb(color)
    except ValueError as error:
        raise UsageError(
            f"--background {color} is not a color: give a name such as white, or #rrggbb"
        ) from error
    return color


def known_suffixes() -> set[str]:
    """Returns the suffixes of the files that Pillow decodes, in lower case."""
    from PIL import Image

    return {
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NO_PICTURES
    }


def decode(data: bytes, how: Decoding) -> Picture:
    """Returns the picture in the content of a file; of an animation, its first frame.

    The EXIF orientation is applied. 16-bit grayscale pictures are scaled to 8 bits; Pillow itself
    reduces 16-bit color pictures.
    Raises `ValueError` for content that is not a picture, is damaged or cannot be used.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    _ignore_warnings()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            animated = getattr(picture, "n_frames", 1) > 1
            picture.load()
            upright = ImageOps.exif_transpose(picture)
        upright.format = picture.format
        opaque, transparent = _over_background(_in_8_bits(upright), how.background)
        enlarged = how.size is not None and min(opaque.size) < how.size
        if how.size is not None:
            opaque = ImageOps.fit(opaque, (how.size, how.size), Image.Resampling.LANCZOS)
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError("it has no format that Pillow knows") from error
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise ValueError(f"it has more than {limit:,} pixels, the limit of Pillow") from error
    except Exception as error:  # Pillow's decoders raise errors of many types.
        raise ValueError(first_line(error)) from error
    pixels = np.atleast_3d(np.asarray(opaque))
    gray = bool((pixels == pixels[..., :1]).all())
    if how.channels == 1 and not gray:
        pixels = np.atleast_3d(np.asarray(opaque.convert("L")))
    elif how.channels == 3:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    elif gray:
        pixels = pixels[..., :1]
    return Picture(pixels, gray, transparent, animated, enlarged)


@functools.cache
def _ignore_warnings() -> None:
    """Ignores Pillow's warnings about damaged metadata and large pictures."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _in_8_bits(picture):
    """Returns a picture with 8 bits for each channel. Raises `ValueError` for 32-bit pixels."""
    from PIL import Image

    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        values = np.asarray(picture).astype(np.uint32)
        gray = ((values * 255 + 32767) // 65535).astype(np.uint8)
        if (clear := picture.info.get("transparency")) is None:
            return Image.fromarray(gray)
        alpha = np.where(values == clear, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([gray, alpha], axis=-1), "LA")
    if picture.mode in ("I", "F"):
        kind = "integers of 32 bits" if picture.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}: save it with 8 or 16 bits for each channel")
    return picture


def _over_background(picture, background: str) -> tuple:
    """Returns a picture on a background, in mode L or RGB, and whether it was transparent."""
    from PIL import Image

    if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        layer = picture.convert("RGBA")
        below = Image.new("RGBA", picture.size, background)
        transparent = layer.getextrema()[3][0] < 255
        return Image.alpha_composite(below, layer).convert("RGB"), transparent
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB"), False
