"""Contracts 3, 4 and 5 (chunks, seeds, devices) for every network, loss and option."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close

from jaxgan.data import from_arrays
from jaxgan.feedback import FeedbackState
from jaxgan.parallel.transforms import COMPILER_OPTIONS, over_devices, over_members, scan_steps
from jaxgan.runs import build, build_optimizers
from jaxgan.runs.config import Config
from jaxgan.trees import leaves_by_path, tree_sha256

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
ROUGH = {"xla_backend_optimization_level": 0}
"""Compiles quickly, to code that rounds differently: not for what is compared bit by bit."""
LARGE = ("resnet", "sagan", "biggan", "stylegan2", "r3gan")
"""Networks that take a minute to compile, and scan as the other networks do."""
BASE = Config(batch_size=8, latent_size=6, width=8, ema_half_life=100)
CASES = {
    "dcgan": {
        "network": "dcgan",
        "loss": "least_squares",
        "conditional": True,
        "pack": 2,
        "augment": ("color", "translation", "cutout"),
        "r1": 0.1,
    },
    "resnet": {"network": "resnet", "loss": "hinge", "conditional": True},
    "sagan": {"network": "sagan", "loss": "hinge", "conditional": True, "g_conditioning": "norm"},
    "biggan": {
        "network": "biggan",
        "loss": "hinge",
        "conditional": True,
        "orthogonal_regularization": 1e-2,
    },
    "stylegan2": {
        "network": "stylegan2",
        "conditional": True,
        "r1": 1.0,
        "penalty_every": 2,
        "path_length": 2.0,
        "ema_profiles": (0.05, 0.1),
    },
    "ada": {
        "augment": ("ada_geometry", "ada_color"),
        "augment_target": 0.6,
        "augment_images": 16,
        "pseudo_augmentation": True,
        "d_steps": 2,
    },
    "r3gan": {"network": "r3gan", "loss": "relativistic", "r1": 1.0, "r2": 1.0},
    "critic": {"loss": "wasserstein", "gradient_penalty": 10.0, "d_steps": 2},
    "noisy": {"loss": "minimax", "dragan": 10.0, "pack": 2, "conditional": True},
    "schedules": {
        "r1": 1.0,
        "r2": 1.0,
        "final_penalty": 0.1,
        "burn_in": 24,
        "ema_burn_in": True,
        "loss": "relativistic",
    },
    "bfloat16": {"network": "dcgan", "precision": "bfloat16"},
    "classifier": {
        "conditional": True,
        "g_conditioning": "norm",
        "g_norm": "batch",
        "d_norm": "spectral",
        "d_conditioning": "auxiliary_classifier",
        "rotation": 1.0,
        "g_rotation": 0.2,
        "slicing": True,
        "r1": 0.1,
    },
    "data to data": {
        "conditional": True,
        "g_conditioning": "norm",
        "g_norm": "layer",
        "d_norm": "layer",
        "d_conditioning": "data_to_data_cross_entropy",
        "loss": "hinge",
        "d_steps": 2,
    },
    "regularizers": {
        "loss": "relativistic_average",
        "fresh_generator_batch": True,
        "consistency": 10.0,
        "fake_consistency": 10.0,
        "latent_consistency": 5.0,
        "lecam": 0.3,
        "lecam_start": 1,
        "logit_centering": 0.1,
        "top_k": 0.5,
        "d_steps": 2,
    },
    "scheduled augmentation": {
        "label_smoothing": 0.1,
        "instance_noise": 0.2,
        "final_instance_noise": 0.0,
        "augment": ("flip", "color", "translation"),
        "augment_probability": 0.1,
        "final_augment_probability": 0.9,
        "final_top_k": 0.5,
        "burn_in": 24,
        "approximate_r1": 0.01,
        "one_sided_gradient_penalty": 1.0,
    },
    "norms": {"network": "dcgan", "g_norm": "instance", "d_norm": "batch", "conditional": True},
}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 8, 8, 1), np.uint8)
    return from_arrays(images, rng.integers(0, 3, 50))


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request, dataset):
    """Configuration, model, state, a step and its result.

    With SGD: Adam would turn a gradient of pure rounding error into a full-size step.
    """
    config = dataclasses.replace(BASE, **request.param)
    tx = optax.sgd(0.05)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "build_optimizers", lambda config, values: (tx, tx))
        model = build.build_gan(config, dataset)
    state = jax.jit(lambda key: perturb(model.init(key)), compiler_options=ROUGH)(KEY)
    options = ROUGH if config.network in LARGE else None
    step = jax.jit(
        scan_steps(model, build_optimizers.images_per_step(config), 1), compiler_options=options
    )
    return config, model, state, step, step(KEY, state, dataset)


def perturb(state):
    """Perturbs the parameters: r3gan's blocks and their gradients are zero at initialization."""

    def moved(player):
        leaves, structure = jax.tree.flatten(player.params)
        keys = jax.random.split(KEY, len(leaves))
        new = [
            leaf + 0.1 * jax.random.normal(key, leaf.shape)
            for key, leaf in zip(keys, leaves, strict=True)
        ]
        return player._replace(params=jax.tree.unflatten(structure, new))

    if state.feedback:
        # In the step after the third one, the probability follows the signs.
        feedback = FeedbackState(jnp.float32(0.5), jnp.float32(2.0))
        state = state._replace(feedback=feedback, step=jnp.int32(3))
    return state._replace(
        generator=moved(state.generator), discriminator=moved(state.discriminator)
    )


