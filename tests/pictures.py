"""A folder of pictures of mixed sizes, orientations, modes and formats, as people have them.

python tests/pictures.py FOLDER [COUNT]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("class 1", "class 2", "class 10")
ORIENTATION = 0x0112
"""The number of the orientation in the metadata of a camera (EXIF)."""


def draw(rng: np.random.Generator, number: int) -> Image.Image:
    """Returns a picture of random size: a disc, a square or a triangle, by its class."""
    width, height = (int(side) for side in rng.integers(24, 120, 2))
    background, color = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
    picture = Image.new("RGB", (width, height), background)
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    pen = ImageDraw.Draw(picture)
    match number % len(CLASSES):
        case 0:
            pen.ellipse(box, color)
        case 1:
            pen.rectangle(box, color)
        case _:
            pen.polygon([box[:2], box[2:], (box[0], box[3])], color)
    return picture


def save(picture: Image.Image, path: Path, kind: int) -> None:
    """Saves a picture in one of ten ways that are in use."""
    alpha = Image.new("L", picture.size, 128)
    match kind:
        case 0:
            picture.save(path.with_suffix(".png"))
        case 1:
            picture.save(path.with_suffix(".jpg"), quality=90)
        case 2:
            about = Image.Exif()
            about[ORIENTATION] = 6
            picture.save(path.with_suffix(".jfif"), "JPEG", exif=about)
        case 3:
            picture.convert("L").save(path.with_suffix(".PNG"), "PNG")
        case 4:
            picture.convert("P", palette=Image.Palette.ADAPTIVE).save(path.with_suffix(".gif"))
        case 5:
            picture.putalpha(alpha)
            picture.save(path.with_suffix(".webp"))
        case 6:
            picture.convert("CMYK").save(path.with_suffix(".jpeg"))
        case 7:
            gray = np.asarray(picture.convert("L")).astype(np.uint16) * 257
            Image.fromarray(gray).save(path.with_suffix(".tif"))
        case 8:
            other = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            picture.save(path.with_suffix(".gif"), save_all=True, append_images=[other])
        case _:
            picture.save(path.with_suffix(".bmp"))


def make(folder: Path, count: int = 1000) -> None:
    """Writes pictures in three classes, and what else is found in such folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        below = folder / CLASSES[number % len(CLASSES)]
        if number % 7 == 0:
            below = below / "more"
        below.mkdir(parents=True, exist_ok=True)
        save(draw(rng, number), below / f"{number}", number // len(CLASSES) % 10)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._0.png").write_bytes(b"\x00\x05\x16\x07")
    (folder / CLASSES[0] / "._0.png").write_bytes(b"\x00\x05\x16\x07")
    (folder / CLASSES[0] / "notes.txt").write_text("not a picture")
    (folder / ".ipynb_checkpoints").mkdir()


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
