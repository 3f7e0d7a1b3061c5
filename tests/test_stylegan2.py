"""The layers of StyleGAN2, and the penalties that have updates of their own, by their formulas."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.lazy import LazyPenalties, PathLength, measure_path_lengths
from jaxgan.losses import LossInputs, no_loss, r1
from jaxgan.networks import NetworkOptions, stylegan2
from jaxgan.networks.resampling import blur
from jaxgan.networks.stylegan2_layers import (
    EqualizedConv,
    Linear,
    Mapping,
    StyleConv,
    append_minibatch_stddev,
)
from jaxgan.runs.build_loss import build_lazy_penalties
from jaxgan.runs.config import Config
from jaxgan.sampling import with_noise

KEY = jax.random.key(0)
draw = lambda *shape, seed=0: jax.random.normal(jax.random.key(seed), shape)


def dense(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def convolution(inputs: int, outputs: int) -> int:
    return dense(512, inputs) + 9 * inputs * outputs + outputs + 1


def image(channels: int) -> int:
    return dense(512, channels) + 3 * channels + 3


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def test_parameter_counts_are_those_of_the_authors_code():
    """Layer by layer, for 32 pixels and 10 classes, and for 64 pixels without classes."""
    for size, classes, layers, widths in (
        (32, 10, 2, (512,) * 4),
        (64, None, 8, (512,) * 5),
    ):
        options = NetworkOptions(mapping_layers=layers)
        networks = stylegan2((size, size, 3), True, None, classes, options)
        state = jax.eval_shape(gan(*networks, latent_size=512, num_classes=classes).init, KEY)
        embed = dense(classes, 512) if classes else 0
        generator = embed + dense(1024 if classes else 512, 512) + (layers - 1) * dense(512, 512)
        generator += 16 * widths[0]
        generator += convolution(widths[0], widths[0]) + image(widths[0])
        for a, b in itertools.pairwise(widths):
            generator += convolution(a, b) + convolution(b, b) + image(b)
        discriminator = 3 * widths[-1] + widths[-1]
        for a, b in itertools.pairwise(widths[::-1]):
            discriminator += 9 * a * a + a + 9 * a * b + b + a * b
        discriminator += 9 * 513 * 512 + 512 + dense(16 * 512, 512)
        discriminator += dense(512, 512 if classes else 1)
        discriminator += embed + 8 * dense(512, 512) if classes else 0
        found = count(state.generator.params), count(state.discriminator.params)
        assert found == (generator, discriminator)


@pytest.mark.parametrize("upsample", [False, True])
def test_a_style_scales_and_normalizes_the_kernel(upsample):
    x, style = draw(3, 5, 4, 6), draw(3, 7, seed=1)
    layer = StyleConv(8, upsample)
    variables = layer.init(KEY, x, style)
    params = variables["params"] | {"bias": draw(8, seed=2), "noise_strength": jnp.float32(0.3)}
    found = layer.apply({**variables, "params": params}, x, style)
    affine = jax.tree.map(np.asarray, params["Linear_0"])
    scales = style @ affine["kernel"] / np.sqrt(7) + affine["bias"]
    np.testing.assert_array_equal(affine["bias"], np.ones(6))
    for i in range(3):
        kernel = np.asarray(params["kernel"]) * np.asarray(scales[i])[:, None]
        kernel /= np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)) + 1e-8)
        one = x[i : i + 1]
        numbers = ("NHWC", "HWIO", "NHWC")
        convolve = partial(
            lax.conv_general_dilated, window_strides=(1, 1), dimension_numbers=numbers
        )
        if upsample:
            spread = jnp.zeros((1, 10, 8, 6)).at[:, ::2, ::2].set(one)[:, :-1, :-1]
            wide = convolve(spread, kernel[::-1, ::-1], padding=[(2, 2), (2, 2)])
            taps = np.array([1, 3, 3, 1]) / 4
            filters = np.einsum("i,j,ab->ijab", taps, taps, np.eye(8)).astype(np.float32)
            y = convolve(wide, filters, padding=[(1, 1), (1, 1)])
        else:
            y = convolve(one, kernel, padding="SAME")
        noise = np.asarray(variables["noise"]["image"])
        expected = lrelu(np.asarray(y[0]) + 0.3 * noise + np.asarray(params["bias"]))
        np.testing.assert_allclose(found[i], expected, rtol=1e-3, atol=1e-4)


def test_noise_is_new_in_training_only():
    x, style, layer = draw(2, 4, 4, 3), draw(2, 5, seed=1), StyleConv(3)
    variables = layer.init(KEY, x, style)
    variables = {**variables, "params": variables["params"] | {"noise_strength": jnp.float32(1)}}
    run = lambda key, train: layer.apply(variables, x, style, train, rngs=with_noise(key))
    other = jax.random.key(1)
    np.testing.assert_array_equal(run(KEY, False), run(other, False))
    np.testing.assert_array_equal(run(KEY, True), run(KEY, True))
    assert not np.allclose(run(KEY, True), run(other, True))
    # Each image of a batch has its own noise.
    alike = lambda images: np.allclose(
        images[0] - run(KEY, False)[0], images[1] - run(KEY, False)[1]
    )
    assert not alike(run(KEY, True))


def test_halved_convolutions_blur_first():
    x, layer = draw(2, 6, 8, 3), EqualizedConv(4, halve=True)
    params = layer.init(KEY, x)["params"]
    wide = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    taps = np.array([1, 3, 3, 1]) / 8
    numbers = ("NHWC", "HWIO", "NHWC")
    filters = np.einsum("i,j,ab->ijab", taps, taps, np.eye(3)).astype(np.float32)
    blurred = lax.conv_general_dilated(wide, filters, (1, 1), "VALID", dimension_numbers=numbers)
    np.testing.assert_allclose(blur(x, 2), blurred, rtol=1e-4, atol=1e-5)
    kernel = params["kernel"] / np.sqrt(27)
    expected = lax.conv_general_dilated(blurred, kernel, (2, 2), "VALID", dimension_numbers=numbers)
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-3, atol=1e-5)
    assert expected.shape == (2, 3, 4, 4)


def test_layers_have_equalized_learning_rates():
    """Weights of all layers are drawn from N(0, 1), and outputs have a deviation of about 1."""
    x = draw(500, 200)
    for rate in (1.0, 0.01):
        layer = Linear(100, rate)
        y, variables = layer.init_with_output(KEY, x)
        np.testing.assert_allclose(np.std(y), 1, rtol=0.05)
        np.testing.assert_allclose(np.std(variables["params"]["kernel"]), 1 / rate, rtol=0.05)
        moved = jax.tree.map(lambda leaf: leaf + 1.0, variables)
        change = layer.apply(moved, jnp.ones((1, 200))) - layer.apply(variables, jnp.ones((1, 200)))
        np.testing.assert_allclose(change, rate * (np.sqrt(200) + 1), rtol=1e-3)


@pytest.mark.parametrize(("n", "size"), [(8, 4), (6, 3), (3, 3), (1, 1), (5, 1)])
def test_deviation_within_groups(n, size):
    x = np.asarray(draw(n, 2, 3, 4), np.float64)
    found = np.asarray(append_minibatch_stddev(jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(found[..., :4], x, rtol=1e-6)
    for i in range(n):
        group = x[i % (n // size) :: n // size]
        expected = np.sqrt(group.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(found[i, ..., 4], expected, rtol=1e-4)


def test_styles_are_averaged_and_truncated():
    latents, layer = draw(6, 5), Mapping(4, 2)
    variables = layer.init(KEY, latents)
    styles, changed = layer.apply(variables, latents, train=True, mutable=["styles"])
    np.testing.assert_array_equal(variables["styles"]["mean"], np.zeros(4))
    mean = changed["styles"]["mean"]
    np.testing.assert_allclose(mean, 0.005 * styles.mean(axis=0), rtol=1e-4)
    at = lambda factor: layer.apply({**variables, **changed}, latents, truncation=factor)
    np.testing.assert_allclose(at(0.0), np.broadcast_to(mean, (6, 4)), rtol=1e-5)
    np.testing.assert_allclose(at(0.5), (styles + mean) / 2, rtol=1e-4, atol=1e-6)
    # The length of the latents does not matter.
    np.testing.assert_allclose(layer.apply(variables, 3 * latents), styles, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_styles_are_mixed_from_a_random_layer_on(probability):
    options = NetworkOptions(style_mixing=probability, mapping_layers=2)
    generator, _ = stylegan2((16, 16, 1), width=8, options=options)
    latents = draw(3, 5)
    variables = generator.init(KEY, latents)
    own = generator.apply(variables, latents, method="styles")
    assert own.shape == (3, 6, 8)
    assert (own == own[:, :1]).all()
    places = set()
    for seed in range(20):
        rngs = with_noise(jax.random.key(seed))
        settings = {"train": True, "mutable": True, "rngs": rngs, "method": "styles"}
        mixed, _ = generator.apply(variables, latents, **settings)
        same = (mixed == own).all(axis=(0, 2))
        places.add(int(same.sum()))
        assert (np.diff(same.astype(int)) <= 0).all()
        assert (mixed[:, -1:] == mixed[:, same.sum() :]).all()
    assert places == ({6} if probability == 0 else {1, 2, 3, 4, 5})


class Player(nn.Module):
    """A network without randomness, of two layers."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.tanh(nn.Dense(8)(x.reshape(len(x), -1)))
        return nn.Dense(int(np.prod(self.shape)))(x).reshape(len(x), *self.shape)


