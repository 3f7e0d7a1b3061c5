import contextlib
import itertools
import math
import subprocess
import sys
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.losses import LOSSES, HeadOutputs, auxiliary_classifier, rotation, slicing
from jaxgan.networks import (
    NETWORKS,
    Heads,
    NetworkOptions,
    biggan,
    conv,
    dcgan,
    maxout,
    mlp,
    r3gan,
    resnet,
    sagan,
    stacked,
)
from jaxgan.networks.attention import SelfAttention
from jaxgan.networks.biggan import split_latents
from jaxgan.networks.heads import projection_head
from jaxgan.networks.norms import NORMS, OF_ACTIVATIONS, has_bias, normalize
from jaxgan.networks.options import DEFAULTS
from jaxgan.networks.r3gan import Block
from jaxgan.networks.resampling import downsample as r3gan_downsample
from jaxgan.networks.resampling import upsample as r3gan_upsample
from jaxgan.networks.resnet import downsample as resnet_downsample
from jaxgan.networks.shared import append_class_embedding, count_halvings
from jaxgan.networks.stacked import crop
from jaxgan.sampling import apply, with_noise
from jaxgan.trees import leaves_by_path

KEY = jax.random.key(0)
SHAPES = [(28, 28, 1), (32, 32, 3), (8, 8, 2)]
CONVOLUTIONAL = [name for name in NETWORKS if name not in ("mlp", "maxout")]


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
    # PacGAN for mixtures: 2-400-400-400-400-2, and three layers of 200 units with 5 pieces each.
    for pack in (1, 4):
        state = shapes_of(*maxout((2,), False), latent_size=2, pack=pack)
        generator = 2 * 400 + 3 * 400 * 400 + 4 * 2 * 400 + 400 * 2 + 2
        discriminator = (2 * pack + 1) * 1000 + 2 * 201 * 1000 + 201
        assert (count(state.generator), count(state.discriminator)) == (generator, discriminator)
    # Unrolled GANs for stacked MNIST: 4x4x64, 7x7x32, 14x14x16, 28x28x8, 28x28x3, and back.
    for width in (2, 4):
        state = shapes_of(*stacked((28, 28, 3), width=width), latent_size=256)
        channels = [64, 32, 16, 8]
        layers = sum(9 * a * b for a, b in itertools.pairwise(channels))
        generator = 256 * 1024 + layers + 2 * sum(channels) + 9 * 8 * 3 + 3
        layers = 9 * (3 * width + width * 2 * width + 2 * width * 4 * width)
        discriminator = layers + 2 * 7 * width + 4 * 4 * 4 * width + 1
        assert (count(state.generator), count(state.discriminator)) == (generator, discriminator)