def assert_close_in(config, found, expected):
    """Compares trees with the tolerance of a configuration's precision."""
    coarse = config.precision == "bfloat16"
    tolerance = {"rtol": 0.05, "atol": 5e-3} if coarse else {"rtol": 2e-3, "atol": 2e-5}
    assert_close(found, expected, **tolerance)


def test_steps_per_chunk_do_not_change_the_state(case, dataset):
    config, model, state, step, (first, _) = case
    if config.network in LARGE:
        pytest.skip("large networks take a minute to compile, and scan as the others do")
    second, _ = step(KEY, first, dataset)
    both = jax.jit(scan_steps(model, build_optimizers.images_per_step(config), 2))
    assert tree_sha256(both(KEY, state, dataset)[0]) == tree_sha256(second)
    assert tree_sha256(first) != tree_sha256(second)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(second))


def test_step_lowers_for_a_gpu_with_its_own_convolutions(case, dataset):
    """Each kernel has at least the convolution of a forward pass, and that of its gradient."""
    _, _, state, step, _ = case
    kernels = [
        path
        for player in (state.generator, state.discriminator)
        for path, leaf in leaves_by_path(player.params).items()
        if leaf.ndim == 4 and leaf.shape[0] > 1 and path.endswith("kernel")
    ]
    if not kernels:
        pytest.skip("no convolutions")
    traced = step.trace(KEY, state, dataset)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("stablehlo.convolution") >= 2 * len(kernels)


def test_step_on_several_devices_equals_step_on_one(case, dataset, monkeypatch):
    config, model, state, _, expected = case
    train_step = scan_steps(model, build_optimizers.images_per_step(config), 1)
    copy = jax.tree.map(jnp.copy, state)  # The state is donated.
    monkeypatch.setitem(COMPILER_OPTIONS, "cpu", COMPILER_OPTIONS["cpu"] | ROUGH)
    found = over_devices(train_step, jax.devices()[:4])(KEY, copy, dataset)
    assert_close_in(config, found, expected)


def test_one_of_several_seeds_equals_that_seed_alone(case, dataset):
    config, model, state, _, expected = case
    keys = jnp.stack([KEY, jax.random.key(4)])
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    train_step = scan_steps(model, build_optimizers.images_per_step(config), 1)
    together = jax.jit(over_members(train_step), compiler_options=ROUGH)
    found = together(keys, states, dataset)
    assert_close_in(config, jax.tree.map(lambda leaf: leaf[0], found), expected)
    # The other seed has different metrics.
    assert not np.allclose(found[1].d_loss[1], expected[1].d_loss)