def make_model(every):
    lazy = LazyPenalties(r1(no_loss(), 0.3 * every), every)
    return gan(
        Player((2, 2, 1)), Player(()), d_tx=optax.sgd(0.1), latent_size=3, lazy_penalties=lazy
    )


def test_lazy_penalties_have_updates_of_their_own():
    every = 3
    plain, lazy = (
        gan(Player((2, 2, 1)), Player(()), d_tx=optax.sgd(0.1), latent_size=3),
        make_model(every),
    )
    state, batch = plain.init(KEY), draw(4, 2, 2, 1)
    assert jax.tree.structure(state) == jax.tree.structure(lazy.init(KEY))
    for step in range(4):
        at = state._replace(step=jnp.int32(step))
        usual, found = (
            jax.jit(model.step)(KEY, at, batch)[0].discriminator for model in (plain, lazy)
        )
        same = all(
            np.allclose(a, b, rtol=1e-6, atol=1e-7)
            for a, b in zip(*map(jax.tree.leaves, (usual.params, found.params)), strict=True)
        )
        assert same == (step % every != 0)
        if same:
            continue

        def penalty(params):
            run = lambda images: Player(()).apply({"params": params}, images).sum()
            squares = jnp.square(jax.grad(run)(batch)).sum(axis=(1, 2, 3))
            return 0.3 * every / 2 * squares.mean()

        grads = jax.grad(penalty)(usual.params)
        expected = jax.tree.map(lambda p, g: p - 0.1 * g, usual.params, grads)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            found.params,
            expected,
        )


