import contextlib
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.losses import LOSSES
from jaxgan.networks import NETWORKS, conv, dcgan, r3gan, resnet
from jaxgan.networks.r3gan import Block
from jaxgan.networks.r3gan import downsample as r3gan_downsample
from jaxgan.networks.r3gan import upsample as r3gan_upsample
from jaxgan.networks.resnet import downsample as resnet_downsample
from jaxgan.networks.shared import append_class_embedding, count_halvings, projection_head
from jaxgan.sampling import apply
from jaxgan.trees import leaves_by_path

KEY = jax.random.key(0)
SHAPES = [(28, 28, 1), (32, 32, 3), (8, 8, 2)]
CONVOLUTIONAL = [name for name in NETWORKS if name != "mlp"]


def shapes_of(generator, discriminator, latent_size=100, **settings):
    return jax.eval_shape(
        gan(generator, discriminator, latent_size=latent_size, **settings).init, KEY
    )


def count(player) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(player.params))


@pytest.mark.parametrize(("shape", "num_classes"), zip(SHAPES, (None, 5, None), strict=True))
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_match_each_other_and_the_images(name, shape, num_classes):
    generator, discriminator = NETWORKS[name](shape, True, 8, num_classes)
    model = gan(generator, discriminator, latent_size=6, num_classes=num_classes)

    def play(key):
        state = model.init(key)
        batch = jnp.zeros((4, *shape)), jnp.zeros(4, int)
        return model.step(key, state, batch), model.sample(key, state, 3)

    (state, metrics), images = jax.eval_shape(play, KEY)
    assert images.shape == (3, *shape)
    assert metrics.d_loss.shape == ()
    assert jax.tree.structure(state) == jax.tree.structure(jax.eval_shape(model.init, KEY))


def test_parameter_counts_match_the_papers():
    # R3GAN for CIFAR-10 without classes: 20.73 and 20.68 million (Huang et al. 2024, appendix D).
    state = shapes_of(*r3gan((32, 32, 3), width=768), latent_size=64)
    assert round(count(state.generator) / 1e6, 2) == 20.73
    assert round(count(state.discriminator) / 1e6, 2) == 20.68
    # SNGAN's ResNet for CIFAR-10, of its table 4, layer by layer.
    state = shapes_of(*resnet((32, 32, 3)), latent_size=128)
    kernel = lambda size, a, b: size * size * a * b + b
    block = 2 * kernel(3, 256, 256) + kernel(1, 256, 256) + 4 * 256
    generator = 129 * 16 * 256 + 3 * block + 2 * 256 + kernel(3, 256, 3)
    first = kernel(3, 3, 128) + kernel(3, 128, 128) + kernel(1, 3, 128)
    second = 2 * kernel(3, 128, 128) + kernel(1, 128, 128)
    discriminator = first + second + 2 * 2 * kernel(3, 128, 128) + 129
    assert (count(state.generator), count(state.discriminator)) == (generator, discriminator)
    # DCGAN for 28 x 28: 100-7x7x128-14x14x64-28x28x1 and back.
    state = shapes_of(*dcgan((28, 28, 1)))
    generator = 100 * 6272 + 2 * 128 + 16 * 128 * 64 + 2 * 64 + 16 * 64 + 1
    discriminator = 16 * 64 + 64 + 16 * 64 * 128 + 2 * 128 + 6272 + 1
    assert (count(state.generator), count(state.discriminator)) == (generator, discriminator)


@pytest.mark.parametrize("name", NETWORKS)
def test_width_increases_the_parameter_counts(name):
    small, large = (shapes_of(*NETWORKS[name]((8, 8, 1), width=width)) for width in (8, 16))
    assert count(small.generator) < count(large.generator)
    assert count(small.discriminator) < count(large.discriminator)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("shape", [(2,), (27, 27, 1), (100, 100, 1), (3, 3, 1)])
