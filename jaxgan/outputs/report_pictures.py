"""Pictures of a run as data URIs: samples over training, and samples between latents."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import RunError, UsageError
from jaxgan.keys import key_of_seed
from jaxgan.runs import plots
from jaxgan.runs.description import Description
from jaxgan.runs.generators import Generator, load_generator

MOST_BYTES = 128 * 1024
"""The size of a file beyond which a picture is embedded as a smaller copy."""
MOST_PIXELS = 800
"""The longer side of such a copy."""
ROWS, COLUMNS = 4, 9
"""Pairs of latents, and samples from one latent of a pair to the other one."""


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
    return _to_picture(plots.grid(interpolate(generator, ROWS, COLUMNS), COLUMNS))


def interpolate(generator: Generator, rows: int, columns: int) -> np.ndarray:
    """Returns images `[rows * columns, h, w, c]` of latents between `rows` random pairs.

    The latents of a row are on an arc from one latent to the other one (Shoemake 1985). Of a
    conditional GAN, each row has the label of its number.
    """
    pairs = generator.latents(key_of_seed(0), 2 * rows).reshape(rows, 2, -1)
    fractions = jnp.linspace(0, 1, columns)
    latents = jax.vmap(lambda pair: jax.vmap(lambda t: _slerp(*pair, t))(fractions))(pairs)
    labels = None
    if generator.num_classes is not None:
        labels = np.repeat(np.arange(rows) % generator.num_classes, columns)
    return np.asarray(generator.decode(latents.reshape(rows * columns, -1), labels))


def _slerp(first: jax.Array, last: jax.Array, fraction: jax.Array) -> jax.Array:
    cosine = first @ last / (jnp.linalg.norm(first) * jnp.linalg.norm(last))
    angle = jnp.arccos(jnp.clip(cosine, -1 + 1e-6, 1 - 1e-6))
    weights = jnp.sin((1 - fraction) * angle), jnp.sin(fraction * angle)
    return (weights[0] * first + weights[1] * last) / jnp.sin(angle)


def _to_picture(sheet: np.ndarray) -> Picture:
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(sheet)
    image.save(file, "PNG")
    return Picture(_uri(file.getvalue(), "png"), *image.size)


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
