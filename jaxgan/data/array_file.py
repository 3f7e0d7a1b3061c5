"""Arrays in .npy, .npz and safetensors files, from which any rows can be read.

Rows are read by system calls, not through a memory map: a disk that fails raises an error instead
of ending the process, and an array that is larger than the memory needs no address space.
"""

import contextlib
import hashlib
import json
import os
import struct
import zipfile
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxgan.errors import RunError, UsageError, first_line

BLOCK = 2**24
"""The number of bytes that are read at a time when a whole array is read."""
BLOCKS_SHOWN = 64
"""Reading at least this many blocks shows a progress bar."""


class ArrayFile:
    """An array `[n, ...]` in a file. Indexing it with an array of indices reads these rows.

    offset: the position in the file of the first row. Rows are contiguous, in C order.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int):
        self.path, self.dtype, self.shape, self.offset = path, np.dtype(dtype), tuple(shape), offset
        self._row_bytes = self.dtype.itemsize * prod(self.shape[1:])
        self.stamp = _stamp(os.stat(path))
        self._descriptor: int | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the array in bytes."""
        return len(self) * self._row_bytes

    def reshape(self, shape: tuple[int, ...]) -> "ArrayFile":
        """Returns the array with another shape `[n, ...]` of the same size."""
        return ArrayFile(self.path, self.dtype, shape, self.offset)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Returns the rows `[k, ...]` at indices `[k]`.

        Raises `RunError` if the file cannot be read or has changed.
        """
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        into = memoryview(rows.reshape(-1).view(np.uint8))
        size = self._row_bytes
        for i, index in enumerate(np.asarray(indices).tolist()):
            into[i * size : (i + 1) * size] = self._read(index * size, size)
        self._check_unchanged()
        return rows

    def read(self) -> np.ndarray:
        """Returns the whole array. Raises `RunError` as indexing does."""
        array = np.empty(self.shape, self.dtype)
        into, start = memoryview(array.reshape(-1).view(np.uint8)), 0
        for block in self.blocks():
            into[start : start + len(block)] = block
            start += len(block)
        return array

    def blocks(self) -> Iterator[bytes]:
        """Yields the bytes of the array in order, `BLOCK` at a time. Raises `RunError`."""
        starts = range(0, self.nbytes, BLOCK)
        quiet = True if len(starts) < BLOCKS_SHOWN else None
        for start in tqdm(starts, f"reading {self.path.name}", disable=quiet, leave=False):
            yield self._read(start, min(BLOCK, self.nbytes - start))
        self._check_unchanged()

    def _read(self, start: int, size: int) -> bytes:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            data = _read_at(self._descriptor, size, self.offset + start)
        except OSError as error:
            raise RunError(f"{self.path} cannot be read ({error.strerror})") from error
        if len(data) < size:
            raise RunError(f"{self.path} has become shorter while it was in use")
        return data

    def _check_unchanged(self) -> None:
        if self._descriptor is not None and _stamp(os.fstat(self._descriptor)) != self.stamp:
            raise RunError(f"{self.path} has changed while it was in use")

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_descriptor": None}  # Another process opens the file itself.

    def __del__(self):
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)


def _stamp(about: os.stat_result) -> tuple[int, int]:
    return about.st_size, about.st_mtime_ns


def _read_at(descriptor: int, size: int, position: int) -> bytes:
    """Returns `size` bytes of a file from a position on, or fewer at its end."""
    if not hasattr(os, "pread"):  # On Windows, without threads that read the same file.
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, size)
    parts = [os.pread(descriptor, size, position)]
    while parts[-1] and (done := sum(map(len, parts))) < size:  # A system reads up to 2 GB at once.
        parts.append(os.pread(descriptor, size - done, position + done))
    return b"".join(parts) if len(parts) > 1 else parts[0]


Array = np.ndarray | ArrayFile


def open_npy(path: Path) -> Array:
    """Returns the array in a .npy file. An array in Fortran order is read into memory.

    Raises `UsageError` for a file that is of another kind, incomplete or unreadable.
    """
    with _explained(path, ".npy"), open(path, "rb") as file:
        return _open_member(path, file, 0, path.stat().st_size)


def open_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, Array], list[str]]:
    """Returns the wanted arrays in an .npz file by name, and the names of the others.

    Arrays that are compressed or in Fortran order are read into memory.
    Raises `UsageError` for a file that is of another kind, incomplete or unreadable.
    """
    arrays: dict[str, Array] = {}
    others = []
    with _explained(path, ".npz"), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name not in wanted:
                others.append(name)
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                with _naming(name), archive.open(member) as content:
                    arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
                continue
            file.seek(member.header_offset)
            # The lengths of the name and of the extra field in the member's own header.
            name_size, extra_size = struct.unpack("<26x2H", file.read(30))
            start = member.header_offset + 30 + name_size + extra_size
            with _naming(name):
                arrays[name] = _open_member(path, file, start, start + member.file_size)
    return arrays, others


def open_safetensors(path: Path) -> dict[str, ArrayFile]:
    """Returns the arrays in a safetensors file by name. Raises `OSError` and `ValueError`."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    types = {"U8": np.uint8, "I32": np.int32, "F32": np.float32}
    return {
        name: ArrayFile(
            path, types[about["dtype"]], about["shape"], 8 + size + about["data_offsets"][0]
        )
        for name, about in header.items()
        if name != "__metadata__"
    }


