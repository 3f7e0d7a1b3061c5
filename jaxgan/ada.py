"""The augmentations of ADA, differentiable any number of times.

Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B: each
image gets a geometric transformation and one of its colors. Both are products of elementary ones,
which happen independently with the same probability.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.devices import draw_rows

SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
"""The low-pass filter of the wavelet sym6, with which images are resampled."""
EDGE = len(SYM6) // 4
"""Pixels around the result that its filter reads."""
SHIFT = 0.125
"""Largest shift by whole pixels, and standard deviation of other shifts, relative to the size."""
SCALE = 0.2
"""Standard deviation of the binary logarithm of scales."""
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0
"""Standard deviations: of the brightness, of binary logarithms of the contrast and saturation."""
GRAY = np.ones(3) / np.sqrt(3)
"""The direction of gray in the space of colors."""


class Draws:
    """Random numbers `[n]` for images, each from the next key.

    key: of all numbers. count: of images. probability: with which `choose` keeps a number.
    """

    def __init__(self, key: jax.Array, count: int, probability: jax.Array | float):
        self.key, self.count, self.probability = key, count, probability

    def draw(self, how: Callable, **settings) -> jax.Array:
        """Returns numbers `[n]` of a distribution such as `jax.random.normal`."""
        self.key, own = jax.random.split(self.key)
        return draw_rows(how, own, (self.count,), **settings)

    def choose(self, values: jax.Array, others: float, probability=None) -> jax.Array:
        """Returns `values`, each with the probability, and else `others`."""
        if probability is None:
            probability = self.probability
        return jnp.where(self.draw(jax.random.uniform) < probability, values, others)

    def normal(self, deviation: float) -> jax.Array:
        """Returns numbers from N(0, deviation^2), or 0."""
        return self.choose(deviation * self.draw(jax.random.normal), 0.0)

    def integer(self, below: int) -> jax.Array:
        """Returns uniform integers from 0 to below - 1, or 0."""
        return self.choose(self.draw(jax.random.randint, minval=0, maxval=below), 0)

    def angle(self, probability=None) -> jax.Array:
        """Returns uniform angles, or 0."""
        angles = self.draw(jax.random.uniform, minval=-np.pi, maxval=np.pi)
        return self.choose(angles, 0.0, probability)


def geometry(key: jax.Array, images: jax.Array, probability: jax.Array | float) -> jax.Array:
    """Returns images `[n, h, w, c]`, mirrored, rotated, shifted and scaled at random.

    Beyond their borders, images are continued by reflection.
    """
    n, height, width, _ = images.shape
    transforms = draw_transforms(Draws(key, n, probability), height, width)
    return warp(images, transforms)


def draw_transforms(draws: Draws, height: int, width: int) -> jax.Array:
    """Returns matrices `[n, 3, 3]` from places in the result to those in an image, `(x, y, 1)`.

    Places are in pixels from the center.
    """
    probability = draws.probability
    mirrored = 1.0 - 2.0 * draws.integer(2)
    transforms = _scaling(mirrored, jnp.ones_like(mirrored))
    transforms @= _rotation(draws.integer(4) * (np.pi / 2))
    reach = draws.draw(jax.random.uniform, minval=-SHIFT, maxval=SHIFT)
    other = draws.draw(jax.random.uniform, minval=-SHIFT, maxval=SHIFT)
    moved = draws.choose(jnp.ones_like(reach), 0.0)
    transforms @= _shift(jnp.round(moved * reach * width), jnp.round(moved * other * height))
    scale = jnp.exp2(-draws.normal(SCALE))
    transforms @= _scaling(scale, scale)
    # Two rotations, around the other scaling, of which at least one happens with the probability.
    each = 1 - jnp.sqrt(jnp.clip(1 - jnp.asarray(probability, jnp.float32), 0, 1))
    transforms @= _rotation(draws.angle(each))
    scale = jnp.exp2(-draws.normal(SCALE))
    transforms @= _scaling(scale, 1 / scale)
    transforms @= _rotation(draws.angle(each))
    shifts = [SHIFT * draws.draw(jax.random.normal) for _ in range(2)]
    moved = draws.choose(jnp.ones_like(shifts[0]), 0.0)
    return transforms @ _shift(moved * shifts[0] * width, moved * shifts[1] * height)


def warp(images: jax.Array, transforms: jax.Array) -> jax.Array:
    """Returns images `[n, h, w, c]` that at each place have what `images` have at another.

    transforms: `[n, 3, 3]`, as of `draw_transforms`. The images are continued by reflection, by
    their size minus 1 pixel on each side, and are 0 beyond. They are resampled at twice their
    resolution.
    """
    _, height, width, _ = images.shape
    rows, columns = (_reflected_and_doubled(size) for size in (height, width))
    wide = jnp.einsum("yh,xw,nhwc->nyxc", rows, columns, images, precision="highest")
    # With these filters, pixel i of n lies at pixel 2 i of 2 n at twice the resolution.
    grids = [(np.arange(2 * (s + 2 * EDGE)) + 1) / 2 - s / 2 - EDGE for s in (width, height)]
    x, y = (grid.astype(np.float32) for grid in np.meshgrid(*grids))
    x, y = (
        transforms[:, i, 0, None, None] * x
        + transforms[:, i, 1, None, None] * y
        + transforms[:, i, 2, None, None]
        for i in range(2)
    )
    x, y = 2 * x + len(columns) / 2 - 1, 2 * y + len(rows) / 2 - 1
    found = interpolate(wide, y, x)
    crops = (_halved(size) for size in (height, width))
    return jnp.einsum("yh,xw,nhwc->nyxc", *crops, found, precision="highest")


def interpolate(images: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Returns images `[n, h', w', c]`, bilinear interpolations of images at places in pixels.

    y, x: `[n, h', w']`, the rows and columns. Outside of an image, it is 0.
    In reverse mode, it can be differentiated any number of times with respect to the images, and
    not with respect to the places.
    """
    return _gather(images, y, x, images.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _gather(images: jax.Array, y: jax.Array, x: jax.Array, size: tuple[int, int]) -> jax.Array:
    n, (height, width), channels = len(images), size, images.shape[-1]
    flat, found = images.reshape(n, height * width, channels), 0.0
    top, left = jnp.floor(y), jnp.floor(x)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at = jnp.where(inside, row * width + column, 0).astype(jnp.int32).reshape(n, -1, 1)
            weight = jnp.where(inside, row_weight * column_weight, 0.0).reshape(n, -1, 1)
            found += weight * jnp.take_along_axis(flat, at, axis=1)
    return found.reshape(*y.shape, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _scatter(values: jax.Array, y: jax.Array, x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Returns images `[n, h, w, c]` of a size, the transpose of `_gather`.

    Adds windows of 2 x 2 pixels: on a CPU, this is several times faster than one pixel at a time,
    which is what the transpose of a gather of single pixels does.
    """
    height, width = size
    top, left = jnp.floor(y), jnp.floor(x)
    inside = (top >= -1) & (top < height) & (left >= -1) & (left < width)
    # Images get a border, which is cut off again, and a window outside of them a place in it.
    at = [jnp.where(inside, top + 1, height + 1), jnp.where(inside, left + 1, width + 1)]
    rows, columns = (jnp.stack([1 - part, part], axis=-1) for part in (y - top, x - left))
    windows = (rows[..., :, None] * columns[..., None, :])[..., None] * values[..., None, None, :]
    numbers = lax.ScatterDimensionNumbers((1, 2, 3), (), (0, 1))
    empty = jnp.zeros((height + 3, width + 3, values.shape[-1]), windows.dtype)
    add = lambda at, window: lax.scatter_add(empty, at, window, numbers, mode="promise_in_bounds")
    n, places = len(values), jnp.stack(at, axis=-1).astype(jnp.int32)
    images = jax.vmap(add)(places.reshape(n, -1, 2), windows.reshape(n, -1, *windows.shape[-3:]))
    return images[:, 1 : height + 1, 1 : width + 1]


def _define_transposes(function: Callable, transpose: Callable) -> None:
    function.defvjp(
        lambda values, y, x, size: (function(values, y, x, size), (y, x)),
        lambda size, places, cotangents: (transpose(cotangents, *places, size), None, None),
    )


_define_transposes(_gather, _scatter)
_define_transposes(_scatter, _gather)


def colors(key: jax.Array, images: jax.Array, probability: jax.Array | float) -> jax.Array:
    """Returns images `[n, h, w, c]`, of 1 or 3 channels, with random colors.

    Brightness and contrast change, the luma is inverted and, with 3 channels, hue and saturation
    change.
    """
    changes = draw_colors(Draws(key, len(images), probability), images.shape[-1])
    if images.shape[-1] == 1:
        changes = changes[:, :3].mean(axis=1)
        factor, offset = changes[:, :3].sum(axis=1), changes[:, 3]
        return images * factor[:, None, None, None] + offset[:, None, None, None]
    moved = jnp.einsum("nij,nhwj->nhwi", changes[:, :3, :3], images, precision="highest")
    return moved + changes[:, None, None, :3, 3]


def draw_colors(draws: Draws, channels: int) -> jax.Array:
    """Returns matrices `[n, 4, 4]` from colors to others, `(red, green, blue, 1)`."""
    onto_gray = np.zeros((4, 4), np.float32)
    onto_gray[:3, :3] = np.outer(GRAY, GRAY)
    identity = np.eye(4, dtype=np.float32)
    place = lambda values: values[:, None, None]
    brightness = draws.normal(BRIGHTNESS)
    all_colors = np.array([[1.0], [1.0], [1.0], [0.0]], np.float32) * np.eye(4)[3]
    changes = identity + place(brightness) * all_colors
    contrast = jnp.exp2(draws.normal(CONTRAST))
    without_last = np.diag([1.0, 1.0, 1.0, 0.0])
    changes = (identity + place(contrast - 1) * without_last) @ changes
    changes = (identity - 2 * place(draws.integer(2)) * onto_gray) @ changes
    if channels == 1:
        return changes
    changes = _hue_rotation(draws.angle(), onto_gray) @ changes
    saturation = jnp.exp2(draws.normal(SATURATION))
    return (onto_gray + (identity - onto_gray) * place(saturation)) @ changes


def _hue_rotation(angles: jax.Array, onto_gray: np.ndarray) -> jax.Array:
    """Returns rotations `[n, 4, 4]` around gray, by Rodrigues' formula."""
    a, b, c = GRAY
    cross = np.zeros((4, 4))
    cross[:3, :3] = [[0, -c, b], [c, 0, -a], [-b, a, 0]]
    cos, sin = (each[:, None, None] for each in (jnp.cos(angles), jnp.sin(angles)))
    last = np.diag([0.0, 0.0, 0.0, 1.0])
    return cos * np.diag([1.0, 1.0, 1.0, 0.0]) + sin * cross + (1 - cos) * onto_gray + last


def _matrix(*rows) -> jax.Array:
    """Returns matrices `[n, 3, 3]` of arrays `[n]` and numbers."""
    shape = np.broadcast_shapes(*(np.shape(each) for row in rows for each in row))
    stack = [jnp.stack([jnp.broadcast_to(each, shape) for each in row], axis=-1) for row in rows]
    return jnp.stack(stack, axis=-2).astype(jnp.float32)


def _scaling(x: jax.Array, y: jax.Array) -> jax.Array:
    return _matrix((x, 0, 0), (0, y, 0), (0, 0, 1))


def _shift(x: jax.Array, y: jax.Array) -> jax.Array:
    return _matrix((1, 0, -x), (0, 1, -y), (0, 0, 1))


def _rotation(angle: jax.Array) -> jax.Array:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))


def _reflected_and_doubled(size: int) -> np.ndarray:
    """Returns the matrix from a line of pixels to its reflections, at twice the resolution.

    The reflections add size - 1 pixels on both sides.
    """
    places = np.abs(np.arange(-(size - 1), 2 * size - 1))
    places = np.where(places < size, places, 2 * (size - 1) - places)
    reflected = np.eye(size)[places]
    length = len(reflected)
    doubled = np.zeros((2 * length, length))
    for row in range(2 * length):
        for tap, weight in enumerate(SYM6[::-1]):
            # As if zeros were inserted after every pixel, and then filtered with equal delays.
            at = row + tap - len(SYM6) // 2
            if at % 2 == 0 and 0 <= at // 2 < length:
                doubled[row, at // 2] += np.sqrt(2) * weight
    return (doubled @ reflected).astype(np.float32)


def _halved(size: int) -> np.ndarray:
    """Returns the matrix from a line at twice the resolution, with edges, to one of pixels."""
    halved = np.zeros((size, 2 * (size + 2 * EDGE)))
    for row in range(size):
        for tap, weight in enumerate(SYM6):
            at = 2 * (row + EDGE) + tap - len(SYM6) // 2 + 1
            halved[row, at] += weight / np.sqrt(2)
    return halved.astype(np.float32)
