"""Pictures of a run as data URIs: samples over training, and samples between latents."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.errors import RunError, UsageError
from jaxgan.keys import key_of_seed
from jaxgan.outputs.interpolation import Paths, strip
from jaxgan.runs import plots
from jaxgan.runs.description import Description
from jaxgan.runs.generators import load_generator

MOST_BYTES = 128 * 1024
"""The size of a file beyond which a picture is embedded as a smaller copy."""
MOST_PIXELS = 800
"""The longer side of such a copy."""
PATHS = Paths(count=4, frames=9)
"""The samples between latents."""


class Picture(NamedTuple):
    """A picture. uri: its content. copied: whether it is a smaller copy of a file."""

    uri: str
    width: int
    height: int
    copied: bool = False


def read_frames(run: Path, most: int) -> dict[int, Picture]:
    """Returns pictures of samples by step, at most `most`, evenly spaced, and no damaged ones."""
    paths = plots.choose_frames(plots.list_samples(run), most)
    frames = {int(path.stem): embed(path) for path in paths}
    return {step: picture for step, picture in frames.items() if picture is not None}


def embed(path: Path) -> Picture | None:
    """Returns a PNG file as a data URI, None for a damaged one; a large one as a smaller JPEG."""
    from PIL import Image

    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            if len(content) <= MOST_BYTES:
                return Picture(_uri(content, "png"), *picture.size)
            copy = picture.convert("L" if picture.mode == "L" else "RGB")
    except (OSError, SyntaxError, ValueError):  # Pillow raises all of them.
        return None
    copy.thumbnail((MOST_PIXELS, MOST_PIXELS))
    file = io.BytesIO()
    copy.save(file, "JPEG", quality=85)
    return Picture(_uri(file.getvalue(), "jpeg"), *copy.size, copied=True)


def draw_interpolation(run: Path, about: Description) -> Picture | str | None:
    """Returns samples between latents of a run's generator, in rows.

    For data that are no images it returns None and, if there is no generator, the reason.
    """
    if not (about.dataset.bounded and len(about.dataset.shape) == 3):
        return None
    try:
        generator = load_generator(run)
    except (RunError, UsageError) as error:
        return str(error)
    return _to_picture(strip(generator, key_of_seed(0), PATHS))


def _to_picture(sheet: np.ndarray) -> Picture:
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(sheet)
    image.save(file, "PNG")
    return Picture(_uri(file.getvalue(), "png"), *image.size)


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
