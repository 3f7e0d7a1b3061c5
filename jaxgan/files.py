"""Files that are either the old ones or the whole new ones, whenever a process ends."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxgan.errors import UsageError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to, which replaces `path` if no error was raised."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an archive for `numpy.load`, all or nothing."""
    # On a full disk, an archive that NumPy 2.1 has begun complains again when it is collected.
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(archive.getbuffer())


def read_json(path: Path) -> dict:
    """Returns the object in a file, an empty one where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict) -> None:
    """Writes a file, all or nothing."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def given_path(path: str | os.PathLike) -> Path:
    """Returns a path that a user gave, with `~` expanded.

    Raises `UsageError` where it cannot be expanded, or the locale cannot write it.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no such home directory; name the whole path") from error
    try:
        os.fsencode(expanded)
        os.path.abspath(expanded).encode("utf-8")  # As storage in C++ takes it.
    except UnicodeError as error:
        raise UsageError(
            f"{os.fspath(path)!a} is no name of a file in this locale: set LC_ALL=C.UTF-8 or "
            "PYTHONUTF8=1, or name another path"
        ) from error
    return expanded


def expand_paths(settings, *names: str) -> None:
    """Replaces paths in a frozen dataclass, which may be strings or None, by `given_path` of them.

    For its `__post_init__`. Raises `UsageError` as `given_path` does.
    """
    for name in names:
        if (path := getattr(settings, name)) is not None:
            object.__setattr__(settings, name, given_path(path))
