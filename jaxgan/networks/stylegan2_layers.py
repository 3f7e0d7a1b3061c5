"""The layers of StyleGAN2: equalized learning rates, styles, noise and minibatch deviation.

Karras et al. 2018, "Progressive growing of GANs" (equalized learning rates, minibatch deviation),
and Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN" (styles).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.devices import draw_rows, gather_rows, mean_over_devices, own_rows
from jaxgan.networks.conv import conv, conv_transpose
from jaxgan.networks.resampling import blur
from jaxgan.networks.shared import class_embedding

SLOPE = 0.2
STYLE_DECAY = 0.995
"""Decay of the average of the styles, in updates."""
MAPPING_RATE = 0.01
"""Learning rate of the layers that make styles, relative to the others."""
GROUP = 4
"""Number of images whose deviation is computed together."""


def activate(x: jax.Array, gain: float = 2**0.5) -> jax.Array:
    """Returns LeakyReLU of slope 0.2 times a gain."""
    return nn.leaky_relu(x, SLOPE) * gain


def scale_channels(x: jax.Array, scales: jax.Array) -> jax.Array:
    """Returns images `[n, h, w, c]`, in float32, times scales `[n, c]`.

    In float32, because the gradient of the scales is a sum over pixels.
    """
    return x.astype(jnp.float32) * scales[:, None, None]


def normalize_length(x: jax.Array) -> jax.Array:
    """Returns vectors `[n, k]` scaled to a mean square of 1."""
    return x * lax.rsqrt(jnp.square(x).mean(axis=1, keepdims=True) + 1e-8)


class Linear(nn.Module):
    """A linear layer, `[n, k]` to `[n, features]`, in the type of its inputs.

    The weights are drawn from N(0, 1) and multiplied by k^(-1/2) in each pass, so that Adam changes
    all layers at the same rate. rate: relative learning rate. bias: initial value, None for none.
    """

    features: int
    rate: float = 1.0
    bias: float | None = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `[n, features]`."""
        init, inputs = nn.initializers.normal(1 / self.rate), x.shape[-1]
        kernel = self.param("kernel", init, (inputs, self.features))
        y = x @ (kernel * (self.rate / np.sqrt(inputs))).astype(x.dtype)
        return y if self.bias is None else _add_bias(self, y, self.bias, self.rate)


class EqualizedConv(nn.Module):
    """A convolution of images `[n, h, w, c]`, with weights as in `Linear`.

    halve: whether to blur the images before, and to halve their size.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True
    halve: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h, w, features]`, or of half that size."""
        kernel = _kernel(self, x.shape[-1]) / np.sqrt(self.kernel_size**2 * x.shape[-1])
        if self.halve:
            # The blur has 4 taps: with the kernel, it reaches as far on all sides.
            x = conv(blur(x, 2), kernel.astype(x.dtype), 2, "VALID")
        else:
            x = conv(x, kernel.astype(x.dtype))
        return _add_bias(self, x) if self.use_bias else x


class StyleConv(nn.Module):
    """A convolution whose input channels are scaled by a style, then noise and LeakyReLU.

    The outputs are divided by the deviation that they would have for inputs of deviation 1
    (demodulation). So this is the convolution with the scaled and normalized kernel of each image.
    upsample: whether to double the size, and to blur the images after that.
    """

    features: int
    upsample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, style: jax.Array, train: bool = False) -> jax.Array:
        """Returns images `[n, h, w, features]`, or of twice that size, from `[n, h, w, c]`.

        style: float32, `[n, k]`. The noise is new in training, else that of the module's variables.
        """
        dtype = x.dtype
        scales, kernel = Linear(x.shape[-1], bias=1.0)(style), _kernel(self, x.shape[-1])
        squares = jnp.square(scales) @ jnp.square(kernel).sum(axis=(0, 1))
        x = scale_channels(x, scales).astype(dtype)
        if self.upsample:
            x = conv_transpose(x, kernel.swapaxes(2, 3).astype(dtype), padding="VALID")
            x = 4 * blur(x, 1)
        else:
            x = conv(x, kernel.astype(dtype))
        x = scale_channels(x, lax.rsqrt(squares + 1e-8))
        return activate(_add_bias(self, x + self.noise(x.shape, train))).astype(dtype)

    @nn.nowrap
    def noise(self, shape, train: bool) -> jax.Array:
        """Returns noise for images of a shape, times its learned strength, initially 0."""
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        draw = lambda: jax.random.normal(self.make_rng("params"), (*shape[1:3], 1))
        fixed = self.variable("noise", "image", draw).value
        if not train:
            return strength * fixed
        return strength * draw_rows(jax.random.normal, self.make_rng("noise"), (*shape[:3], 1))


