"""Convolutions that are fast on every platform: one definition of the parameters, two lowerings.

GPUs and TPUs get XLA's own convolutions. XLA's for CPUs are slow, in a `scan` by an order of
magnitude, so CPUs get matrix products: of patches and the kernel or, for 3x3 kernels of stride 1,
those of Winograd's minimal filtering, which are 2.25 times fewer (Lavin and Gray 2016, "Fast
algorithms for convolutional neural networks").

A convolution, its transpose and the gradient of its kernel are bilinear, and the derivatives of
each are the other two. So the three are defined here together and are differentiable in reverse
mode as often as one likes.
"""

import functools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NARROW = 32
"""With fewer channels than this, on either side, patches are cheaper than filtering."""


class Geometry(NamedTuple):
    """What is static of a convolution: strides and padding `((top, bottom), (left, right))`."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    groups: int = 1,
) -> jax.Array:
    """Returns the convolution of images `[n, h, w, c]`, in machine learning's sense: unflipped.

    kernel: `[kh, kw, c / groups, features]`. padding: "SAME", "VALID" or pixels on each side.
    """
    pads = _padding(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, Geometry((strides, strides), pads, groups))


def conv_transpose(y: jax.Array, kernel: jax.Array, strides: int = 2, groups: int = 1) -> jax.Array:
    """Returns the transpose of `conv` with padding "SAME": images `[n, strides h, strides w, c]`.

    y: `[n, h, w, features]`. kernel: that of the convolution, `[kh, kw, c / groups, features]`.
    """
    n, h, w, _ = y.shape
    size = h * strides, w * strides
    pads = _padding(size, kernel.shape[:2], strides, "SAME")
    shape = (n, *size, kernel.shape[2] * groups)
    return _conv_transpose(y, kernel, Geometry((strides, strides), pads, groups), shape)


def conv_of_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the 3x3 convolution of `doubled(x)`, padding "SAME": `[n, 2 h, 2 w, features]`.

    On a CPU by 9 products of the images as they are, where `conv` of the doubled ones takes 16.
    kernel: `[3, 3, c, features]`.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=doubled_conv_by_products,
        default=lambda x, kernel: conv(doubled(x), kernel),
    )


def doubled(x: jax.Array) -> jax.Array:
    """Returns images `[n, 2 h, 2 w, c]` of images `[n, h, w, c]`, every pixel four times."""
    n, h, w, c = x.shape
    # In float32, for the gradient is a sum.
    wide = jnp.broadcast_to(x.astype(jnp.float32)[:, :, None, :, None], (n, h, 2, w, 2, c))
    return wide.reshape(n, 2 * h, 2 * w, c).astype(x.dtype)


class Conv(nn.Module):
    """A convolution with, unless told otherwise, a bias: images `[n, h, w, c]` to as many features.

    It computes in the type of its inputs, whatever that of its parameters.
    kernel_size, strides: in pixels, the same in both directions. groups: of channels.
    double: convolve images of twice the size, every pixel four times (3x3, stride 1, one group).
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    groups: int = 1
    use_bias: bool = True
    double: bool = False
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h', w', features]`."""
        size, inputs = self.kernel_size, x.shape[-1] // self.groups
        kernel = self.param("kernel", self.kernel_init, (size, size, inputs, self.features))
        kernel = kernel.astype(x.dtype)
        if self.double:
            x = conv_of_doubled(x, kernel)
        else:
            x = conv(x, kernel, self.strides, self.padding, self.groups)
        return biased(self, x) if self.use_bias else x


class ConvTranspose(nn.Module):
    """A transposed convolution: images `[n, h, w, c]` to `[n, strides h, strides w, features]`."""

    features: int
    kernel_size: int = 4
    strides: int = 2
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, strides h, strides w, features]`."""
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        x = conv_transpose(x, kernel.astype(x.dtype), self.strides)
        return biased(self, x) if self.use_bias else x


def biased(module: nn.Module, x: jax.Array) -> jax.Array:
    """Returns `x` `[..., features]` plus the module's parameter "bias", in the type of `x`.

    The sum, and so the bias's gradient over all rows and pixels, is computed in float32: a bfloat16
    accumulator stops growing where its spacing exceeds what is added.
    """
    bias = module.param("bias", nn.initializers.zeros, x.shape[-1:])
    return (x.astype(jnp.float32) + bias).astype(x.dtype)


def _padding(size, kernel_size, strides: int, padding) -> tuple:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel_size, (strides, strides), padding)
    return tuple(tuple(map(int, sides)) for sides in padding)


# The three bilinear functions. Each has two lowerings; the derivatives of one are the other two.


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(conv_by_products, geometry=geometry),
        default=partial(native_conv, geometry=geometry),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_transpose(y: jax.Array, kernel: jax.Array, geometry: Geometry, shape) -> jax.Array:
    return lax.platform_dependent(
        y,
        kernel,
        cpu=partial(conv_transpose_by_products, geometry=geometry, shape=shape),
        default=partial(native_conv_transpose, geometry=geometry, shape=shape),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _kernel_gradient(x: jax.Array, y: jax.Array, geometry: Geometry, shape) -> jax.Array:
    return lax.platform_dependent(
        x,
        y,
        cpu=partial(kernel_gradient_by_products, geometry=geometry, shape=shape),
        default=partial(native_kernel_gradient, geometry=geometry, shape=shape),
    )


_conv.defvjp(
    lambda x, kernel, geometry: (_conv(x, kernel, geometry), (x, kernel)),
    lambda geometry, saved, y: (
        _conv_transpose(y, saved[1], geometry, saved[0].shape),
        _kernel_gradient(saved[0], y, geometry, saved[1].shape),
    ),
)
_conv_transpose.defvjp(
    lambda y, kernel, geometry, shape: (_conv_transpose(y, kernel, geometry, shape), (y, kernel)),
    lambda geometry, shape, saved, x: (
        _conv(x, saved[1], geometry),
        _kernel_gradient(x, saved[0], geometry, saved[1].shape),
    ),
)
_kernel_gradient.defvjp(
    lambda x, y, geometry, shape: (_kernel_gradient(x, y, geometry, shape), (x, y)),
    lambda geometry, shape, saved, kernel: (
        _conv_transpose(saved[1], kernel, geometry, saved[0].shape),
        _conv(saved[0], kernel, geometry),
    ),
)


# XLA's own convolutions.


def native_conv(x: jax.Array, kernel: jax.Array, *, geometry: Geometry) -> jax.Array:
    """Returns what `conv` returns, by XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def native_conv_transpose(y: jax.Array, kernel: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `native_conv` in its images, `shape`."""
    forward = partial(native_conv, kernel=kernel, geometry=geometry)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def native_kernel_gradient(x: jax.Array, y: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `native_conv` in its kernel, `shape`."""
    forward = partial(native_conv, x, geometry=geometry)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


# Matrix products.


def _group_by_group(function):
    """Returns the function, of one group of channels, for several of them."""

    @functools.wraps(function)
    def grouped(a: jax.Array, b: jax.Array, *, geometry: Geometry, **shape):
        if (groups := geometry.groups) == 1:
            return function(a, b, geometry=geometry, **shape)
        # Of images and of kernels alike the last axis is the one that the groups share.
        share = lambda size: (*size[:-1], size[-1] // groups)
        of_one = {name: share(whole) for name, whole in shape.items()}
        split = lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], groups, -1), -2, 0)
        alone = partial(function, geometry=geometry._replace(groups=1), **of_one)
        result = jnp.moveaxis(jax.vmap(alone)(split(a), split(b)), 0, -2)
        return result.reshape(*result.shape[:-2], -1)

    return grouped


