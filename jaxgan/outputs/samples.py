"""Drawing any number of samples from a generator, and writing them to files."""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxgan.data.arrays import to_uint8
from jaxgan.errors import UsageError
from jaxgan.files import replacing
from jaxgan.keys import key_of_seed
from jaxgan.runs import plots
from jaxgan.runs.description import DatasetInfo
from jaxgan.runs.generators import Generator

CHUNK = 64
"""The number of samples that are computed at a time."""
MOST_IN_PICTURE = 10_000


class Request(NamedTuple):
    """Which samples to draw.

    count: their number. seed: of their latents. label: the class of all samples of a conditional
    GAN; None for the classes in turn. truncation: the largest absolute value in latents, None for
    no limit.
    """

    count: int
    seed: int = 0
    label: int | None = None
    truncation: float | None = None

    def labels(self, num_classes: int | None) -> np.ndarray | None:
        """Returns the classes `[count]` of the samples, None if the GAN is not conditional."""
        if num_classes is None:
            return None
        every = np.arange(self.count) % num_classes
        return every if self.label is None else np.full(self.count, self.label)


def draw(generator: Generator, request: Request) -> Iterator[np.ndarray]:
    """Yields samples `[n, ...]`, at most `CHUNK` at a time, in the units of the data.

    Sample i depends on i and on the settings of the request other than `count`. The first `CHUNK`
    samples have the latents `generator.latents(key_of_seed(seed), CHUNK)`.
    """
    decode = compile_decode(generator)
    key, labels = key_of_seed(request.seed), request.labels(generator.num_classes)
    for first in range(0, request.count, CHUNK):
        own = key if first == 0 else jax.random.fold_in(key, first)
        inputs = [generator.latents(own, CHUNK, request.truncation)]
        if labels is not None:
            inputs.append(np.resize(labels[first : first + CHUNK], CHUNK))
        yield np.asarray(decode(*inputs))[: request.count - first]


def compile_decode(generator: Generator) -> Callable:
    """Returns `generator.decode`, compiled once for each number of latents."""
    decode = jax.jit(
        lambda variables, *inputs: dataclasses.replace(generator, variables=variables).decode(
            *inputs
        )
    )
    return partial(decode, generator.variables)


def decode_in_chunks(generator: Generator, latents: jax.Array, labels=None) -> np.ndarray:
    """Returns the samples `[n, ...]` of latents `[n, k]`, of which `CHUNK` are decoded at a time.

    labels: `[n]` for a conditional GAN.
    """
    decode, parts = compile_decode(generator), []
    for first in range(0, len(latents), CHUNK):
        chosen = np.minimum(np.arange(first, first + CHUNK), len(latents) - 1)
        inputs = [np.asarray(each)[chosen] for each in (latents, labels) if each is not None]
        parts.append(np.asarray(decode(*inputs))[: len(latents) - first])
    return np.concatenate(parts)


def write_samples(path: Path, generator: Generator, request: Request) -> None:
    """Writes samples to a path, whose name says how.

    `.png`: one picture of all samples. `.npy`: an array `[count, ...]`, uint8 for images, else
    float32 in the units of the data. `.npz`: the same as "images", or "values", and "labels" if the
    GAN is conditional. Without a suffix: a folder of pictures, in subfolders by class if the GAN is
    conditional. An existing file is replaced as a whole. Only few samples are in memory at a time,
    except for a picture of all.
    Raises `UsageError` for a path that cannot be written in this way, and `OSError`.
    """
    writers = {
        ".png": _write_picture,
        ".npy": _write_array,
        ".npz": _write_archive,
        "": _write_folder,
    }
    writer = _write_folder if path.is_dir() else writers.get(path.suffix.lower())
    if writer is None:
        raise UsageError(f"--out {path} must end in .png, .npy or .npz, or be a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer(path, generator, request)


def find_class(
    dataset: DatasetInfo, num_classes: int | None, name: str | None, flag: str = "--class"
) -> int | None:
    """Returns the label of a class, given as a number or by its name; None for None.

    num_classes: of the GAN. flag: the one that gives the class. Raises `UsageError` for a class
    that the GAN does not have.
    """
    if name is None:
        return None
    if num_classes is None:
        raise UsageError(f"{flag} is for conditional GANs: this one knows no classes")
    if name in dataset.class_names:
        return dataset.class_names.index(name)
    if name.isdecimal() and int(name) < num_classes:
        return int(name)
    names = ", ".join(dataset.class_names[:20]) + (", ..." if len(dataset.class_names) > 20 else "")
    known = f", or one of {names}" if names else ""
    raise UsageError(
        f"{flag} {name} is not a class: give a number from 0 to {num_classes - 1}{known}"
    )


def _write_picture(path: Path, generator: Generator, request: Request) -> None:
    if request.count > MOST_IN_PICTURE:
        raise UsageError(
            f"a picture of {request.count:,} samples is too large: write an array, as by --out "
            "samples.npy, or a folder"
        )
    dataset = generator.of_run.dataset
    samples = np.concatenate(list(draw(generator, request)))
    columns = generator.num_classes if request.label is None else None
    plots.save_samples(path, samples, len(dataset.shape), dataset.bounded, columns)


def _write_array(path: Path, generator: Generator, request: Request) -> None:
    dataset = generator.of_run.dataset
    dtype, shape = np.uint8 if dataset.bounded else np.float32, (request.count, *dataset.shape)
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in draw(generator, request):
            file.write(np.asarray(to_uint8(part) if dataset.bounded else part, dtype).tobytes())


def _write_archive(path: Path, generator: Generator, request: Request) -> None:
    labels = request.labels(generator.num_classes)
    name = "images" if generator.of_run.dataset.bounded else "values"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, replacing(path) as temporary:
        samples = Path(folder) / "samples.npy"
        _write_array(samples, generator, request)
        arrays = {name: np.load(samples, mmap_mode="r")}
        if labels is not None:
            arrays["labels"] = labels
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)


def _write_folder(path: Path, generator: Generator, request: Request) -> None:
    from PIL import Image

    dataset, labels = generator.of_run.dataset, request.labels(generator.num_classes)
    if not (dataset.bounded and len(dataset.shape) == 3):
        raise UsageError(f"{dataset.name} has no images to put into a folder: choose .npy or .npz")
    if path.is_dir() and any(path.iterdir()):
        raise UsageError(f"the folder {path} is not empty: choose another --out")
    names = _folder_names(dataset.class_names, generator.num_classes or 0)
    temporary, number = path.with_name(f"{path.name}.tmp"), 0
    shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, temporary, ignore_errors=True)
        for part in draw(generator, request):
            for image in to_uint8(part):
                folder = temporary if labels is None else temporary / names[labels[number]]
                folder.mkdir(parents=True, exist_ok=True)
                pixels = image[..., 0] if image.shape[-1] == 1 else image
                Image.fromarray(pixels).save(folder / f"{number:09d}.png")
                number += 1
        temporary.replace(path)


def _folder_names(class_names: tuple[str, ...], num_classes: int) -> list[str]:
    """Returns the names of the classes, or their numbers if those cannot be names of folders."""
    if class_names and all(name == Path(name).name and name.isprintable() for name in class_names):
        return list(class_names)
    return [f"{label:03d}" for label in range(num_classes)]