def test_unsupported_shapes_are_rejected(name, shape):
    with pytest.raises(UsageError, match=f"--network {name}"):
        NETWORKS[name](shape)


@pytest.mark.parametrize("shape", [(14, 14, 1), (10, 10, 1)])
def test_resnet_rejects_sides_not_divisible_by_four(shape):
    with pytest.raises(UsageError, match="resnet needs images whose sides are multiples of 4"):
        resnet(shape)


def test_r3gan_rejects_widths_not_divisible_by_eight():
    with pytest.raises(UsageError, match="--width 20 of r3gan must be a multiple of 8"):
        r3gan((8, 8, 1), width=20)


def test_sizes_are_halved_to_at_least_four_pixels():
    assert count_halvings((28, 28, 1), "dcgan") == (2, (7, 7))
    assert count_halvings((32, 32, 3), "dcgan") == (3, (4, 4))
    assert count_halvings((64, 32, 3), "dcgan") == (3, (8, 4))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("player", [0, 1])
def test_both_networks_use_the_labels(name, player):
    network = NETWORKS[name]((8, 8, 1), True, 8, 3)[player]
    inputs = jax.random.normal(KEY, ((4, 6), (4, 8, 8, 1))[player])
    run = jax.jit(network.init_with_output)
    zeros, variables = run(KEY, inputs, jnp.zeros(4, int))
    apply = jax.jit(lambda labels: network.apply(variables, inputs, labels))
    np.testing.assert_allclose(apply(jnp.zeros(4, int)), zeros, rtol=1e-5, atol=1e-6)
    assert not np.allclose(apply(jnp.array([0, 0, 2, 0]))[2], zeros[2], rtol=1e-3)
    np.testing.assert_allclose(apply(jnp.array([0, 0, 2, 0]))[0], zeros[0], rtol=1e-4, atol=1e-5)


class Head(nn.Module):
    @nn.compact
    def __call__(self, features, labels):
        return projection_head(features, labels, 3)


class Stem(nn.Module):
    @nn.compact
    def __call__(self, latents, labels):
        return append_class_embedding(latents, labels, 3)


def test_projection_head_and_class_embedding():
    features, labels = jax.random.normal(KEY, (2, 5)), jnp.array([[0, 2], [1, 1]])
    _, variables = Head().init_with_output(KEY, features, labels)
    dense, embedding = variables["params"]["Dense_0"], variables["params"]["Embed_0"]["embedding"]
    linear = features @ dense["kernel"][:, 0] + dense["bias"]
    single = Head().apply(variables, features, labels[:, 0])
    expected = linear + (embedding[labels[:, 0]] * features).sum(1)
    np.testing.assert_allclose(single, expected, rtol=1e-5)
    packed = Head().apply(variables, features, labels)
    expected = linear + (embedding[labels].sum(1) * features).sum(1)
    np.testing.assert_allclose(packed, expected, rtol=1e-5)
    out, variables = Stem().init_with_output(KEY, features, labels[:, 0])
    embedding = variables["params"]["Embed_0"]["embedding"]
    np.testing.assert_array_equal(out[:, :5], features)
    np.testing.assert_array_equal(out[:, 5:], embedding[labels[:, 0]])


def test_class_embeddings_are_small_at_initialization():
    """Embeddings as long as latents would dominate them: images of a class would be alike."""
    latents, labels = jax.random.normal(KEY, (3, 400)), jnp.arange(3)
    joint, _ = Stem().init_with_output(KEY, latents, labels)
    np.testing.assert_allclose(jnp.linalg.norm(joint[:, 400:], axis=1), 1, rtol=0.2)


