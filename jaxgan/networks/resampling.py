"""Resampling of images with the filter [1, 3, 3, 1], as StyleGAN2 and R3GAN do it.

Pixels outside of an image are zeros. Each function is a product with a matrix for each direction.
"""

import jax
import jax.numpy as jnp
import numpy as np

TAPS = (0.125, 0.375, 0.375, 0.125)


def upsample(x: jax.Array) -> jax.Array:
    """Returns images `[n, 2 h, 2 w, c]`, interpolated with the taps [1, 3, 3, 1] / 4.

    Zero padding makes the outermost pixels of a constant image 3/4 of the inner ones.
    """
    return _resample(x, *(_doubling(size) for size in x.shape[1:3]))


def downsample(x: jax.Array) -> jax.Array:
    """Returns images `[n, h / 2, w / 2, c]`, averaged with the taps [1, 3, 3, 1] / 8."""
    return _resample(x, *(_doubling(size // 2).T / 2 for size in x.shape[1:3]))


def blur(x: jax.Array, padding: int) -> jax.Array:
    """Returns images averaged with the taps [1, 3, 3, 1] / 8.

    padding: number of zeros beside each side; sides become longer by twice that minus 3.
    """
    return _resample(x, *(_blurring(size, padding) for size in x.shape[1:3]))


def _resample(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    return jnp.einsum("yh,xw,nhwc->nyxc", rows.astype(x.dtype), columns.astype(x.dtype), x)


def _doubling(size: int) -> np.ndarray:
    """Returns the matrix `[2 size, size]` that upsamples a line of pixels."""
    matrix = np.zeros((2 * size, size))
    for pixel in range(size):
        for offset, weight in zip(range(-1, 3), TAPS, strict=True):
            if 0 <= 2 * pixel + offset < 2 * size:
                matrix[2 * pixel + offset, pixel] = 2 * weight
    return matrix


def _blurring(size: int, padding: int) -> np.ndarray:
    """Returns the matrix `[size + 2 padding - 3, size]` that blurs a line of pixels."""
    matrix = np.zeros((size + 2 * padding - 3, size))
    for row in range(len(matrix)):
        for offset, weight in enumerate(TAPS):
            if 0 <= row + offset - padding < size:
                matrix[row, row + offset - padding] = weight
    return matrix
