"""Paths between latents, and between the classes of a conditional GAN."""

import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import UsageError
from jaxgan.outputs.samples import MOST_IN_PICTURE, decode_in_chunks
from jaxgan.runs import plots
from jaxgan.runs.class_axes import class_axes
from jaxgan.runs.generators import Generator

SMALLEST_SINE = 1e-4
"""Below it, vectors count as parallel, and the great circle through them is not determined."""


class Paths(NamedTuple):
    """Which paths to draw.

    count: their number. frames: the points of a path from one end to the next, with both ends.
    label: the class of all samples of a conditional GAN; None for one class for each path, in turn.
    classes: labels, for paths from each class to the next with a fixed latent; () for paths between
    latents.
    """

    count: int = 8
    frames: int = 12
    label: int | None = None
    classes: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """The number of samples of a path."""
        return max(1, len(self.classes) - 1) * (self.frames - 1) + 1


DEFAULTS = Paths()


def slerp(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
    """Returns points `[..., k]` on the arcs from a (t = 0) to b (t = 1), both `[..., k]`.

    Spherical linear interpolation (Shoemake 1985; for latents, White 2016, arXiv:1609.04468). Ends
    of the same norm give points of that norm, which samples of N(0, 1) nearly have too; a straight
    line would pass closer to zero. Parallel ends are interpolated linearly.
    t: `[...]`; it broadcasts with the axes of the points.
    """
    t = jnp.asarray(t)[..., None]
    length = lambda x: jnp.linalg.norm(x, axis=-1, keepdims=True)
    unit = lambda x: x / jnp.maximum(length(x), 1e-12)
    # Unlike the arc cosine of the dot product, this is accurate for small angles too.
    angle = 2 * jnp.arctan2(length(unit(a) - unit(b)), length(unit(a) + unit(b)))
    sine = jnp.sin(angle)
    parallel = sine < SMALLEST_SINE
    sine = jnp.where(parallel, 1, sine)
    first = jnp.where(parallel, 1 - t, jnp.sin((1 - t) * angle) / sine)
    second = jnp.where(parallel, t, jnp.sin(t * angle) / sine)
    return first * a + second * b


def interpolate(generator: Generator, key: jax.Array, paths: Paths = DEFAULTS) -> np.ndarray:
    """Returns the samples along paths, `[paths.count, paths.length, ...]`.

    The latents are `generator.latents(key, n)`. Between latents, path i goes from latent i to the
    next one, and the last path back to the first latent. Between classes, path i has latent i.
    Raises `UsageError` for paths between classes of a GAN that is not conditional.
    """
    count, length = paths.count, paths.length
    latents, labels = generator.latents(key, max(count, 2)), None
    if paths.classes:
        weights = path_weights(paths.classes, paths.frames, generator.num_classes or 0)
        first, generator = generator.num_classes, with_mixed_classes(generator, weights)
        points = jnp.repeat(latents[:count, None], length, axis=1)
        labels = np.tile(first + np.arange(length), count)
    else:
        t = jnp.linspace(0, 1, paths.frames)
        points = slerp(latents[:, None], jnp.roll(latents, -1, axis=0)[:, None], t)[:count]
        if generator.num_classes is not None:
            own = np.arange(count) % generator.num_classes
            labels = np.repeat(own if paths.label is None else np.full(count, paths.label), length)
    samples = decode_in_chunks(generator, points.reshape(-1, points.shape[-1]), labels)
    return samples.reshape(count, length, *samples.shape[1:])


def path_weights(classes: tuple[int, ...], frames: int, num_classes: int) -> np.ndarray:
    """Returns the shares `[length, num_classes]` of the classes along the path through them."""
    one_hot = np.eye(num_classes, dtype=np.float32)
    t = np.linspace(0, 1, frames, dtype=np.float32)[:-1, None]
    parts = [(1 - t) * one_hot[a] + t * one_hot[b] for a, b in itertools.pairwise(classes)]
    return np.concatenate([*parts, one_hot[[classes[-1]]]])


def with_mixed_classes(generator: Generator, weights: np.ndarray) -> Generator:
    """Returns a generator with more classes, each a mixture of those that it has.

    Whatever the network keeps for each class, such as an embedding or a scale and an offset of each
    norm, is a weighted sum for the mixtures.
    weights: `[m, num_classes]`; mixture i gets the label `num_classes + i`.
    Raises `UsageError` for a GAN that is not conditional.
    """
    if generator.num_classes is None:
        raise UsageError("only a conditional GAN has classes to mix: this one knows none")
    axes = class_axes(generator.of_run.config, generator.of_run.dataset)

    def extend(path, leaf):
        place = jax.tree_util.keystr(path, simple=True, separator="/")
        axis = axes.get(f"generator/{place}")
        if axis is None:
            return leaf
        rows = np.moveaxis(np.asarray(leaf), axis, 0)
        rows = np.concatenate([rows, np.tensordot(weights, rows, 1).astype(rows.dtype)])
        return np.moveaxis(rows, 0, axis)

    total = generator.num_classes + len(weights)
    module = generator.sampler.module.clone(num_classes=total)
    return dataclasses.replace(
        generator,
        sampler=generator.sampler._replace(module=module, num_classes=total),
        variables=jax.tree.map_with_path(extend, generator.variables),
    )


def strip(generator: Generator, key: jax.Array, paths: Paths = DEFAULTS) -> np.ndarray:
    """Returns a picture with a row for each path, uint8 `[height, width]` or `[..., 3]`.

    Raises `UsageError` for samples that are not images, and as `interpolate` does.
    """
    dataset = generator.of_run.dataset
    samples = interpolate(generator, key, paths)
    images = plots.as_images(samples, len(dataset.shape), dataset.bounded)
    if images is None:
        raise UsageError(f"{dataset.name} has no images for a strip")
    return plots.grid(images.reshape(-1, *images.shape[2:]), paths.length)


def write_interpolation(
    path: Path, generator: Generator, key: jax.Array, paths: Paths
) -> list[Path]:
    """Writes a picture with a row for each path, and a GIF beside it; returns what was written.

    In the GIF all paths move at once, there and back. For samples that are not images there is no
    GIF, and the picture shows the points or the curves of each path.
    Raises `UsageError` for too many samples for a picture and as `interpolate` does, and `OSError`.
    """
    if paths.count * paths.length > MOST_IN_PICTURE:
        raise UsageError(
            f"a picture of {paths.count:,} paths with {paths.length:,} samples each is too large: "
            "choose a smaller --num or --frames"
        )
    dataset = generator.of_run.dataset
    rank, samples = len(dataset.shape), interpolate(generator, key, paths)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = plots.as_images(samples, rank, dataset.bounded)
    if images is None:
        plots.save_samples(path, samples, rank, dataset.bounded)
        return [path]
    flat = images.reshape(-1, *images.shape[2:])
    plots.save_samples(path, flat, 3, columns=paths.length)
    gif = path.with_suffix(".gif")
    plots.save_loop(gif, [plots.grid(images[:, i]) for i in range(paths.length)])
    return [path, gif]
