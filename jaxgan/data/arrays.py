"""Data sets of images, and conversions between uint8 pixels and numbers in [-1, 1]."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.order import check_size, epoch_indices
from jaxgan.errors import UsageError


class Batch(NamedTuple):
    """The real examples of a step: images `[size, ...]` and, if any, labels `[size]`, int32.

    A compiled step that does not use one of them does not compute it.
    """

    images: jax.Array
    labels: jax.Array | None


class Examples:
    """The methods that finite data sets share.

    A data set has the fields `name`, `fingerprint`, `labels`, `num_classes` and `class_names`, and
    a field with its examples `[num_examples, ...]`, which `examples` returns: an array on the
    device or, for a data set on disk, an object with a length, a `shape` and a `dtype` that returns
    the rows at an array of indices, such as `jaxgan.data.array_file.ArrayFile`.
    """

    @property
    def examples(self):
        """The examples as they are stored, `[num_examples, ...]`."""
        raise NotImplementedError

    def without_examples(self) -> "Examples":
        """Returns the data set without its examples and labels, for `convert` alone."""
        raise NotImplementedError

    def convert(self, rows: Batch) -> Batch:
        """Returns stored rows as networks take them, in float32."""
        raise NotImplementedError

    @property
    def on_disk(self) -> bool:
        """Whether the examples are on disk; compiled functions then cannot take the data set."""
        return not isinstance(self.examples, jax.Array | np.ndarray)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example; of an image, `(h, w, c)`."""
        return tuple(self.examples.shape[1:])

    @property
    def num_examples(self) -> int | None:
        """The number of examples."""
        return len(self.examples)

    @property
    def class_frequencies(self) -> np.ndarray | None:
        """The fraction of examples in each class, float64 `[num_classes]`; None without labels."""
        if self.labels is None:
            return None
        counts = np.bincount(np.asarray(self.labels), minlength=self.num_classes)
        return counts / counts.sum()

    def check_size(self, size: int) -> None:
        """Raises `UsageError` if the data set has too few examples for a step of `size`."""
        check_size(size, self.num_examples)

    def take(self, indices: jax.Array | np.ndarray) -> Batch:
        """Returns the rows at indices `[k]`, as they are stored, and their labels."""
        labels = None if self.labels is None else self.labels[indices].astype(np.int32)
        return Batch(self.examples[indices], labels)

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the examples of a step, float32 `[size, ...]`, and their labels.

        The steps of a run visit every example exactly once per epoch, in a new order in each epoch.
        An epoch may end within a batch; the next one begins there.
        Raises `UsageError` if a batch is larger than the data set.
        """
        indices = epoch_indices(key, step, size, self.num_examples)
        rows = self.take(np.asarray(indices) if self.on_disk else indices)
        return self.convert(jax.tree.map(jnp.asarray, rows))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Images(Examples):
    """A set of images, passed to the compiled step as an argument.

    images: uint8 `[num_images, h, w, c]`. labels: uint8 or int32 `[num_images]`, or None.
    num_classes: number of classes, larger than every label; None without labels. class_names: the
    names of the classes, empty if they are not known.
    """

    images: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    labels: jax.Array | None = None
    num_classes: int | None = dataclasses.field(default=None, metadata={"static": True})
    class_names: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})
    bounded = True

    @property
    def examples(self):
        """The images, uint8 `[num_images, h, w, c]`."""
        return self.images

    def without_examples(self) -> "Images":
        """Returns the data set without its images and labels."""
        return dataclasses.replace(self, images=None, labels=None)

    def convert(self, rows: Batch) -> Batch:
        """Returns images in [-1, 1]."""
        return Batch(to_float(rows.images), rows.labels)

    def describe(self) -> str:
        """Returns a short description of the data set."""
        classes = f" of {self.num_classes:,} classes" if self.num_classes else ""
        return f"{len(self.images):,} images {'x'.join(map(str, self.shape))}{classes}"


class PaddedImages:
    """Images on disk, `[n, size, size, c]`, padded with a black border when they are read.

    images: uint8 `[n, h, w, c]`, an object as in `Examples`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, images: Any, size: int):
        self.images, self.size = images, size
        self.shape = (len(images), size, size, images.shape[-1])
        self.decodes = getattr(images, "decodes", False)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at some indices."""
        return pad_images(self.images[indices], self.size)


def to_float(images: jax.Array) -> jax.Array:
    """Returns uint8 images as float32 in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8, rounded; values outside are clipped."""
    return np.clip(np.round((np.asarray(images) + 1) * 127.5), 0, 255).astype(np.uint8)


def pad_images(images: np.ndarray, size: int | None) -> np.ndarray:
    """Returns images `[n, size, size, c]`: images `[n, h, w, c]` padded with a black border.

    size: None for no padding. Raises `UsageError` for images larger than `size`.
    """
    if size is None:
        return images
    edges = [size - side for side in images.shape[1:3]]
    if min(edges) < 0:
        height, width = images.shape[1:3]
        raise UsageError(f"--image-size {size} is smaller than the images, {height} x {width}")
    return np.pad(images, ((0, 0), *((edge // 2, edge - edge // 2) for edge in edges), (0, 0)))