def test_lazy_weights_are_multiplied_by_the_updates_between():
    config = Config(r1=0.5, penalty_every=4, d_steps=3)
    inputs = LossInputs(draw(4, 2, 2, 1), draw(4, 2, 2, 1), KEY, jnp.int32(0))
    critic = lambda key, images: jnp.square(images).sum(axis=(1, 2, 3))
    usual, lazy = (
        loss.discriminator(critic, inputs)[0]
        for loss in (r1(no_loss(), 0.5), build_lazy_penalties(config, config).loss)
    )
    np.testing.assert_allclose(lazy, 12 * usual, rtol=1e-6)


def test_lazy_penalties_are_refused_with_batch_norm():
    from jaxgan.networks import dcgan

    networks = dcgan((16, 16, 1), width=4)
    with pytest.raises(UsageError, match="penalizes gradients at single images"):
        gan(*networks, lazy_penalties=LazyPenalties(r1(no_loss(), 1.0), 2)).init(KEY)


def make_generator():
    options = NetworkOptions(style_mixing=0.0, mapping_layers=2)
    generator, discriminator = stylegan2((8, 8, 1), width=4, options=options)
    latents = draw(3, 5)
    return generator, discriminator, latents, generator.init(KEY, latents)


def test_path_lengths_are_norms_of_jacobians():
    generator, _, latents, variables = make_generator()
    found = measure_path_lengths(generator, variables, KEY, latents, None)
    noise_key, style_key = jax.random.split(KEY)
    settings = {"train": True, "mutable": True, "rngs": with_noise(style_key)}
    styles = generator.apply(variables, latents, method="styles")
    synthesize = lambda styles: generator.apply(variables, styles, method="synthesize", **settings)[
        0
    ]
    noise = jax.random.normal(noise_key, (3, 8, 8, 1)) / 8
    jacobian = jax.jacrev(synthesize)(styles)
    for i in range(3):
        rows = jnp.einsum("hwc,hwclk->lk", noise[i], jacobian[i, ..., i, :, :])
        expected = np.sqrt(np.square(rows).sum(axis=1).mean())
        np.testing.assert_allclose(found[i], expected, rtol=1e-3)


def test_path_lengths_are_penalized_every_fourth_step():
    generator, discriminator, _, _ = make_generator()
    plain, model = (
        gan(generator, discriminator, g_tx=optax.sgd(0.1), latent_size=5, path_length=penalty)
        for penalty in (None, PathLength(2.0))
    )
    state, batch = model.init(KEY), draw(4, 8, 8, 1)
    step, usual_step = jax.jit(model.step), jax.jit(plain.step)
    assert state.path_length == 0
    for number in range(5):
        at = state._replace(step=jnp.int32(number), path_length=jnp.float32(2.0))
        found, usual = (
            step(KEY, at, batch)[0],
            usual_step(KEY, at._replace(path_length=()), batch)[0],
        )
        changed = any(
            not np.allclose(a, b, rtol=1e-5, atol=1e-6)
            for a, b in zip(
                *(jax.tree.leaves(each.generator.params) for each in (found, usual)), strict=True
            )
        )
        assert changed == (number % 4 == 0) == (found.path_length != 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (NetworkOptions(g_norm="batch"), "stylegan2 has no norms: leave out --g-norm batch"),
        (NetworkOptions(d_norm="spectral"), "stylegan2 has no norms: leave out --d-norm spectral"),
        (NetworkOptions(g_conditioning="norm"), "leave out --g-conditioning norm"),
        (NetworkOptions(widths=(8, 8, 8)), "--widths needs 2 numbers for images of 8 x 8"),
    ],
)
def test_stylegan2_refuses_what_it_does_not_have(options, message):
    with pytest.raises(UsageError, match=message):
        stylegan2((8, 8, 1), num_classes=3, options=options)
