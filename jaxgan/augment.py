"""Differentiable augmentation of all images, real and generated, that the discriminator sees.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training". To add an
augmentation, write a function `(key, images) -> images` of images `[n, h, w, c]` in [-1, 1] and add
it to `AUGMENTATIONS`. Draw random numbers with `jaxgan.devices.draw_rows`, so that they are the
same on one device and on several.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxgan import ada
from jaxgan.devices import draw_rows
from jaxgan.errors import choose
from jaxgan.schedules import Schedule, at

Augmentation = Callable[..., jax.Array]
"""A function `(key, images, step, probability=None) -> images`, made by `make_augmentation`.

probability: with which each change of each image happens, instead of the augmentation's own.
"""

SHIFT = 1 / 8
CUT = 1 / 2
SHIFTED = ("nij,njwc->niwc", "nij,nhjc->nhic")


def _draw(draw: Callable, key: jax.Array, images: jax.Array, **settings) -> jax.Array:
    """Returns a random number for each image, `[n, 1, 1, 1]`. draw: as in `draw_rows`."""
    return draw_rows(draw, key, (len(images), 1, 1, 1), **settings)


def color(key: jax.Array, images: jax.Array) -> jax.Array:
    """Returns images with random brightness, saturation (of color images) and contrast.

    Brightness is shifted by up to 0.5; saturation is scaled by 0 to 2 and contrast by 0.5 to 1.5.
    """
    brightness_key, saturation_key, contrast_key = jax.random.split(key, 3)
    uniform = jax.random.uniform
    images = images + _draw(uniform, brightness_key, images, minval=-0.5, maxval=0.5)
    if images.shape[-1] > 1:
        grey = images.mean(axis=-1, keepdims=True)
        images = grey + _draw(uniform, saturation_key, images, maxval=2.0) * (images - grey)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    factor = _draw(uniform, contrast_key, images, minval=0.5, maxval=1.5)
    return mean + factor * (images - mean)


def translation(key: jax.Array, images: jax.Array, fill: float = 0.0) -> jax.Array:
    """Returns images shifted by up to 1/8 of their height and width.

    fill: value of the pixels beyond the border, by default gray, as in the authors' code.
    """
    images = images - fill
    for axis, sums, axis_key in zip((1, 2), SHIFTED, jax.random.split(key), strict=True):
        size = images.shape[axis]
        reach = int(size * SHIFT + 0.5)
        shift = _draw(jax.random.randint, axis_key, images, minval=-reach, maxval=reach + 1)
        source = jnp.arange(size)[:, None] - shift[:, :, 0]
        # A product with a matrix of ones and zeros, because its derivatives need no scatter.
        places = (source == jnp.arange(size)).astype(images.dtype)
        images = jnp.einsum(sums, places, images, precision="highest")
    return images + fill


def cutout(key: jax.Array, images: jax.Array) -> jax.Array:
    """Returns images with a rectangle of half their height and width set to gray (0).

    Its center is anywhere in the image, so a part of it may lie outside.
    """
    covered = True
    for axis, axis_key in zip((1, 2), jax.random.split(key), strict=True):
        size = images.shape[axis]
        length = int(size * CUT + 0.5)
        last = size + (1 - length % 2)
        middle = _draw(jax.random.randint, axis_key, images, minval=0, maxval=last)
        shape = [1, 1, 1, 1]
        shape[axis] = size
        offset = jnp.arange(size).reshape(shape) - (middle - length // 2)
        covered &= (offset >= 0) & (offset < length)
    return jnp.where(covered, 0.0, images)


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Returns images of which a random half is mirrored, left to right."""
    return jnp.where(_draw(jax.random.uniform, key, images) < 0.5, images[:, :, ::-1], images)


AUGMENTATIONS = {"flip": flip, "color": color, "translation": translation, "cutout": cutout}
OF_ADA = {"ada_geometry": ada.geometry, "ada_color": ada.colors}
"""Augmentations that consist of several changes, functions `(key, images, probability)`."""


def make_augmentation(names: Sequence[str], probability: float | Schedule = 1.0) -> Augmentation:
    """Returns the composition of named augmentations, applied in order.

    probability: with which each of them is applied to each image, a number or a schedule of the
    step, as in ADA (Karras et al. 2020, "Training GANs with limited data") with a fixed schedule.
    Raises `UsageError` for unknown names.
    """
    for name in names:
        choose("augmentation", AUGMENTATIONS | OF_ADA, name)
    always = isinstance(probability, int | float) and probability >= 1

    def augment(key: jax.Array, images: jax.Array, step: jax.Array, given=None) -> jax.Array:
        share = at(probability, step) if given is None else given
        for own_key, name in zip(jax.random.split(key, len(names)), names, strict=True):
            if name in OF_ADA:
                images = OF_ADA[name](own_key, images, share)
                continue
            changed = AUGMENTATIONS[name](own_key, images)
            if not always or given is not None:
                draw_key = jax.random.fold_in(own_key, 1)
                drawn = _draw(jax.random.uniform, draw_key, images) < share
                changed = jnp.where(drawn, changed, images)
            images = changed
        return images

    return augment


def add_noise(deviation: float | Schedule) -> Augmentation:
    """Returns the augmentation that adds Gaussian noise (Sonderby et al. 2017, "Amortised MAP").

    deviation: standard deviation of the noise, a number or a schedule of the step.
    """

    def augment(key: jax.Array, images: jax.Array, step: jax.Array, given=None) -> jax.Array:
        del given
        noise = draw_rows(jax.random.normal, key, images.shape, dtype=images.dtype)
        return images + at(deviation, step) * noise

    return augment


def in_turn(*augmentations: Augmentation) -> Augmentation:
    """Returns the composition of augmentations, with a random key of its own for each."""
    if len(augmentations) == 1:
        return augmentations[0]

    def augment(key: jax.Array, images: jax.Array, step: jax.Array, given=None) -> jax.Array:
        keys = jax.random.split(key, len(augmentations))
        for own_key, change in zip(keys, augmentations, strict=True):
            images = change(own_key, images, step, given)
        return images

    return augment


def rotate(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Returns square images `[n, s, s, c]`, each rotated by `turns` `[n]` quarter turns."""
    ways = jnp.stack([jnp.rot90(images, turn, axes=(1, 2)) for turn in range(4)])
    return ways[turns, jnp.arange(len(images))]
