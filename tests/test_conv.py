"""The two lowerings of the convolutions agree, and so do all their derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxgan.networks import conv
from jaxgan.networks.conv import Conv, ConvTranspose, Geometry

KEY = jax.random.key(0)


def assert_close(found, expected):
    scale = max(float(jnp.abs(expected).max()), 1.0)
    np.testing.assert_allclose(found / scale, expected / scale, atol=2e-6)


def random_arrays(*shapes):
    keys = jax.random.split(KEY, len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


CHANNELS = st.sampled_from([1, 3, 4, 32, 36])


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
PADDINGS = st.sampled_from(["SAME", "VALID", ((1, 0), (2, 3)), ((2, 1), (0, 1))])
ANY = st.tuples(
    st.integers(1, 5),
    st.integers(1, 3),
    st.tuples(CHANNELS, CHANNELS),
    st.sampled_from([1, 1, 1, 2, 4]),
)
FILTERED = st.tuples(
    st.just(3), st.just(1), st.sampled_from([(32, 36), (36, 32), (64, 64)]), st.just(1)
)


@settings(max_examples=12)
@given(size=SIZES, padding=PADDINGS, layer=st.one_of(ANY, ANY, FILTERED))
def test_products_match_xla_convolutions(size, padding, layer):
    kernel, stride, channels, groups = layer
    inputs, outputs = channels
    assume(inputs % groups == 0 and outputs % groups == 0)
    assume(padding != "VALID" or min(size) >= kernel)
    if isinstance(padding, tuple):
        assume(all(n + sum(pads) >= kernel for n, pads in zip(size, padding, strict=True)))
    x_shape, kernel_shape = (2, *size, inputs), (kernel, kernel, inputs // groups, outputs)
    pads = conv._padding(size, kernel_shape[:2], stride, padding)
    geometry = Geometry((stride, stride), pads, groups)
    x, weights = random_arrays(x_shape, kernel_shape)
    shape = jax.eval_shape(partial(conv.native_conv, geometry=geometry), x, weights).shape
    (y,) = random_arrays(shape)

    @jax.jit
    def by_products(x, weights, y):
        return (
            conv.conv_by_products(x, weights, geometry=geometry),
            conv.conv_transpose_by_products(y, weights, geometry=geometry, shape=x_shape),
            conv.kernel_gradient_by_products(x, y, geometry=geometry, shape=kernel_shape),
        )

    @jax.jit
    def by_xla(x, weights, y):
        return (
            conv.native_conv(x, weights, geometry=geometry),
            conv.native_conv_transpose(y, weights, geometry=geometry, shape=x_shape),
            conv.native_kernel_gradient(x, y, geometry=geometry, shape=kernel_shape),
        )

    for ours, theirs in zip(by_products(x, weights, y), by_xla(x, weights, y), strict=True):
        assert_close(ours, theirs)


SHAPES = {
    "dcgan": ((2, 6, 6, 3), (4, 4, 3, 5), 2, 1),
    "filtered": ((2, 5, 4, 32), (3, 3, 32, 32), 1, 1),
    "narrowing": ((2, 5, 4, 6), (3, 3, 6, 2), 1, 1),
    "grouped": ((2, 4, 4, 4), (3, 3, 2, 6), 1, 2),
    "pointwise": ((2, 3, 3, 5), (1, 1, 5, 4), 1, 1),
}


def native(x, kernel, stride, groups):
    pads = conv._padding(x.shape[1:3], kernel.shape[:2], stride, "SAME")
    return conv.native_conv(x, kernel, geometry=Geometry((stride, stride), pads, groups))


def native_transpose(y, kernel, stride, groups):
    n, h, w, _ = y.shape
    size = h * stride, w * stride
    pads = conv._padding(size, kernel.shape[:2], stride, "SAME")
    geometry = Geometry((stride, stride), pads, groups)
    shape = (n, *size, kernel.shape[2] * groups)
    return conv.native_conv_transpose(y, kernel, geometry=geometry, shape=shape)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_first_and_second_derivatives_agree(name, transposed):
    x_shape, kernel_shape, stride, groups = SHAPES[name]
    if transposed:
        x_shape = (*x_shape[:3], kernel_shape[3])
        ours = lambda y, kernel: conv.conv_transpose(y, kernel, stride, groups)
        theirs = lambda y, kernel: native_transpose(y, kernel, stride, groups)
    else:
        ours = lambda x, kernel: conv.conv(x, kernel, stride, groups=groups)
        theirs = lambda x, kernel: native(x, kernel, stride, groups)
    x, kernel = random_arrays(x_shape, kernel_shape)

    def derivatives(function, x, kernel):
        value = lambda x, kernel: jnp.tanh(function(x, kernel)).sum()
        slope = lambda x, kernel: sum(
            jnp.square(grad).sum() for grad in jax.grad(value, (0, 1))(x, kernel)
        )
        curve = lambda x, kernel: sum(
            jnp.square(grad).sum() for grad in jax.grad(slope, (0, 1))(x, kernel)
        )
        return function(x, kernel), jax.grad(slope, (0, 1))(x, kernel), jax.grad(curve)(x, kernel)

    with jax.enable_x64(True):
        x, kernel = x.astype(jnp.float64), kernel.astype(jnp.float64)
        found, expected = (
            jax.jit(partial(derivatives, function))(x, kernel) for function in (ours, theirs)
        )
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1)])
def test_upsample_conv_and_its_derivatives_match_xla(size):
    """Compares products of the original images with XLA's convolution of the upsampled ones."""

    def derivatives(function, x, kernel):
        value = lambda x, kernel: jnp.tanh(function(x, kernel)).sum()
        slope = lambda x, kernel: sum(
            jnp.square(grad).sum() for grad in jax.grad(value, (0, 1))(x, kernel)
        )
        return function(x, kernel), jax.grad(value, (0, 1))(x, kernel), jax.grad(slope)(x, kernel)

    with jax.enable_x64(True):
        x, kernel = (
            array.astype(jnp.float64) for array in random_arrays((2, *size, 5), (3, 3, 5, 4))
        )
        ours, theirs = (
            jax.jit(partial(derivatives, function))(x, kernel)
            for function in (
                conv.upsample_conv,
                lambda x, kernel: native(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), kernel, 1, 1),
            )
        )
        for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=4)
