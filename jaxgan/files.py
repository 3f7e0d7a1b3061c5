"""Files that are either the old ones or the whole new ones, whenever a process ends."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to, which replaces `path` if no error was raised."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text)


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