class ToImage(nn.Module):
    """A 1x1 convolution whose input channels are scaled by a style: `[n, h, w, channels]`."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, style: jax.Array) -> jax.Array:
        """Returns images, float32 `[n, h, w, channels]`, from `[n, h, w, c]` and `[n, k]`."""
        scales = Linear(x.shape[-1], bias=1.0)(style) / np.sqrt(x.shape[-1])
        init = nn.initializers.normal(1.0)
        kernel = self.param("kernel", init, (1, 1, x.shape[-1], self.channels))
        x = conv(scale_channels(x, scales).astype(x.dtype), kernel.astype(x.dtype))
        return _add_bias(self, x.astype(jnp.float32))


class Mapping(nn.Module):
    """Linear layers with LeakyReLU from latents, an embedding of the class, or both, to styles.

    features: of each layer. layers: their number. Outside of training, the average of the styles is
    read from the module's variables, for truncation.
    """

    features: int
    layers: int
    num_classes: int | None = None

    @nn.compact
    def __call__(self, latents, labels=None, train: bool = False, truncation: float | None = None):
        """Returns styles, float32 `[n, features]`.

        latents: `[n, k]`, None for styles of the classes alone. labels: as in `class_embedding`.
        train: whether to update the average. truncation: factor of the distances from the average.
        """
        parts = [] if latents is None else [normalize_length(latents.astype(jnp.float32))]
        if self.num_classes is not None:
            classes = class_embedding(labels, self.num_classes, self.features, deviation=1.0)
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            # A linear layer of one-hot classes has weights as in `Linear`.
            parts.append(normalize_length(classes / np.sqrt(self.num_classes) + bias))
        x = jnp.concatenate(parts, axis=1)
        for _ in range(self.layers):
            x = activate(Linear(self.features, MAPPING_RATE)(x))
        if latents is None:
            return x
        mean = self.variable("styles", "mean", jnp.zeros, (self.features,))
        if train and not self.is_initializing():
            batch = mean_over_devices(lax.stop_gradient(x).mean(axis=0))
            mean.value = STYLE_DECAY * mean.value + (1 - STYLE_DECAY) * batch
        return x if truncation is None else mean.value + truncation * (x - mean.value)


def append_minibatch_stddev(x: jax.Array) -> jax.Array:
    """Returns images `[n, h, w, c + 1]`, with the deviation of their group as a last channel.

    Of a group of 4 images (fewer, if the batch is no multiple of 4), it is the mean over pixels and
    channels of the deviation. The groups are the same on one device and on several.
    """
    whole = gather_in_order(x.astype(jnp.float32))
    size = next(size for size in range(GROUP, 0, -1) if len(whole) % size == 0)
    groups = whole.reshape(size, -1, *x.shape[1:])
    deviation = jnp.sqrt(jnp.square(groups - groups.mean(axis=0)).mean(axis=0) + 1e-8)
    of_groups = deviation.mean(axis=(1, 2, 3))
    of_images = own_rows(jnp.tile(of_groups, size))
    channel = jnp.broadcast_to(of_images[:, None, None, None], (*x.shape[:3], 1))
    return jnp.concatenate([x, channel.astype(x.dtype)], axis=-1)


def gather_in_order(rows: jax.Array) -> jax.Array:
    """Returns the rows of the whole batch, of which `own_rows` are this device's."""
    by_device = gather_rows(rows).reshape(-1, len(rows), *rows.shape[1:])
    return by_device.swapaxes(0, 1).reshape(-1, *rows.shape[1:])


def _kernel(module: nn.Module, inputs: int) -> jax.Array:
    size = getattr(module, "kernel_size", 3)
    init = nn.initializers.normal(1.0)
    return module.param("kernel", init, (size, size, inputs, module.features))


def _add_bias(module: nn.Module, x: jax.Array, initial: float = 0.0, rate: float = 1.0):
    """Returns `x` `[..., features]` plus the bias of a module, in the type of `x`."""
    bias = module.param("bias", nn.initializers.constant(initial), x.shape[-1:])
    return (x.astype(jnp.float32) + rate * bias).astype(x.dtype)