@_group_by_group
def conv_by_products(x: jax.Array, kernel: jax.Array, *, geometry: Geometry) -> jax.Array:
    """Returns what `conv` returns, by matrix products."""
    if _filterable(kernel.shape, geometry):
        return _filtered(_padded(x, geometry), kernel)
    if _wide_to_narrow(kernel.shape, geometry):
        shape = (len(x), *_output_size(x.shape, kernel.shape, geometry), kernel.shape[3])
        return _folded(x, _turned(kernel), _turned_geometry(kernel.shape, geometry), shape)
    return _unfolded(x, kernel, geometry)


@_group_by_group
def conv_transpose_by_products(y: jax.Array, kernel: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `conv_by_products` in its images, `shape`, by matrix products."""
    if _filterable(kernel.shape, geometry):
        return _filtered(_padded(y, _turned_geometry(kernel.shape, geometry)), _turned(kernel))
    if _wide_to_narrow(kernel.shape, geometry):
        return _unfolded(y, _turned(kernel), _turned_geometry(kernel.shape, geometry))
    return _folded(y, kernel, geometry, shape)


@_group_by_group
def kernel_gradient_by_products(x: jax.Array, y: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `conv_by_products` in its kernel, `shape`, by matrix products."""
    if _filterable(shape, geometry):
        return _filtered_kernel_gradient(_padded(x, geometry), y)
    if _wide_to_narrow(shape, geometry):
        swapped = (*shape[:2], shape[3], shape[2])
        return _turned(_unfolded_kernel_gradient(y, x, _turned_geometry(shape, geometry), swapped))
    return _unfolded_kernel_gradient(x, y, geometry, shape)


def _filterable(kernel_shape, geometry: Geometry) -> bool:
    """Whether minimal filtering pays: a 3x3 kernel of stride 1 between many channels."""
    dense = geometry.strides == (1, 1) and kernel_shape[:2] == (3, 3)
    return dense and min(kernel_shape[2:]) >= NARROW


def _wide_to_narrow(kernel_shape, geometry: Geometry) -> bool:
    """Whether patches of the outputs are smaller: then the transpose is what is cheap."""
    return geometry.strides == (1, 1) and kernel_shape[3] < kernel_shape[2]


def _turned(kernel: jax.Array) -> jax.Array:
    """Returns the kernel of the convolution that is the transpose of one of stride 1."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _turned_geometry(kernel_shape, geometry: Geometry) -> Geometry:
    pads = zip(kernel_shape[:2], geometry.padding, strict=True)
    return geometry._replace(padding=tuple((k - 1 - lo, k - 1 - hi) for k, (lo, hi) in pads))


def _padded(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Returns images with zeros around them; with pixels cut off where padding is negative."""
    edges = [(lo, hi, 0) for lo, hi in geometry.padding]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _output_size(shape, kernel_shape, geometry: Geometry) -> tuple[int, ...]:
    sides = zip(shape[1:3], kernel_shape[:2], geometry.strides, geometry.padding, strict=True)
    return tuple((size + sum(pads) - k) // stride + 1 for size, k, stride, pads in sides)


# Patches.


def _patches(x: jax.Array, kernel_shape, geometry: Geometry) -> jax.Array:
    """Returns the pixels under the kernel, `[n, rows, columns, kh, kw, c]`."""
    rows, columns = _output_size(x.shape, kernel_shape, geometry)
    (down, right), (kh, kw) = geometry.strides, kernel_shape[:2]
    x = _padded(x, geometry)
    last = (rows - 1) * down + 1, (columns - 1) * right + 1
    x = jnp.stack([x[:, :, j : j + last[1] : right] for j in range(kw)], axis=3)
    return jnp.stack([x[:, i : i + last[0] : down] for i in range(kh)], axis=3)


def _unfolded(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Returns the convolution as a product of patches and kernel."""
    patches = _patches(x, kernel.shape, geometry)
    rows = patches.reshape(-1, math.prod(kernel.shape[:3]))
    return (rows @ kernel.reshape(-1, kernel.shape[3])).reshape(*patches.shape[:3], -1)


def _folded(y: jax.Array, kernel: jax.Array, geometry: Geometry, shape) -> jax.Array:
    """Returns the transposed convolution as a product that is then added up over the patches."""
    kh, kw, _, features = kernel.shape
    patches = jnp.einsum("nyxo,ko->nyxk", y, kernel.reshape(-1, features))
    n, rows, columns = y.shape[:3]
    patches = patches.reshape(n, -1, shape[3])
    whole = 0
    for row, i, in_column in _sources(shape[1], rows, kh, geometry.strides[0], geometry.padding[0]):
        for column, j, in_row in _sources(
            shape[2], columns, kw, geometry.strides[1], geometry.padding[1]
        ):
            at = ((row[:, None] * columns + column) * kh + i[:, None]) * kw + j
            inside = (in_column[:, None] & in_row).reshape(-1, 1)
            whole += jnp.where(inside, patches[:, at.reshape(-1)], 0)
    return jnp.reshape(whole, shape)


def _sources(size: int, outputs: int, kernel_size: int, stride: int, padding) -> list:
    """Returns where each of `size` pixels collects: outputs, places in the kernel, which count.

    A pixel lies under the kernel at several outputs: there is one entry for each of them.
    """
    places = np.arange(size) + padding[0]
    sources = []
    for nth in range(-(-kernel_size // stride)):
        k = places % stride + nth * stride
        output = (places - k) // stride
        inside = (k < kernel_size) & (output >= 0) & (output < outputs)
        sources.append((np.where(inside, output, 0), np.where(inside, k, 0), inside))
    return sources


def _unfolded_kernel_gradient(x: jax.Array, y: jax.Array, geometry: Geometry, shape) -> jax.Array:
    patches, outputs = _patches(x, shape, geometry).reshape(-1, math.prod(shape[:3])), _rows(y)
    if patches.shape[1] <= outputs.shape[1]:
        return (patches.T @ outputs).reshape(shape)
    # Half as long with the narrower matrix on the left, where XLA, left alone, puts the other.
    return lax.optimization_barrier(outputs.T @ patches).T.reshape(shape)


# Minimal filtering, F(2x2, 3x3) of Lavin and Gray: 2 x 2 outputs from 16 products, not 36.

INPUTS = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
FILTERS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))
"""In each direction: sums of 4 pixels, of 3 weights and of 4 products."""


def _filtered(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the convolution without padding: `[n, h, w, c]` to `[n, h - 2, w - 2, features]`."""
    filters = _on_both_sides(FILTERS, kernel)
    products = [
        [_times(tile, filters[i, j]) for j, tile in enumerate(row)]
        for i, row in enumerate(_input_tiles(x))
    ]
    whole = _interleaved(_mixed_twice(OUTPUTS, products))
    return whole[:, : x.shape[1] - 2, : x.shape[2] - 2]


def _filtered_kernel_gradient(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the transpose of `_filtered` in its kernel."""
    y = jnp.pad(y, ((0, 0), (0, y.shape[1] % 2), (0, y.shape[2] % 2), (0, 0)))
    pixels = [[y[:, i::2, j::2] for j in range(2)] for i in range(2)]
    outputs = _mixed_twice(_transposed(OUTPUTS), pixels)
    products = [
        jnp.stack([_rows(a).T @ _rows(b) for a, b in zip(*rows, strict=True)])
        for rows in zip(_input_tiles(x), outputs, strict=True)
    ]
    return _on_both_sides(_transposed(FILTERS), jnp.stack(products))


# The same of images of which every pixel is there four times: one product in four, in each
# direction, would be of zeros. What is left needs no more than sums.

DOUBLED_INPUTS = ((1, -1, 0), (0, 1, 0), (0, 1, -1))
DOUBLED_FILTERS = ((1, 0, 0), (1, 1, 1), (0, 0, 1))
DOUBLED_OUTPUTS = ((1, 1, 0), (0, 1, -1))


def doubled_conv_by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns what `conv_of_doubled` returns, by matrix products."""
    h, w = x.shape[1:3]
    around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    pixels = [[around[:, i : i + h, j : j + w] for j in range(3)] for i in range(3)]
    filters = _on_both_sides(DOUBLED_FILTERS, kernel)
    products = [
        [_times(tile, filters[i, j]) for j, tile in enumerate(row)]
        for i, row in enumerate(_mixed_twice(DOUBLED_INPUTS, pixels))
    ]
    return _interleaved(_mixed_twice(DOUBLED_OUTPUTS, products))


def _interleaved(pixels: list[list[jax.Array]]) -> jax.Array:
    """Returns images `[n, 2 h, 2 w, c]` of the 2 x 2 parts `[n, h, w, c]` that they consist of."""
    x = jnp.stack([jnp.stack(row, axis=3) for row in pixels], axis=2)
    n, h, _, w, _, c = x.shape
    return x.reshape(n, 2 * h, 2 * w, c)


def _input_tiles(x: jax.Array) -> list[list[jax.Array]]:
    """Returns the 4 x 4 inputs of the products, each `[n, rows, columns, c]` of 2 x 2 tiles."""
    rows, columns = ((size - 1) // 2 for size in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    pixels = [
        [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for j in range(4)]
        for i in range(4)
    ]
    return _mixed_twice(INPUTS, pixels)


def _mixed_twice(table, parts: list[list[jax.Array]]) -> list[list[jax.Array]]:
    """Returns the sums that a table calls for, over the rows of parts and over their columns."""
    rows = zip(*(_mixed(table, column) for column in zip(*parts, strict=True)), strict=True)
    return [_mixed(table, row) for row in rows]


def _mixed(table, parts: Sequence[jax.Array]) -> list[jax.Array]:
    sums = []
    for row in table:
        signed = [
            part if sign > 0 else -part for sign, part in zip(row, parts, strict=True) if sign
        ]
        sums.append(sum(signed[1:], signed[0]))
    return sums


def _on_both_sides(table, kernel: jax.Array) -> jax.Array:
    table = np.array(table, np.float32).astype(kernel.dtype)
    return jnp.einsum("ai,bj,ij...->ab...", table, table, kernel, precision="highest")


def _transposed(table) -> tuple:
    return tuple(zip(*table, strict=True))


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _times(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return (_rows(x) @ matrix).reshape(*x.shape[:-1], -1)
