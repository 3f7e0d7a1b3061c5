"""Arrays on disk, decoded once and mapped afterwards."""

import contextlib
import hashlib
import json
import os
import shutil
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
    """Returns the user's cache directory for jaxgan (`XDG_CACHE_HOME`, else `~/.cache`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgan"


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
        expected = json.loads((directory / "fingerprint.json").read_text())["sha256"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
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
        (temporary / "fingerprint.json").write_text(digest)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # Another process was first: its arrays are the same.
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
