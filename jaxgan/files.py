"""Files that are replaced as a whole, paths that a user gives, and the user's cache."""

import contextlib
import functools
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jaxgan.errors import UsageError


@contextlib.contextmanager
def replacing(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yields a temporary path, which replaces `path` unless an error is raised.

    shared: whether other processes may write the same file at the same time.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file. An existing file is replaced as a whole. Raises `OSError`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict:
    """Returns the JSON object in a file, or an empty one if the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict) -> None:
    """Writes a JSON object. An existing file is replaced as a whole. Raises `OSError`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def given_path(path: str | os.PathLike) -> Path:
    """Returns a path given by a user, with `~` expanded.

    Raises `UsageError` if `~` cannot be expanded or the locale cannot encode the path.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{path}: this user has no home directory: write the whole path"
        ) from error
    try:
        os.fsencode(expanded)
        os.path.abspath(expanded).encode("utf-8")  # As storage in C++ takes it.
    except UnicodeError as error:
        raise UsageError(
            f"{os.fspath(path)!a} cannot be the name of a file in this locale: set LC_ALL=C.UTF-8 "
            "or PYTHONUTF8=1, or choose another path"
        ) from error
    return expanded


def expand_paths(settings, *names: str) -> None:
    """Applies `given_path` to fields of a frozen dataclass that hold a path, a string or None.

    To be called in its `__post_init__`. Raises `UsageError` as `given_path` does.
    """
    for name in names:
        if (path := getattr(settings, name)) is not None:
            object.__setattr__(settings, name, given_path(path))


def user_cache() -> Path:
    """Returns the directory of jaxgan in the user's cache, in `XDG_CACHE_HOME` or `~/.cache`.

    A user without a home directory gets one among the temporary files.
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
    # Compiled programs are kept there: no other user may own the directory or write to it.
    if stat.S_ISDIR(about.st_mode) and about.st_uid == user and not about.st_mode & 0o022:
        return directory
    return Path(tempfile.mkdtemp(prefix="jaxgan-"))
