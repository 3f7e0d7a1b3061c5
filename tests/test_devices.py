"""A batch that is split over devices gives the same step as on one device.

Collectives are tested on one device, under `vmap`, and on the eight devices of JAX's CPU backend.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close

from jaxgan.data.arrays import Images
from jaxgan.devices import AXIS, device_count, mean_over_devices, own_rows
from jaxgan.gan import gan
from jaxgan.networks.mlp import Discriminator, Generator, mlp
from jaxgan.parallel.transforms import members_over_devices, over_devices, scan_steps

KEY = jax.random.key(3)
SHAPE = (4, 4, 1)
TIGHT = {"rtol": 1e-4, "atol": 1e-6}
BATCH = 16
STEPS = 3
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


class NormedGenerator(nn.Module):
    """Batch normalization as a user would write it for one device."""

    @nn.compact
    def __call__(self, latents, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(latents))
        return nn.tanh(nn.Dense(16)(nn.relu(x))).reshape(-1, *SHAPE)


class NormedDiscriminator(nn.Module):
    def setup(self):
        self.hidden, self.norm, self.output = nn.Dense(8), nn.BatchNorm(), nn.Dense(1)

    def __call__(self, images, train=False):
        x = self.hidden(images.reshape(len(images), -1))
        x = self.norm(x, use_running_average=not train)
        return self.output(nn.leaky_relu(x, 0.2))[:, 0]


PAIRS = {
    "mlp": (Generator(SHAPE, (8,)), Discriminator((8,))),
    "batch normalisation": (NormedGenerator(), NormedDiscriminator()),
}


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (50, *SHAPE), np.uint8)
    return Images(jnp.asarray(images), "test", "")


def model_and_train(pair: str, d_steps: int = 1):
    # SGD: Adam would turn a gradient of pure rounding error into a full-size step.
    tx = optax.sgd(0.1)
    model = gan(*PAIRS[pair], g_tx=tx, d_tx=tx, latent_size=5, d_steps=d_steps)
    return model, scan_steps(model, d_steps * BATCH, STEPS)


def init_state(model):
    return jax.jit(model.init)(KEY)


@pytest.mark.parametrize(
    ("pair", "d_steps", "count"),
    [
        ("mlp", 1, 4),
        ("mlp", 3, 2),
        ("batch normalisation", 1, 1),
        ("batch normalisation", 1, 4),
        ("batch normalisation", 3, 8),
    ],
)
def test_step_on_several_devices_equals_step_on_one(pair, d_steps, count, dataset):
    model, train = model_and_train(pair, d_steps)
    state = init_state(model)
    expected = jax.jit(train)(KEY, state, dataset)
    found = over_devices(train, jax.devices()[:count])(KEY, state, dataset)
    assert_close(found, expected, **TIGHT)
    for leaf in jax.tree.leaves(found):
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.sharding.device_set) == count


def test_vmap_on_one_device_emulates_several(dataset):
    """So that collectives can be tested on a machine with one device."""
    model, train = model_and_train("batch normalisation")
    state = init_state(model)
    expected = jax.jit(train)(KEY, state, dataset)
    found = jax.jit(jax.vmap(lambda _: train(KEY, state, dataset), axis_name=AXIS))(jnp.arange(4))
    for part in (0, 3):
        assert_close(jax.tree.map(lambda leaf, part=part: leaf[part], found), expected, **TIGHT)


def test_state_is_donated(dataset):
    model, train = model_and_train("mlp")
    mapped = over_devices(train, jax.devices()[:4])
    first, _ = mapped(KEY, init_state(model), dataset)
    second, _ = mapped(KEY, first, dataset)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(second))


def test_work_is_divided_among_devices():
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), np.uint8)
    data = Images(jnp.asarray(images), "test", "")
    model = gan(*mlp((28, 28, 1)))
    state = jax.eval_shape(model.init, KEY)
    train = scan_steps(model, 256, 1)
    mapped = over_devices(train, jax.devices()[:4])
    alone = jax.jit(train).lower(KEY, state, data).compile()
    split = mapped.lower(KEY, state, data).compile()
    share = split.cost_analysis()["flops"] / alone.cost_analysis()["flops"]
    assert 0.25 <= share <= 0.3


def test_seeds_on_several_devices_need_no_communication(dataset):
    model, train = model_and_train("batch normalisation")
    keys = jax.random.split(KEY, 8)
    state = jax.eval_shape(jax.vmap(model.init), keys)
    devices = jax.devices()[:4]
    alone = jax.jit(members_over_devices(train, devices)).lower(keys, state, dataset)
    assert not any(name in alone.compile().as_text() for name in COLLECTIVES)
    mapped = over_devices(train, devices)
    one = jax.eval_shape(model.init, KEY)
    split = mapped.lower(KEY, one, dataset)
    assert any(name in split.compile().as_text() for name in COLLECTIVES)


def test_rows_are_distributed_round_robin():
    whole = jnp.arange(12).reshape(12, 1)
    assert own_rows(whole) is whole
    assert device_count() == 1
    split = jax.vmap(lambda _: own_rows(whole), axis_name=AXIS)(jnp.arange(3))
    np.testing.assert_array_equal(split[..., 0], [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])


def test_means_are_over_all_devices():
    tree = {"a": jnp.arange(4.0)}
    assert mean_over_devices(tree) is tree
    found = jax.vmap(mean_over_devices, axis_name=AXIS)(tree)
    np.testing.assert_array_equal(found["a"], np.full(4, 1.5))
