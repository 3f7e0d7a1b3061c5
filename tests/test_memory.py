"""Gradient accumulation and rematerialization: the same step in less memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close

from jaxgan.data import from_arrays
from jaxgan.devices import accumulate, draw_rows, own_rows, part_of_batch
from jaxgan.errors import UsageError
from jaxgan.feedback import FeedbackState
from jaxgan.networks import NETWORKS, NetworkOptions
from jaxgan.parallel.transforms import over_devices, scan_steps
from jaxgan.runs import build, build_optimizers
from jaxgan.runs.config import Config, check_config
from jaxgan.trees import leaves_by_path

KEY = jax.random.key(3)
BASE = Config(batch_size=8, latent_size=6, width=8, ema_half_life=100)
BLOCKS = ("resnet", "sagan", "biggan", "stylegan2", "r3gan")
"""The families that have blocks."""


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    return from_arrays(rng.integers(0, 256, (60, 8, 8, 1), np.uint8), rng.integers(0, 3, 60))


def test_parts_have_their_own_rows_of_the_same_numbers():
    whole = jax.random.normal(KEY, (6, 2))
    for part in range(3):
        with part_of_batch(3, part):
            drawn = draw_rows(jax.random.normal, KEY, (2, 2))
            np.testing.assert_array_equal(own_rows(whole), drawn)
        np.testing.assert_array_equal(drawn, whole[part::3])


def test_accumulation_computes_means_and_keeps_the_order():
    rows = jnp.arange(12.0).reshape(6, 2)

    def function(own):
        noise = draw_rows(jax.random.normal, KEY, (len(own),))
        return own.mean(axis=0), (own[:, 0], noise), 5.0

    means, (first, noise), same = accumulate(3, function, rows)
    expected = function(rows)
    np.testing.assert_allclose(means, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(first, rows[:, 0])
    np.testing.assert_array_equal(noise, expected[1][1])
    assert same == 5.0


CASES = {
    "penalties": {
        "r1": 0.5,
        "r2": 0.5,
        "loss": "relativistic",
        "fresh_generator_batch": True,
        "instance_noise": 0.1,
    },
    "augmentation": {
        "augment": ("translation", "ada_color"),
        "augment_target": 0.6,
        "conditional": True,
        "d_steps": 2,
        "pack": 2,
    },
    "lazy penalties": {"r1": 0.5, "gradient_penalty": 1.0, "penalty_every": 2, "d_norm": "layer"},
    "heads": {
        "conditional": True,
        "d_conditioning": "auxiliary_classifier",
        "rotation": 1.0,
        "g_rotation": 0.2,
        "d_norm": "spectral",
        "g_norm": "spectral",
        "latent_consistency": 5.0,
    },
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("devices", [1, 2])
def test_accumulated_steps_are_those_of_the_whole_batch(case, devices, dataset):
    def run(count, devices):
        config = dataclasses.replace(BASE, accumulate=count, **CASES[case])
        check_config(config)
        tx = optax.sgd(0.05)  # Adam would turn rounding errors into full-size steps.
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(build, "build_optimizers", lambda config, values: (tx, tx))
            model = build.build_gan(config, dataset)
        state = jax.jit(model.init)(KEY)
        if state.feedback:
            feedback = FeedbackState(jnp.float32(0.5), jnp.float32(2.0))
            state = state._replace(feedback=feedback, step=jnp.int32(3))
        train = scan_steps(model, build_optimizers.images_per_step(config), 2)
        if devices == 1:
            return jax.jit(train)(KEY, state, dataset)
        return over_devices(train, jax.devices()[:devices])(KEY, state, dataset)

    assert_close(run(2, devices), run(1, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 0.5}, "--accumulate cannot be combined with --top-k"),
        ({"loss": "relativistic_average"}, "combined with --loss relativistic_average"),
        ({"dragan": 1.0}, "combined with --dragan"),
        ({"lecam": 1.0}, "combined with --lecam"),
        ({"network": "stylegan2"}, "combined with --network stylegan2"),
        ({"batch_size": 9}, "--batch-size 9 must be a multiple of --accumulate 2"),
    ],
)
def test_what_needs_the_whole_batch_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        check_config(dataclasses.replace(BASE, accumulate=2, **settings))


def test_batch_norm_is_refused(dataset):
    model = build.build_gan(dataclasses.replace(BASE, accumulate=2, network="dcgan"), dataset)
    with pytest.raises(UsageError, match="--accumulate needs networks without batch norm"):
        model.init(KEY)


def gradient_of(network, variables, inputs):
    """Returns a function from parameters to the gradient of the mean square of the outputs."""
    rest = {name: each for name, each in variables.items() if name != "params"}

    def cost(params):
        settings = {"train": True, "mutable": list(rest), "rngs": {"noise": KEY}}
        out, changed = network.apply({"params": params, **rest}, *inputs, **settings)
        return jnp.square(out).mean(), changed

    return jax.jit(jax.grad(cost, has_aux=True))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("player", [0, 1])
def test_rematerialization_computes_the_same_gradients(name, player):
    """With more convolutions, in a program for a GPU: on a CPU, XLA merges equal ones."""
    plain, remat = (
        NETWORKS[name]((16, 16, 1), True, 16, 3, NetworkOptions(remat=remat))[player]
        for remat in (False, True)
    )
    shape = ((8, 6), (8, 16, 16, 1))[player]
    inputs = jax.random.normal(KEY, shape), jnp.arange(8) % 3
    variables = jax.jit(plain.init)(KEY, *inputs)
    shapes = jax.eval_shape(remat.init, KEY, *inputs)
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)
    usual, saving = (gradient_of(network, variables, inputs) for network in (plain, remat))
    params = variables["params"]
    expected, found = leaves_by_path(usual(params)), leaves_by_path(saving(params))
    # The gradient of a bias before batch norm is only rounding error.
    scale = 1e-5 * max(np.abs(leaf).max() for leaf in expected.values())
    for path, leaf in expected.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-3, atol=scale)
    before, after = (
        function.trace(params).lower(lowering_platforms=("cuda",)).as_text()
        for function in (usual, saving)
    )
    assert after.count("stablehlo.convolution") > before.count("stablehlo.convolution")


def test_families_without_blocks_refuse_rematerialization():
    for name in NETWORKS.keys() - set(BLOCKS):
        with pytest.raises(UsageError, match=f"--network {name} has no blocks"):
            NETWORKS[name]((28, 28, 3), options=NetworkOptions(remat=True))