def _open_member(path: Path, file, start: int, end: int) -> Array:
    """Returns the array whose .npy data lie in a file between two positions."""
    file.seek(start)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read_header:
        raise ValueError("its array has named fields; save one plain array")
    shape, fortran, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save numbers, or strings by .astype(str)")
    if not shape:
        raise ValueError("it holds a single number")
    promised, there = dtype.itemsize * prod(shape), end - file.tell()
    if promised > there:
        raise ValueError(f"its header promises {promised:,} bytes, and {there:,} are there")
    if fortran and len(shape) > 1:
        file.seek(start)
        return np.ascontiguousarray(np.lib.format.read_array(file, allow_pickle=False))
    return ArrayFile(path, dtype, shape, file.tell())


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Adds the name of an array to an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"its array {name} cannot be used: {error}") from error


@contextlib.contextmanager
def _explained(path: Path, kind: str) -> Iterator[None]:
    """Turns the errors of opening a file into a `UsageError`."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # A damaged file raises errors of many types.
        if isinstance(error, OSError) and error.errno:
            raise UsageError(f"{path} cannot be read ({error.strerror})") from error
        raise UsageError(
            f"{path} is not a {kind} file, or is damaged: {first_line(error)}"
        ) from error


class ChosenRows:
    """Some rows `[k, ...]` of an array in a file. Indexing reads rows, as of an `ArrayFile`.

    indices: of the rows, `[k]`.
    """

    def __init__(self, array: ArrayFile, indices: np.ndarray):
        self.array, self.indices = array, indices
        self.dtype, self.shape = array.dtype, (len(indices), *array.shape[1:])
        self.ndim, self.nbytes = array.ndim, self.dtype.itemsize * prod(self.shape)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Returns the rows at indices `[j]` of the chosen ones. Raises `RunError`."""
        return self.array[self.indices[indices]]

    def read(self) -> np.ndarray:
        """Returns all chosen rows. Raises `RunError`."""
        return self.array[self.indices]


def fingerprint(images: Array, labels: np.ndarray | None) -> str:
    """Returns the SHA-256, in hexadecimal, of examples and labels, with their types and shapes."""
    digest = hashlib.sha256()
    for array in (images, np.zeros(0, np.int32) if labels is None else labels):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        if isinstance(array, ArrayFile):
            for block in array.blocks():
                digest.update(block)
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