@given(size=SIZES, layer=st.one_of(ANY, FILTERED))
def test_second_derivatives_agree_for_many_shapes(size, layer):
    kernel_size, stride, (inputs, outputs), groups = layer
    assume(inputs % groups == 0 and outputs % groups == 0)
    shapes = (1, *size, inputs), (kernel_size, kernel_size, inputs // groups, outputs)

    def curves(function, x, kernel):
        value = lambda x, kernel: jnp.tanh(function(x, kernel)).sum()
        slope = lambda x, kernel: sum(
            jnp.square(grad).sum() for grad in jax.grad(value, (0, 1))(x, kernel)
        )
        return jax.grad(slope, (0, 1))(x, kernel)

    with jax.enable_x64(True):
        x, kernel = (array.astype(jnp.float64) for array in random_arrays(*shapes))
        ours, theirs = (
            jax.jit(partial(curves, function))(x, kernel)
            for function in (
                lambda x, kernel: conv.conv(x, kernel, stride, groups=groups),
                lambda x, kernel: native(x, kernel, stride, groups),
            )
        )
        for found, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", SHAPES)
def test_conv_transpose_is_the_adjoint_of_conv(name):
    """The inner product of conv(x) with y is that of x with conv_transpose(y)."""
    x_shape, kernel_shape, stride, groups = SHAPES[name]
    n, h, w, c = x_shape
    shape = (n, h - h % stride, w - w % stride, c)
    x, kernel = random_arrays(shape, kernel_shape)
    (y,) = random_arrays(conv.conv(x, kernel, stride, groups=groups).shape)
    left = jnp.vdot(conv.conv(x, kernel, stride, groups=groups), y)
    right = jnp.vdot(x, conv.conv_transpose(y, kernel, stride, groups))
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_cpu_lowers_to_products_and_gpu_to_convolutions():
    """One traced function, lowered for each platform."""
    x, kernel = random_arrays((2, 8, 8, 32), (3, 3, 32, 32))

    def step(x, kernel):
        return jax.grad(lambda k: jnp.square(conv.conv(x, k)).sum())(kernel)

    traced = jax.jit(step).trace(x, kernel)
    for platform, has, lacks in (
        ("cpu", "dot_general", "convolution"),
        ("cuda", "convolution", ""),
    ):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert f"stablehlo.{has}" in program
        assert not lacks or f"stablehlo.{lacks}" not in program


def test_vmap_over_kernels_matches_single_kernels():
    x, kernels = random_arrays((2, 6, 6, 32), (3, 3, 3, 32, 32))
    slope = jax.jit(jax.grad(lambda k, x: jnp.square(conv.conv(x, k)).sum(), (0, 1)))
    found = jax.jit(jax.vmap(slope, (0, None)))(kernels, x)
    for i, kernel in enumerate(kernels):
        for ours, alone in zip(found, slope(kernel, x), strict=True):
            assert_close(ours[i], alone)


def test_layers_have_float32_parameters_and_compute_in_the_input_dtype():
    (x,) = random_arrays((2, 6, 6, 3))
    for layer, size, bias in ((Conv(5, 4, 2), 3, 5), (ConvTranspose(5), 12, 5)):
        images, variables = layer.init_with_output(KEY, x)
        assert images.shape == (2, size, size, 5)
        assert variables["params"]["bias"].shape == (bias,)
        low = layer.apply(variables, x.astype(jnp.bfloat16))
        assert low.dtype == jnp.bfloat16
        np.testing.assert_allclose(low.astype(jnp.float32), images, atol=0.1)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
