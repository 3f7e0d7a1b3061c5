"""Arrays on disk, decoded once and mapped afterwards."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np

from jaxgan.errors import RunError


def fingerprint(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns the SHA-256 of the arrays, their types and shapes."""
    digest = hashlib.sha256()
    for array in (images, labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def user_directory() -> Path:
    """Returns the user's cache directory for jaxgan (`XDG_CACHE_HOME`, else `~/.cache`).

    For a user without a home it is a folder of their own among the temporary files.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "jaxgan"
    try:
        return Path.home() / ".cache" / "jaxgan"
    except RuntimeError:
        return _temporary_directory()


@functools.cache
def _temporary_directory() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    directory = Path(tempfile.gettempdir()) / f"jaxgan-{user}"
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    about = directory.lstat()
    # Compiled programs are kept there: nobody else may have made it, or write to it.
    if stat.S_ISDIR(about.st_mode) and about.st_uid == user and not about.st_mode & 0o022:
        return directory
    return Path(tempfile.mkdtemp(prefix="jaxgan-"))


def load(directory: Path) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Returns images, labels (both mapped) and their fingerprint, None where none are stored.

    Raises `RunError` where they are damaged.
    """
    if not directory.is_dir():
        return None
    damaged = RunError(f"the cached arrays in {directory} are damaged: delete that folder")
    try:
        images, labels = (
            np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("images", "labels")
        )
        expected = json.loads((directory / "fingerprint.json").read_text(encoding="utf-8"))[
            "sha256"
        ]
    except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError) as error:
        raise damaged from error
    if fingerprint(images, labels) != expected:
        raise damaged
    return images, labels, expected


def save(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes the arrays, all or nothing. Raises `OSError` where the disk does not take them."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    try:
        np.save(temporary / "images.npy", images, allow_pickle=False)
        np.save(temporary / "labels.npy", labels, allow_pickle=False)
        digest = json.dumps({"sha256": fingerprint(images, labels)})
        (temporary / "fingerprint.json").write_text(digest, encoding="utf-8")
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # Another process was first: its arrays are the same.
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