def test_spectral_norms_converge():
    """After power iterations each estimate is the largest singular value of its kernel."""
    _, discriminator = resnet((8, 8, 1), width=16)
    x = jax.random.normal(KEY, (2, 8, 8, 1))
    variables = jax.jit(discriminator.init)(KEY, x)
    assert set(variables) == {"params", "batch_stats"}
    run = jax.jit(lambda v: discriminator.apply(v, x, train=True, mutable=["batch_stats"])[1])
    for _ in range(100):
        variables = {**variables, **run(variables)}
    sigmas, kernels = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.flatten_with_path(tree)[0]}
        for tree in (variables["batch_stats"], variables["params"])
    )
    largest = sorted(
        float(np.linalg.norm(leaf.reshape(-1, leaf.shape[-1]), 2))
        for path, leaf in kernels.items()
        if "kernel" in path
    )
    kept = sorted(float(leaf) for path, leaf in sigmas.items() if "sigma" in path)
    assert len(kept) == 11
    np.testing.assert_allclose(kept, largest, rtol=0.02)
    # The logits do not depend on the scale of the kernels.
    logits = discriminator.apply(variables, x)
    grown = jax.tree.map(lambda leaf: leaf * (4.0 if leaf.ndim > 1 else 1.0), variables["params"])
    same = discriminator.apply({**variables, "params": grown}, x)
    np.testing.assert_allclose(same, logits, rtol=1e-3, atol=1e-4)


def test_r3gan_has_fixup_initialization():
    block = Block(blocks=16)
    x = jax.random.normal(KEY, (2, 4, 4, 32))
    out, variables = block.init_with_output(KEY, x)
    np.testing.assert_array_equal(out, x)
    params = variables["params"]
    gain = math.sqrt(2 / 1.04) * 16**-0.25
    assert params["Conv_1"]["kernel"].shape == (3, 3, 16, 64)
    np.testing.assert_allclose(params["Conv_0"]["kernel"].std(), gain / math.sqrt(32), rtol=0.05)
    np.testing.assert_allclose(params["Conv_1"]["kernel"].std(), gain / math.sqrt(144), rtol=0.05)
    assert set(params["Conv_2"]) == {"kernel"}
    state = shapes_of(*r3gan((8, 8, 1), width=8))
    assert state.generator.stats == state.discriminator.stats == {}


RESAMPLINGS = {
    "r3gan doubled": r3gan_upsample,
    "r3gan halved": r3gan_downsample,
    "doubled": conv.upsample,
    "resnet halved": resnet_downsample,
    "convolution of doubled": lambda x: conv.upsample_conv(x, jnp.ones((3, 3, 1, 1)) / 9),
}


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("name", RESAMPLINGS)
def test_resamplings_are_symmetric(name, axis):
    x = jax.random.normal(KEY, (2, 8, 12, 1))
    flipped = RESAMPLINGS[name](jnp.flip(x, axis))
    np.testing.assert_allclose(flipped, jnp.flip(RESAMPLINGS[name](x), axis), atol=1e-5)


EDGES = {
    "r3gan doubled": [0.75, *[1] * 14, 0.75],
    "r3gan halved": [0.875, 1, 1, 0.875],
    "doubled": [1] * 16,
    "resnet halved": [1] * 4,
    "convolution of doubled": [2 / 3, *[1] * 14, 2 / 3],
}


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_resamplings_at_the_border(name):
    found = RESAMPLINGS[name](jnp.ones((1, 8, 8, 1)))[0, :, :, 0]
    np.testing.assert_allclose(found, np.outer(EDGES[name], EDGES[name]), rtol=1e-5)


def test_r3gan_resamples_with_the_filter_1_3_3_1():
    impulse = jnp.zeros((1, 8, 8, 1)).at[0, 4, 4, 0].set(1.0)
    expected, taps = np.zeros((16, 16)), np.array([0.25, 0.75, 0.75, 0.25])
    expected[7:11, 7:11] = np.outer(taps, taps)
    np.testing.assert_allclose(r3gan_upsample(impulse)[0, :, :, 0], expected)
    halved = np.asarray(r3gan_downsample(impulse))[0, :, :, 0]
    np.testing.assert_allclose(halved[1:3, 1:3], np.outer([0.125, 0.375], [0.125, 0.375]))


