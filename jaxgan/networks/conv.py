"""Convolutions that are fast on every platform: layers, functions and their derivatives.

GPUs and TPUs use XLA's convolutions. On CPUs these are slow, by an order of magnitude inside a
`scan`, so CPUs use the matrix products of `jaxgan.networks.conv_cpu`.

A convolution, its transpose and the gradient of its kernel are bilinear functions, and the
derivatives of each are the other two. They are defined together in this file, and can be
differentiated in reverse mode any number of times.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.networks.conv_cpu import (
    Geometry,
    conv_by_products,
    conv_transpose_by_products,
    kernel_gradient_by_products,
    upsample_conv_by_products,
)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    groups: int = 1,
) -> jax.Array:
    """Returns the convolution (cross-correlation) of images `[n, h, w, c]` with a kernel.

    kernel: `[kh, kw, c / groups, features]`. padding: "SAME", "VALID" or pixels on each side.
    """
    pads = _padding(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, Geometry((strides, strides), pads, groups))


def conv_transpose(
    y: jax.Array,
    kernel: jax.Array,
    strides: int = 2,
    groups: int = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
) -> jax.Array:
    """Returns the transpose of `conv`: images `[n, h', w', c]`.

    y: `[n, h, w, features]`. kernel: the kernel of `conv`, `[kh, kw, c / groups, features]`.
    padding: that of `conv`. With "SAME", the images are `strides` times as large as `y`, and with
    "VALID" larger than that by the kernel's size minus `strides`.
    """
    n, h, w, _ = y.shape
    size = h * strides, w * strides
    if padding == "VALID":
        size = tuple(s + k - strides for s, k in zip(size, kernel.shape[:2], strict=True))
    pads = _padding(size, kernel.shape[:2], strides, padding)
    shape = (n, *size, kernel.shape[2] * groups)
    return _conv_transpose(y, kernel, Geometry((strides, strides), pads, groups), shape)


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the 3x3 convolution of `upsample(x)`, padding "SAME": `[n, 2 h, 2 w, features]`.

    On a CPU it takes 9 matrix products, instead of 16 for a convolution of the upsampled images.
    kernel: `[3, 3, c, features]`.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=upsample_conv_by_products,
        default=lambda x, kernel: conv(upsample(x), kernel),
    )


def upsample(x: jax.Array) -> jax.Array:
    """Returns images `[n, h, w, c]` upsampled to `[n, 2 h, 2 w, c]` by nearest neighbor."""
    n, h, w, c = x.shape
    # In float32, because the gradient is a sum over four pixels.
    wide = jnp.broadcast_to(x.astype(jnp.float32)[:, :, None, :, None], (n, h, 2, w, 2, c))
    return wide.reshape(n, 2 * h, 2 * w, c).astype(x.dtype)


class Conv(nn.Module):
    """A convolution: images `[n, h, w, c]` to images `[n, h', w', features]`.

    It computes in the type of its inputs, whatever the type of its parameters.
    kernel_size, strides: in pixels, the same in both directions. padding, groups: as in `conv`.
    upsample_first: whether to upsample the images first; needs a 3x3 kernel, stride 1, one group.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    groups: int = 1
    use_bias: bool = True
    upsample_first: bool = False
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h', w', features]`."""
        size, inputs = self.kernel_size, x.shape[-1] // self.groups
        kernel = self.param("kernel", self.kernel_init, (size, size, inputs, self.features))
        kernel = kernel.astype(x.dtype)
        if self.upsample_first:
            x = upsample_conv(x, kernel)
        else:
            x = conv(x, kernel, self.strides, self.padding, self.groups)
        return add_bias(self, x) if self.use_bias else x


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
        return add_bias(self, x) if self.use_bias else x


def add_bias(module: nn.Module, x: jax.Array) -> jax.Array:
    """Returns `x` `[..., features]` plus the module's parameter "bias", in the type of `x`.

    The sum is computed in float32, and so is the gradient of the bias, a sum over the batch and
    over pixels: a bfloat16 accumulator stops growing once its spacing exceeds the terms.
    """
    bias = module.param("bias", nn.initializers.zeros, x.shape[-1:])
    return (x.astype(jnp.float32) + bias).astype(x.dtype)


def _padding(size, kernel_size, strides: int, padding) -> tuple:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel_size, (strides, strides), padding)
    return tuple(tuple(map(int, sides)) for sides in padding)


# The three bilinear functions. Each has two lowerings; its derivatives are the other two.


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
    """Returns the same as `conv`, computed by XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def native_conv_transpose(y: jax.Array, kernel: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `native_conv` with respect to its images, of shape `shape`."""
    forward = partial(native_conv, kernel=kernel, geometry=geometry)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def native_kernel_gradient(x: jax.Array, y: jax.Array, *, geometry: Geometry, shape):
    """Returns the transpose of `native_conv` with respect to its kernel, of shape `shape`."""
    forward = partial(native_conv, x, geometry=geometry)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]