def test_biggan_has_the_parameters_of_studiogan():
    """Layer by layer, for 32 pixels and 10 classes, and for 64 pixels and 200 classes."""
    kernel = lambda size, a, b: size * size * a * b + b
    attention = lambda c: 2 * c * (c // 8) + 2 * c * (c // 2) + 1
    for size, latent_size, classes, g_widths, d_widths, halvings in (
        (32, 80, 10, (384,) * 4, (192,) * 4, 2),
        (64, 100, 200, (1280, 640, 320, 160, 80), (80, 160, 320, 640, 1280), 4),
    ):
        state = shapes_of(
            *biggan((size, size, 3), num_classes=classes), latent_size, num_classes=classes
        )
        part = latent_size // len(g_widths)
        generator = classes * 128 + kernel(1, part, 16 * g_widths[0])
        for a, b in itertools.pairwise(g_widths):
            generator += (
                2 * (128 + part) * (a + b) + kernel(1, a, b) + kernel(3, a, b) + kernel(3, b, b)
            )
        generator += attention(g_widths[-2]) + 2 * g_widths[-1] + kernel(3, g_widths[-1], 3)
        discriminator = attention(d_widths[0]) + (d_widths[-1] + 1) + classes * d_widths[-1]
        for i, (a, b) in enumerate(itertools.pairwise((3, *d_widths))):
            shortcut = kernel(1, a, b) if i < halvings or a != b else 0
            discriminator += kernel(3, a, b) + kernel(3, b, b) + shortcut
        assert (count(state.generator), count(state.discriminator)) == (generator, discriminator)


def test_attention_is_a_weighted_mean_of_values():
    x = jax.random.normal(KEY, (2, 4, 6, 16))
    layer = SelfAttention()
    out, variables = layer.init_with_output(KEY, x)
    np.testing.assert_array_equal(out, x)  # Its gain is 0 at first.
    params = variables["params"] | {"gain": jnp.float32(0.7)}
    found = layer.apply({"params": params}, x)
    queries, keys, values, last = (
        np.asarray(params[f"Conv_{i}"]["kernel"][0, 0], np.float64) for i in range(4)
    )
    exact = np.asarray(x, np.float64)
    pool = lambda y: y.reshape(2, 2, 2, 3, 2, -1).max(axis=(2, 4)).reshape(2, 6, -1)
    similar = (exact @ queries).reshape(2, 24, -1) @ pool(exact @ keys).transpose(0, 2, 1)
    weights = np.exp(similar) / np.exp(similar).sum(axis=-1, keepdims=True)
    means = (weights @ pool(exact @ values)).reshape(2, 4, 6, -1)
    np.testing.assert_allclose(found, exact + 0.7 * means @ last, rtol=1e-4, atol=1e-5)


MEMBERS = """
import jax
from jaxgan.networks import NETWORKS
network, _ = NETWORKS["biggan"]((8, 8, 1), True, 8, 3)
init = lambda key: network.init(key, jax.numpy.zeros((2, 12)), jax.numpy.zeros(2, int))["params"]
keys = jax.random.split(jax.random.key(0), 3)
found, alone = jax.jit(jax.vmap(init))(keys), jax.jit(init)(keys[1])
same = jax.tree.map(lambda a, b: jax.numpy.allclose(a[1], b, rtol=1e-4, atol=1e-5), found, alone)
print(all(jax.tree.leaves(same)))
"""


def test_orthogonal_kernels_of_several_members():
    """In a process of its own, because it would not end."""
    command = [sys.executable, "-c", MEMBERS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "True\n", done.stderr


def test_biggan_gives_each_part_of_the_latents_to_one_layer():
    parts = split_latents(jnp.arange(11)[None], 4)
    assert [part[0].tolist() for part in parts] == [[0, 1, 2, 3, 4], [5, 6], [7, 8], [9, 10]]
    with pytest.raises(UsageError, match="--latent-size 3 is below 4, the number of parts"):
        split_latents(jnp.zeros((1, 3)), 4)
    generator, _ = biggan((16, 16, 1), width=4)
    latents = jax.random.normal(KEY, (4, 9))
    variables = generator.init(KEY, latents)
    blocks = lambda latents: [
        np.asarray(found["__call__"][0])
        for name, found in sorted(
            generator.apply(
                variables,
                latents,
                capture_intermediates=lambda module, _: "GeneratorBlock" in (module.name or ""),
                mutable=["intermediates"],
            )[1]["intermediates"].items()
        )
    ]
    usual = blocks(latents)
    assert len(usual) == 2
    for changed, first in (((0,), 0), ((3,), 0), ((8,), 1)):
        moved = blocks(latents.at[:, list(changed)].add(1.0))
        same = [np.array_equal(a, b) for a, b in zip(usual, moved, strict=True)]
        assert same == [i < first for i in range(2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            NetworkOptions(g_norm="none"),
            "--network biggan needs --g-norm batch, layer, instance or",
        ),
        (NetworkOptions(g_conditioning="norm"), "leave out --g-conditioning norm"),
    ],
)
def test_biggan_refuses_what_it_does_by_itself(options, message):
    with pytest.raises(UsageError, match=message):
        biggan((8, 8, 1), num_classes=3, options=options)


def test_stacked_crops_to_the_transpose_of_a_convolution():
    x, kernel, y = (jax.random.normal(KEY, s) for s in ((2, 7, 7, 3), (3, 3, 3, 5), (2, 4, 4, 5)))
    _, transpose = jax.vjp(lambda x: conv.conv(x, kernel, 2), x)
    found = crop(conv.conv_transpose(y, kernel, 2), 7, 7)
    np.testing.assert_allclose(found, transpose(y)[0], atol=1e-5)


def test_maxout_is_the_largest_of_linear_functions():
    _, discriminator = maxout((2,), False, 3)
    points = jax.random.normal(KEY, (5, 2))
    variables = discriminator.init(KEY, points)
    x = np.asarray(points)
    for layer in ("Dense_0", "Dense_1", "Dense_2"):
        weights = jax.tree.map(np.asarray, variables["params"][layer])
        pieces = (x @ weights["kernel"] + weights["bias"]).reshape(5, 5, 3)
        x = pieces.max(axis=1)
    last = variables["params"]["Dense_3"]
    expected = (x @ last["kernel"] + last["bias"])[:, 0]
    np.testing.assert_allclose(discriminator.apply(variables, points), expected, atol=1e-6)


CONDITIONAL = NetworkOptions(g_conditioning="norm")
COUNTS = [
    (resnet, 32, None, DEFAULTS, 4_276_739, 1_053_825),
    (resnet, 32, 10, CONDITIONAL, 4_304_387, 1_055_105),
    (resnet, 32, None, NetworkOptions(heads=Heads(rotation=True)), 4_276_739, 1_054_341),
    (resnet, 48, None, DEFAULTS, 4_878_083, 10_141_441),
    (resnet, 64, None, DEFAULTS, 12_220_675, 10_141_441),
    (resnet, 128, None, DEFAULTS, 32_150_787, 29_017_857),
    (sagan, 32, 10, CONDITIONAL, 4_386_308, 1_075_586),
    (r3gan, 32, 10, DEFAULTS, 20_781_952, 21_280_512),
]
"""Parameters of mimicry's SNGAN, cGAN-PD, SSGAN and SAGAN, and of R3GAN's code for CIFAR-10."""


@pytest.mark.parametrize(("family", "size", "num_classes", "options", "of_g", "of_d"), COUNTS)
def test_parameter_counts_match_other_code(family, size, num_classes, options, of_g, of_d):
    shape, width = (size, size, 3), 768 if family is r3gan else None
    latents = jnp.zeros((1, 64 if family is r3gan else 128))
    labels = None if num_classes is None else jnp.zeros(1, int)
    networks = family(shape, True, width, num_classes, options)
    found = [
        sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        for network, inputs in zip(networks, (latents, jnp.zeros((1, *shape))), strict=True)
        for variables in [jax.eval_shape(network.init, KEY, inputs, labels)]
    ]
    assert found == [of_g, of_d]


NORMED = [
    (name, norm, conditioning)
    for name in NETWORKS
    if name != "stylegan2"  # It has none.
    for norm in NORMS
    for conditioning in ("embedding", "norm")
    if norm != "instance" or name in CONVOLUTIONAL
    if conditioning == "embedding" or norm in OF_ACTIVATIONS
    if name != "biggan" or (conditioning == "embedding" and norm in OF_ACTIVATIONS)
]


@pytest.mark.parametrize(("name", "norm", "conditioning"), NORMED)
def test_every_family_has_every_norm(name, norm, conditioning):
    options = NetworkOptions(norm, norm, conditioning)
    inputs, labels = (jnp.zeros((4, 6)), jnp.zeros((4, 16, 16, 1))), jnp.zeros(4, int)
    networks = NETWORKS[name]((16, 16, 1), True, 8, 5, options)
    for network, x, shape in zip(networks, inputs, ((4, 16, 16, 1), (4,)), strict=True):
        run = partial(network.init_with_output, train=True)
        out, variables = jax.eval_shape(run, KEY, x, labels)
        assert (out.shape, out.dtype) == (shape, jnp.float32)
        paths = leaves_of(variables)
        by_class = conditioning == "norm" and network is networks[0]
        of_params = [path for path in paths if "'params'" in path]
        scaled = any("scale" in path for path in of_params)
        embedded = sum("embedding" in path for path in of_params)
        # These generators have no classes in their last norm, as in the authors' code.
        unconditional = not by_class or name in ("resnet", "sagan")
        assert scaled == (norm in OF_ACTIVATIONS and unconditional)
        assert embedded > 1 if by_class else embedded == 1
        assert any("'mean'" in path for path in paths) == (norm in ("batch", "spectral_batch"))
        assert any("sigma" in path for path in paths) == (norm in ("spectral", "spectral_batch"))
        assert has_bias(norm) == (norm not in OF_ACTIVATIONS)


def leaves_of(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.flatten_with_path(tree)[0]}


class Norm(nn.Module):
    norm: str
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x, labels=None, train=True):
        return normalize(x, self.norm, train, labels, self.num_classes)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_normalize_over_their_axes(norm):
    # The mean and the deviation of every channel of every example are different.
    x = jax.random.normal(KEY, (4, 5, 6, 3)) * jnp.arange(1.0, 13).reshape(4, 1, 1, 3) + 2
    found, variables = Norm(norm).init_with_output(KEY, x)
    if norm not in OF_ACTIVATIONS:
        assert found is x
        assert not variables
        return
    batch = norm in ("batch", "spectral_batch")
    axes = {"layer": (1, 2, 3), "instance": (1, 2)}.get(norm, (0, 1, 2))
    exact = np.asarray(x, np.float64)
    mean, deviation = (f(axis=axes, keepdims=True) for f in (exact.mean, exact.std))
    np.testing.assert_allclose(found, (exact - mean) / deviation, rtol=1e-3, atol=1e-4)
    # The scale and the offset are those of channels.
    assert {leaf.shape for leaf in jax.tree.leaves(variables["params"])} == {(3,)}
    if batch:
        same = Norm(norm).apply(variables, x, train=False)
        mean, var = variables["batch_stats"]["BatchNorm_0"].values()
        np.testing.assert_allclose(same, (x - mean) / jnp.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    labels, layer = jnp.array([0, 2, 1, 2]), Norm(norm, 3)
    same, variables = layer.init_with_output(KEY, x, labels)
    np.testing.assert_allclose(same, found, rtol=1e-5, atol=1e-6)
    scale, offset = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    tables = {"Embed_0": {"embedding": scale}, "Embed_1": {"embedding": offset}}
    assert {k: v["embedding"].shape for k, v in variables["params"].items()} == {
        "Embed_0": (3, 3),
        "Embed_1": (3, 3),
    }
    out, _ = layer.apply({**variables, "params": tables}, x, labels, mutable=["batch_stats"])
    expected = found * scale[labels][:, None, None] + offset[labels][:, None, None]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_of_vectors(norm):
    x = 3 * jax.random.normal(KEY, (6, 4)) + 2
    found, _ = Norm(norm).init_with_output(KEY, x)
    axis, exact = {"batch": 0, "layer": 1}[norm], np.asarray(x, np.float64)
    expected = (exact - exact.mean(axis, keepdims=True)) / exact.std(axis, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("player", [0, 1])
def test_mlp_has_no_instance_norm(player):
    options = NetworkOptions("instance", "instance")
    network = mlp((4, 4, 1), True, 8, None, options)[player]
    with pytest.raises(UsageError, match="instance norm needs convolutional networks"):
        network.init(KEY, (jnp.zeros((2, 6)), jnp.zeros((2, 4, 4, 1)))[player])


ALL_HEADS = [
    Heads(conditioning, rotation, slicing)
    for conditioning in ("projection", "auxiliary_classifier", "data_to_data_cross_entropy")
    for rotation in (False, True)
    for slicing in (False, True)
]


@pytest.mark.parametrize("num_classes", [None, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_discriminators_have_the_heads_that_are_asked_for(name, num_classes):
    labels = None if num_classes is None else jnp.zeros(4, int)
    for heads in ALL_HEADS:
        network = NETWORKS[name]((8, 8, 1), True, 8, num_classes, NetworkOptions(heads=heads))[1]
        images = jnp.zeros((4, 8, 8, 1), jnp.bfloat16)
        out, variables = jax.eval_shape(network.init_with_output, KEY, images, labels)
        projected = num_classes is not None and heads.conditioning == "projection"
        of_classes = num_classes is not None and not projected
        expected = {"logits": (4,)}
        if of_classes and heads.conditioning == "auxiliary_classifier":
            expected["classes"] = (4, 5)
        if of_classes and heads.conditioning == "data_to_data_cross_entropy":
            expected |= {"embeddings": (4, 512), "proxies": (4, 512)}
        if heads.rotation:
            expected["rotations"] = (4, 4)
        if heads.slicing:
            expected["directions"] = (4,)
        if len(expected) == 1:
            out = HeadOutputs(out)
        assert {k: v.shape for k, v in out._asdict().items() if v is not None} == expected
        assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}
        embedded = any("embedding" in path for path in leaves_of(variables))
        assert embedded == (projected or "proxies" in expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_width_increases_the_parameter_counts(name):
    small, large = (shapes_of(*NETWORKS[name]((8, 8, 1), width=width)) for width in (8, 16))
    fixed = name == "stacked"  # Its generator has one width.
    assert (count(small.generator) < count(large.generator)) != fixed
    assert count(small.discriminator) < count(large.discriminator)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("shape", [(2,), (27, 27, 1), (100, 100, 1), (3, 3, 1)])
def test_unsupported_shapes_are_rejected(name, shape):
    if name == "stacked" and len(shape) == 3:
        shape = shape[:2]  # It has images of any size.
    with pytest.raises(UsageError, match=f"--network {name}"):
        NETWORKS[name](shape)


@pytest.mark.parametrize("shape", [(14, 14, 1), (10, 10, 1)])
def test_resnet_rejects_sides_not_divisible_by_four(shape):
    with pytest.raises(UsageError, match="resnet needs images whose sides are multiples of 4"):
        resnet(shape)


def test_r3gan_rejects_widths_not_divisible_by_eight():
    with pytest.raises(UsageError, match="--width 20 of r3gan must be a multiple of 8"):
        r3gan((8, 8, 1), width=20)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"r3gan", "stylegan2"}))
def test_other_families_have_no_widths_for_each_size(name):
    with pytest.raises(UsageError, match="--widths needs --network r3gan or stylegan2"):
        NETWORKS[name]((8, 8, 1), options=NetworkOptions(widths=(8, 8)))


@pytest.mark.parametrize("widths", [(16, 8), (8,) * 4])
def test_r3gan_needs_a_width_for_each_size(widths):
    with pytest.raises(UsageError, match=f"--widths.*3.*has {len(widths)}"):
        r3gan((16, 16, 1), options=NetworkOptions(widths=widths))
    with pytest.raises(UsageError, match="--widths 20 of r3gan must be a multiple of 8"):
        r3gan((16, 16, 1), options=NetworkOptions(widths=(32, 20, 8)))


def test_r3gan_has_a_width_for_each_size():
    networks = r3gan((16, 16, 1), options=NetworkOptions(widths=(32, 16, 8)))
    generator, discriminator = (
        jax.eval_shape(network.init, KEY, inputs)["params"]
        for network, inputs in zip(
            networks, (jnp.zeros((1, 6)), jnp.zeros((1, 16, 16, 1))), strict=True
        )
    )
    assert generator["basis"].shape == discriminator["basis"].shape == (4, 4, 32)
    inner = lambda params: [params[f"Block_{i}"]["Conv_0"]["kernel"].shape[2:] for i in range(6)]
    assert inner(generator) == [(k, 2 * k) for k in (32, 32, 16, 16, 8, 8)]
    assert inner(discriminator) == inner(generator)[::-1]
    same, usual = (
        r3gan((16, 16, 1), width=width, options=NetworkOptions(widths=widths))
        for width, widths in ((None, (16,) * 3), (16, ()))
    )
    assert same == usual


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


@pytest.mark.parametrize(("name", "layers"), [("resnet", 11), ("mlp", 3), ("dcgan", 3)])
def test_spectral_norms_converge(name, layers):
    """After power iterations each estimate is the largest singular value of its kernel."""
    size = 16 if name == "dcgan" else 8
    options = NetworkOptions(d_norm="spectral")
    _, discriminator = NETWORKS[name]((size, size, 1), True, 16, None, options)
    x = jax.random.normal(KEY, (2, size, size, 1))
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
    assert len(kept) == layers
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


LOSS_OF = {"resnet": "hinge", "sagan": "hinge", "biggan": "hinge", "r3gan": "relativistic"}
"""The losses of families, if they are not the default."""


def make_model(name, dtype, options=DEFAULTS, size=8):
    generator, discriminator = NETWORKS[name]((size, size, 1), True, 16, 3, options)
    loss = LOSSES[LOSS_OF.get(name, "non_saturating")]()
    if options.heads.conditioning == "auxiliary_classifier":
        loss = slicing(rotation(auxiliary_classifier(loss, 1.0), 1.0, 1.0))
    return gan(generator, discriminator, loss=loss, num_classes=3, latent_size=8, dtype=dtype)


OPTIONS = [
    *((name, DEFAULTS) for name in NETWORKS),
    ("dcgan", NetworkOptions("layer", "layer", "norm")),
    ("dcgan", NetworkOptions("instance", "instance", "norm")),
    ("dcgan", NetworkOptions("batch", "spectral", "norm")),
    ("mlp", NetworkOptions("layer", "batch", "norm")),
    ("mlp", NetworkOptions(heads=Heads("auxiliary_classifier", True, True))),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_step_has_no_16_bit_reductions(name, options):
    # A discriminator for 16 pixels has a second convolution, which is the first with a norm.
    size = 8 if options == DEFAULTS else 16
    model = make_model(name, jnp.bfloat16, options, size)
    state = jax.eval_shape(model.init, KEY)
    with allow_f16_reductions(False):
        batch = jnp.zeros((8, size, size, 1)), jnp.arange(8) % 3
        jax.jit(model.step).lower(KEY, state, batch)
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
                mutable=list(rest),
                rngs=with_noise(KEY),
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