def test_r3gan_logits_are_products_with_the_class_embedding():
    network = r3gan((8, 8, 1), width=8, num_classes=3)[1]
    x, labels = jax.random.normal(KEY, (2, 8, 8, 1)), jnp.array([0, 2])
    _, variables = network.init_with_output(KEY, x, labels)
    params = dict(variables["params"])
    (name,) = (name for name in params if name.startswith("Embed"))
    silent = {**params, name: jax.tree.map(jnp.zeros_like, params[name])}
    np.testing.assert_array_equal(network.apply({"params": silent}, x, labels), [0, 0])


STEP = {"mlp": {}, "dcgan": {}, "resnet": {"loss": "hinge"}, "r3gan": {"loss": "relativistic"}}


def make_model(name, dtype):
    generator, discriminator = NETWORKS[name]((8, 8, 1), True, 16, 3)
    loss = LOSSES[STEP[name].get("loss", "non_saturating")]()
    return gan(generator, discriminator, loss=loss, num_classes=3, latent_size=8, dtype=dtype)


BATCH = jnp.zeros((8, 8, 8, 1)), jnp.arange(8) % 3


@pytest.mark.parametrize("name", NETWORKS)
def test_step_has_no_16_bit_reductions(name):
    model = make_model(name, jnp.bfloat16)
    state = jax.eval_shape(model.init, KEY)
    with allow_f16_reductions(False):
        jax.jit(model.step).lower(KEY, state, BATCH)
        with pytest.raises(ValueError, match="reduce"):
            jax.jit(lambda x: lax.reduce(x, np.array(0, x.dtype), lax.add, (0,))).lower(
                jnp.ones(4, jnp.bfloat16)
            )


def test_bias_gradient_in_bfloat16_is_exact():
    layer = conv.Conv(1, 1)
    x = jnp.zeros((64, 32, 32, 1), jnp.bfloat16)
    variables = layer.init(KEY, x)
    total = lambda v: layer.apply(v, x).astype(jnp.float32).sum()
    assert jax.grad(total)(variables)["params"]["bias"][0] == 64 * 32 * 32


@contextlib.contextmanager
def allow_f16_reductions(allowed):
    before = jax.config.jax_allow_f16_reductions
    jax.config.update("jax_allow_f16_reductions", allowed)
    try:
        yield
    finally:
        jax.config.update("jax_allow_f16_reductions", before)


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_gradients_match_float32(name, player):
    """Each leaf to a fifth of its norm plus a hundredth of the norm of the full gradient.

    The gradient of a bias before batch norm is only rounding error.
    """
    network = NETWORKS[name]((8, 8, 1), True, 16)[player]
    shape = ((64, 8), (64, 8, 8, 1))[player]
    inputs = jax.random.normal(KEY, shape)
    init = jax.jit(lambda key: network.init(key, inputs))
    weights = jax.random.normal(
        jax.random.key(1), jax.eval_shape(network.apply, init(KEY), inputs).shape
    )
    variables = init(KEY)
    # Weights that are zero at initialization would block the gradients of others.
    params = jax.tree.map(lambda x: x + 0.02 * jax.random.normal(KEY, x.shape), variables["params"])
    rest = {name: x for name, x in variables.items() if name != "params"}

    @partial(jax.jit, static_argnums=1)
    def gradients(params, dtype):
        def objective(params):
            out, _ = apply(
                network,
                {"params": params, **rest},
                inputs,
                None,
                dtype,
                train=True,
                mutable=["batch_stats"],
            )
            return (out * weights).mean()

        return jax.grad(objective)(params)

    exact, found = (
        leaves_by_path(gradients(params, None)),
        leaves_by_path(gradients(params, jnp.bfloat16)),
    )
    whole = np.sqrt(sum(np.square(leaf).sum() for leaf in exact.values()))
    for path, leaf in exact.items():
        error = np.linalg.norm(found[path] - leaf)
        assert error <= 0.2 * np.linalg.norm(leaf) + 0.01 * whole, path
