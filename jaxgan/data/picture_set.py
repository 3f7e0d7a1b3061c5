"""Sets of encoded pictures: files in a folder, or records of a data set.

All pictures are decoded once before they are used, so that a run knows their number, their shape
and which of them cannot be read. The result, with the pixels if they fit in memory, is kept in the
user's cache and used again as long as the names, the sizes and the times of the files are the same.
"""

import collections
import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxgan.data.array_file import ArrayFile, open_npy
from jaxgan.data.pictures import Decoding, Picture, decode
from jaxgan.errors import RunError, UsageError
from jaxgan.files import read_json, replacing, user_cache, write_json
from jaxgan.memory import count_cores

VERSION = 1
"""The version of the decoding. Pictures that another version decoded are decoded again."""
DECODED_AT_ONCE = 256
SHOWN = 3
"""The number of pictures that a message names."""


class Encoded(Protocol):
    """Encoded pictures, in order. Worker processes get a pickled copy."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Returns the name of a picture in messages."""

    def read(self, i: int) -> bytes:
        """Returns an encoded picture. Raises `OSError`, and `RunError` for one that has changed."""


class PictureSet:
    """Pictures, uint8 `[n, h, w, c]`. Indexing with an array of indices reads and decodes these.

    encoded: all pictures. kept: the positions of those in the set, int64 `[n]`.
    """

    decodes = True
    dtype = np.dtype(np.uint8)

    def __init__(self, encoded: Encoded, kept: np.ndarray, how: Decoding, shape: Sequence[int]):
        self.encoded, self.kept, self.how = encoded, kept, how._replace(channels=shape[-1])
        self.shape = (len(kept), *shape)

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the decoded pictures in bytes."""
        return prod(self.shape)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Returns pictures, uint8 `[k, h, w, c]`, at indices `[k]`.

        Raises `RunError` for a picture that can no longer be read or has changed.
        """
        pixels = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for into, i in zip(pixels, self.kept[indices].tolist(), strict=True):
            found = _try_to_decode(self.encoded, i, self.how)
            if isinstance(found, str):
                raise RunError(f"{self.encoded.name(i)} can no longer be read ({found})")
            if found.pixels.shape != into.shape:
                raise RunError(f"{self.encoded.name(i)} has changed while it was in use")
            into[:] = found.pixels
        return pixels

    def read(self) -> np.ndarray:
        """Returns all pictures, decoded by several threads. Raises `RunError` as indexing does."""
        pixels = np.empty(self.shape, np.uint8)
        parts = np.array_split(np.arange(len(self)), -(-len(self) // DECODED_AT_ONCE))
        with ThreadPoolExecutor(count_cores()) as pool:
            start = 0
            for part in pool.map(self.__getitem__, parts):
                pixels[start : start + len(part)] = part
                start += len(part)
        return pixels


class Known(NamedTuple):
    """What is known of a set after all its pictures were decoded once.

    broken: positions of the pictures that cannot be read. shape: `[h, w, c]` of the others.
    fingerprint: the SHA-256 of their files, their labels and how they are decoded. remarks: what
    the user should know.
    """

    broken: list[int]
    shape: list[int]
    fingerprint: str
    remarks: list[str]


def open_pictures(
    encoded: Encoded,
    labels: np.ndarray | None,
    how: Decoding,
    skip_broken: bool,
    listing: str,
    most_bytes: int,
) -> tuple[PictureSet | np.ndarray | ArrayFile, Known]:
    """Returns the pictures of a set, uint8 `[n, h, w, c]`, and what is known of them.

    If they need at most `most_bytes`, they are decoded in memory or in a file of the cache. If not,
    they are decoded each time they are used, unless the cache has them.
    listing: a digest of the files that the pictures are from.
    Raises `UsageError` for pictures that cannot be read, unless they are skipped and some are left,
    and for pictures of several sizes.
    """
    wanted = f"{VERSION} {listing} {json.dumps(how)} {skip_broken}"
    base = user_cache() / "pictures" / hashlib.sha256(wanted.encode()).hexdigest()[:32]
    known, digest = _cached_known(base.with_suffix(".json"))
    if known is not None:
        shape = (len(encoded) - len(known.broken), *known.shape)
        pixels = _cached_pixels(base.with_suffix(".npy"), shape, digest)
    else:
        known, pixels = _decode_all(encoded, labels, how, skip_broken, most_bytes)
        _save(base, known, pixels)
    if pixels is None:
        kept = np.delete(np.arange(len(encoded)), known.broken)
        pixels = PictureSet(encoded, kept, how, known.shape)
        if pixels.nbytes <= most_bytes:
            pixels = pixels.read()
            _save(base, known, pixels)
    return pixels, known


def _decode_all(encoded, labels, how, skip_broken, most_bytes) -> tuple[Known, np.ndarray | None]:
    """Decodes all pictures; returns what is known and the pixels, None if there are too many."""
    broken, pixels, counts = {}, [], collections.Counter()
    sizes: dict[tuple, str] = {}
    digest = hashlib.sha256()
    for i, found, content in _each(encoded, how):
        if isinstance(found, str):
            broken[i] = f"{encoded.name(i)} ({found})"
            continue
        sizes.setdefault(found.pixels.shape[:2], encoded.name(i))
        for name in ("gray", "transparent", "animated", "enlarged"):
            counts[name] += getattr(found, name)
        digest.update(content + str(None if labels is None else labels[i]).encode())
        if pixels is not None:
            pixels.append(found.pixels)
            if len(encoded) * found.pixels.size > most_bytes:
                pixels = None
    kept = len(encoded) - len(broken)
    if broken and not (skip_broken and kept):
        raise UsageError(_describe_broken([*broken.values()], len(encoded)))
    if len(sizes) > 1:
        shown = [f"{width} x {height} ({name})" for (height, width), name in sizes.items()]
        raise UsageError(
            f"the pictures have {len(sizes):,} sizes, such as {' and '.join(shown[:2])}: give "
            "--resize N, to scale and crop them to N x N pixels"
        )
    channels = how.channels or (1 if counts["gray"] == kept else 3)
    shape = [*next(iter(sizes)), channels]
    digest.update(f"{VERSION} {shape} {how.size} {how.background}".encode())
    remarks = _remark([*broken.values()], counts, kept, how, channels)
    return Known([*broken], shape, digest.hexdigest(), remarks), _stack(pixels, shape)


def _each(encoded: Encoded, how: Decoding) -> Iterator[tuple[int, Picture | str, bytes]]:
    """Yields the position, the picture or why it cannot be read, and the digest of its file."""
    from tqdm import tqdm

    def one(i: int) -> tuple[int, Picture | str, bytes]:
        try:
            content = encoded.read(i)
        except OSError as error:
            return i, error.strerror or str(error), b""
        return i, _try_to_decode(encoded, i, how, content), hashlib.sha256(content).digest()

    starts = range(0, len(encoded), DECODED_AT_ONCE)
    bar = tqdm(total=len(encoded), desc="decoding pictures", disable=None, leave=False)
    with bar, ThreadPoolExecutor(count_cores()) as pool:
        for start in starts:
            part = range(start, min(start + DECODED_AT_ONCE, len(encoded)))
            yield from pool.map(one, part)
            bar.update(len(part))


def _try_to_decode(
    encoded: Encoded, i: int, how: Decoding, content: bytes | None = None
) -> Picture | str:
    """Returns a picture, or why it cannot be read."""
    try:
        content = encoded.read(i) if content is None else content
        return decode(content, how) if content else "the file is empty"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _stack(pixels: list[np.ndarray] | None, shape: list[int]) -> np.ndarray | None:
    """Returns pictures as one array, and frees them one by one; grayscale may become RGB."""
    if pixels is None:
        return None
    stacked = np.empty((len(pixels), *shape), np.uint8)
    for i, each in enumerate(pixels):
        stacked[i], pixels[i] = each, None
    return stacked


def _remark(broken: list[str], counts: dict, kept: int, how: Decoding, channels: int) -> list[str]:
    remarks = []
    if broken:
        remarks.append(
            f"skipped {_count(len(broken), 'picture')} that cannot be read: {_few(broken)}"
        )
    if how.channels is None and channels == 3 and counts["gray"]:
        remarks.append(
            f"{counts['gray']:,} of {_count(kept, 'picture')} are gray: all become RGB images "
            "(--channels 1 converts all to grayscale)"
        )
    if how.channels == 1 and counts["gray"] < kept:
        count = _count(kept - counts["gray"], "color picture")
        remarks.append(f"converted {count} to grayscale")
    if counts["transparent"]:
        count = _count(counts["transparent"], "transparent picture")
        remarks.append(f"put {count} over {how.background} (see --background)")
    if counts["animated"]:
        count = _count(counts["animated"], "animated picture")
        remarks.append(f"took the first frame of {count}")
    if counts["enlarged"]:
        remarks.append(f"enlarged {_count(counts['enlarged'], 'picture')} to {how.size} pixels")
    return remarks


def _describe_broken(broken: list[str], count: int) -> str:
    if len(broken) == count:
        return f"none of {_count(count, 'picture')} can be read: {_few(broken)}"
    return (
        f"{len(broken):,} of {_count(count, 'picture')} cannot be read: {_few(broken)}; repair or "
        "remove them, or give --skip-broken to go on without them"
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _cached_known(path: Path) -> tuple[Known | None, str | None]:
    """Returns what the cache says of a set, and the digest of its pixels, if they are there."""
    with contextlib.suppress(OSError, TypeError, KeyError):  # It cannot be read, or is damaged.
        about = read_json(path)
        return Known(**about["known"]), about.get("pixels")
    return None, None


def _cached_pixels(path: Path, shape: tuple[int, ...], digest: str | None) -> ArrayFile | None:
    """Returns the decoded pictures in the cache; None if they are not there, or damaged."""
    with contextlib.suppress(UsageError, RunError):
        pixels = open_npy(path)
        if (pixels.shape, pixels.dtype) == (shape, np.uint8) and _sha256(pixels) == digest:
            return pixels
    return None


def _sha256(pixels: np.ndarray | ArrayFile) -> str:
    digest = hashlib.sha256()
    for block in pixels.blocks() if isinstance(pixels, ArrayFile) else [pixels.data]:
        digest.update(block)
    return digest.hexdigest()


def _save(base: Path, known: Known, pixels: np.ndarray | None) -> None:
    """Saves what is known of a set, and its pictures. Without space, they are decoded again."""
    with contextlib.suppress(OSError):
        base.parent.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {"known": known._asdict()}
        if pixels is not None:
            path = base.with_suffix(".npy")
            with replacing(path, shared=True) as temporary, open(temporary, "wb") as file:
                np.save(file, pixels)
            about["pixels"] = _sha256(pixels)
        write_json(base.with_suffix(".json"), about)
