"""The user's own images: an array on disk, or a folder of pictures."""

from pathlib import Path

import numpy as np

from jaxgan.errors import UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
CHANNELS = (1, 3)


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns images, uint8 `[n, h, w, c]`, and labels, int32 `[n]` or None.

    path: a `.npy` file, uint8 `[n, h, w]` or `[n, h, w, c]` with 1 or 3 channels, or a folder of
        pictures of one size. If it has subfolders with pictures, each of them is a class.
    Raises `UsageError` for anything else.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UsageError(f"--data-file {path} does not exist: give a .npy file or a folder")
    return check_images(_array(path), f"--data-file {path}"), None


def check_images(images: np.ndarray, what: str) -> np.ndarray:
    """Returns an array as images `[n, h, w, c]`.

    what: names the array in messages. Raises `UsageError` for another type or shape.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8:
        raise UsageError(f"{what} has type {images.dtype} and must be uint8, 0 to 255")
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in CHANNELS:
        raise UsageError(
            f"{what} has shape {images.shape} and must be [n, h, w] or [n, h, w, c] with c 1 or 3"
        )
    return images


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # A damaged file raises errors of many types.
        raise UsageError(
            f"--data-file {path} is not a .npy file, or is damaged: {error}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise UsageError(f"--data-file {path} must be a .npy file with one array")
    return array


def _folder(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    from tqdm import tqdm

    classes = sorted(child for child in path.iterdir() if child.is_dir() and _pictures(child))
    labelled = [(file, k) for k, child in enumerate(classes) for file in _pictures(child)]
    loose = [(file, None) for file in _pictures(path)]
    if labelled and loose:
        raise UsageError(
            f"--data-file {path} has pictures both in subfolders and outside of them: each "
            "subfolder is a class, so move the other pictures into one, or all into one folder"
        )
    files = labelled or loose
    if not files:
        raise UsageError(f"--data-file {path} has no pictures ({', '.join(sorted(SUFFIXES))})")
    first = _picture(files[0][0])
    images = np.empty((len(files), *first.shape), np.uint8)
    for i, (file, _) in enumerate(tqdm(files, "reading pictures", disable=None, leave=False)):
        image = _picture(file)
        if image.shape != first.shape:
            raise UsageError(
                f"{file} is {_size(image)} and {files[0][0]} is {_size(first)}: all pictures of "
                "--data-file must have one size, and be all gray or all colored"
            )
        images[i] = image
    labels = np.array([label for _, label in files], np.int32) if labelled else None
    return images, labels


def _pictures(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)


def _picture(file: Path) -> np.ndarray:
    """Returns a picture, uint8 `[h, w, 1]` if it is gray and `[h, w, 3]` otherwise."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            if picture.mode[0] in "IF":
                raise ValueError("it has more than 8 bits per channel; save it with 8")
            grey = picture.mode in ("1", "L", "LA")
            array = np.asarray(picture.convert("L" if grey else "RGB"))
    except Exception as error:  # Pillow's decoders raise errors of many types.
        raise UsageError(f"{file} cannot be read as a picture: {error}") from error
    return array[..., None] if grey else array


def _size(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width} x {height}, {'gray' if channels == 1 else 'colored'}"
