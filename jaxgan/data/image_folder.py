"""Folders of pictures: their files and classes."""

import collections
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data.pictures import known_suffixes
from jaxgan.errors import RunError, UsageError

HIDDEN_ENTRY, EMPTY_FOLDER = "hidden entry", "folder without pictures"
HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""Names of files and folders that are hidden, in addition to names that begin with a dot."""


class Folder(NamedTuple):
    """The pictures in a folder.

    files: their files. labels: int32 `[n]`, or None if there are no subfolders. class_names: the
    names of the subfolders, in natural order. remarks: what was ignored, for the user.
    """

    files: "Files"
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    remarks: tuple[str, ...]


class Files:
    """Files below a folder, as encoded pictures.

    names: their paths, relative to the folder. sizes, times: int64 `[n]`, size in bytes and time of
    modification in nanoseconds; -1 for a file that cannot be found.
    """

    def __init__(self, root: Path, names: list[str]):
        self.root, self.names = root, names
        stamps = [_stamp(root / name) for name in names]
        self.sizes, self.times = np.array(stamps, np.int64).reshape(-1, 2).T

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Returns the path of a file."""
        return str(self.root / self.names[i])

    def read(self, i: int) -> bytes:
        """Returns the content of a file. Raises `OSError`, and `RunError` if it has changed."""
        with open(self.root / self.names[i], "rb") as file:
            content, about = file.read(), os.fstat(file.fileno())
        if (about.st_size, about.st_mtime_ns) != (self.sizes[i], self.times[i]):
            raise RunError(f"{self.name(i)} has changed while it was in use")
        return content

    def listing(self) -> str:
        """Returns a digest of the folder's path and of the files' names, sizes and times."""
        digest = hashlib.sha256(f"{self.root.resolve()}\n".encode("utf-8", "surrogateescape"))
        for name, size, time in zip(self.names, self.sizes, self.times, strict=True):
            digest.update(f"{name}\n{size} {time}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def list_folder(path: Path) -> Folder:
    """Returns the pictures in a folder and in its subfolders.

    If the pictures are in subfolders, each of these is a class of all pictures at any depth in it.
    Hidden files and folders are ignored, and so are files that are not pictures.
    Raises `UsageError` for a folder without pictures, or with pictures both in subfolders and
    outside of them.
    """
    suffixes, seen = known_suffixes(), {os.path.realpath(path)}
    passed = collections.Counter()
    names = sorted(_walk(path, "", suffixes, passed, seen), key=natural)
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        raise UsageError(
            f"--data-file {path} has {len(names) - len(loose):,} pictures in subfolders and "
            f"{len(loose):,} outside of them: each subfolder is a class, so move the other "
            "pictures into one, or all into one folder"
        )
    if not names:
        raise UsageError(f"--data-file {path} has no pictures, such as .png or .jpg files")
    remarks = _remark(passed)
    if loose:
        return Folder(Files(path, names), None, (), remarks)
    classes = [name.partition("/")[0] for name in names]
    class_names = tuple(dict.fromkeys(classes))
    numbers = {name: k for k, name in enumerate(class_names)}
    labels = np.array([numbers[name] for name in classes], np.int32)
    return Folder(Files(path, names), labels, class_names, (*remarks, *_remark_depth(path, names)))


def natural(name: str) -> list:
    """Returns a key that sorts names in natural order, where 2 comes before 10."""
    parts = (re.split(r"(\d+)", part.casefold()) for part in name.split("/"))
    numbers = [[int(p) if p.isdecimal() else p for p in part] for part in parts]
    return [*numbers, [name]]  # Names that differ only in case also have an order.


def _walk(root: Path, below: str, suffixes: set, passed, seen: set) -> Iterator[str]:
    """Yields the paths of the pictures below a folder, and counts what is ignored in `passed`.

    seen: the folders that were visited; none is visited twice, so that links cannot form a loop.
    """
    found = False
    # A folder comes before the links to it, and neither depends on the order of the system.
    for entry in sorted(os.scandir(root / below), key=lambda e: (e.is_symlink(), e.name)):
        name = f"{below}/{entry.name}" if below else entry.name
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith(".") or entry.name in HIDDEN:
            passed[HIDDEN_ENTRY] += 1
        elif entry.is_dir():
            if (place := os.path.realpath(entry.path)) not in seen:
                seen.add(place)
                inner = list(_walk(root, name, suffixes, passed, seen))
                found = found or bool(inner)
                yield from inner
        elif suffix in suffixes and (entry.is_file() or not os.path.exists(entry.path)):
            found = True
            yield name
        else:
            passed[suffix or "without suffix"] += 1
    if below and not found:
        passed[EMPTY_FOLDER] += 1


def _remark(passed: collections.Counter) -> tuple[str, ...]:
    """Returns a remark on what was ignored, if anything was."""
    parts = []
    for what in (HIDDEN_ENTRY, EMPTY_FOLDER):
        if count := passed.pop(what, 0):
            parts.append(f"{count:,} {what if count == 1 else _plural(what)}")
    if count := sum(passed.values()):
        kinds = ", ".join(f"{number:,} {suffix}" for suffix, number in passed.most_common(5))
        files = "file that is no picture" if count == 1 else "files that are no pictures"
        parts.append(f"{count:,} {files} ({kinds})")
    return (f"passed over {' and '.join(parts)}",) if parts else ()


def _plural(what: str) -> str:
    return what.replace("entry", "entries").replace("folder", "folders")


def _remark_depth(path: Path, names: list[str]) -> tuple[str, ...]:
    """Returns a remark if there is only one class, and it has several folders of pictures."""
    inner = {name.split("/")[1] for name in names if name.count("/") > 1}
    (first, *others) = dict.fromkeys(name.partition("/")[0] for name in names)
    if others or len(inner) < 2:
        return ()
    return (
        f"there is one class, {first}: to use the {len(inner)} folders in it as classes, give "
        f"--data-file {path / first}",
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        about = os.stat(path)
    except OSError:
        return -1, -1
    return about.st_size, about.st_mtime_ns
