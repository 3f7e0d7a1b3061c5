"""Sampling from the averaged generator, with its own batch statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.errors import UsageError
from jaxgan.gan import gan
from jaxgan.networks.mlp import Discriminator
from jaxgan.networks.shared import Dense
from jaxgan.sampling import Sampler, apply, cycle_classes

KEY = jax.random.key(5)


class Normed(nn.Module):
    """Its images are the normalized features."""

    @nn.compact
    def __call__(self, latents, train=False):
        x = Dense(6)(latents)
        x = nn.BatchNorm(
            use_running_average=not train, momentum=0.99, use_scale=False, use_bias=False
        )(x)
        return x.reshape(-1, 2, 3, 1)


@pytest.fixture
def model():
    return gan(Normed(), Discriminator((4,)), latent_size=4, ema_decay=0.9)


def change_average(state, factor):
    return state._replace(ema=jax.tree.map(lambda x: factor * x + 1, state.ema))


def test_averaged_weights_have_their_own_statistics(model):
    """Samples have mean zero and variance one for any weights."""
    state = change_average(jax.jit(model.init)(KEY), 5.0)
    images = np.asarray(model.sample(KEY, state, 4000))
    np.testing.assert_allclose(images.mean(0), 0, atol=0.15)
    np.testing.assert_allclose(images.std(0), 1, atol=0.1)
    raw = {"params": state.ema, **state.generator.stats}
    fog = np.asarray(Sampler(Normed(), 4).sample(raw, KEY, 4000))
    assert fog.std(0).min() > 2


def test_statistics_of_the_trained_generator_are_not_used(model):
    state = change_average(jax.jit(model.init)(KEY), 2.0)
    other = jax.tree.map(lambda x: x + 7, state.generator.stats)
    same = state._replace(generator=state.generator._replace(stats=other))
    np.testing.assert_array_equal(model.sample(KEY, state, 5), model.sample(KEY, same, 5))


def test_statistics_are_means_over_all_batches():
    module = Normed()
    variables = module.init(KEY, jnp.zeros((1, 4)))
    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}
    found = Sampler(module, 4).with_batch_statistics(params, stats, KEY)["batch_stats"][
        "BatchNorm_0"
    ]
    kernel, bias = (np.asarray(params["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    # 1,024 latents of variance one: the features' mean and variance, to a few standard errors.
    spread = np.sqrt((kernel**2).sum(0))
    assert (np.abs(found["mean"] - bias) < 4 * spread / np.sqrt(1024)).all()
    assert (np.abs(found["var"] / spread**2 - 1) < 4 * np.sqrt(2 / 1024)).all()


def test_generator_without_statistics_is_unchanged(model):
    params = {"w": jnp.ones(3)}
    assert Sampler(None, 4).with_batch_statistics(params, {}, KEY) == {"params": params}


def test_default_labels_cycle_through_the_classes():
    np.testing.assert_array_equal(cycle_classes(7, 3), [0, 1, 2, 0, 1, 2, 0])


def test_bfloat16_returns_images_and_statistics_in_float32():
    module = Normed()
    variables = module.init(KEY, jnp.zeros((1, 4)))
    latents = jax.random.normal(KEY, (8, 4))
    run = lambda dtype: apply(
        module, variables, latents, None, dtype, train=True, mutable=["batch_stats"]
    )
    (images, stats), (exact, _) = run(jnp.bfloat16), run(None)
    assert {leaf.dtype for leaf in jax.tree.leaves((images, stats))} == {jnp.dtype("float32")}
    assert not np.array_equal(images, exact)
    np.testing.assert_allclose(images, exact, atol=0.1)
    assert np.array_equal(images, images.astype(jnp.bfloat16).astype(jnp.float32))


def test_labels_of_an_unconditional_generator_are_rejected():
    with pytest.raises(UsageError, match="not conditional"):
        Sampler(Normed(), 4).sample({}, KEY, 3, labels=1)


class Labelled(nn.Module):
    """Its batch norm is applied to the labels."""

    @nn.compact
    def __call__(self, latents, labels, train=False):
        x = jax.nn.one_hot(labels, 2) + 0 * latents[:, :2]
        return nn.BatchNorm(use_running_average=not train)(x)


def test_statistics_follow_the_class_frequencies():
    params = Labelled().init(KEY, jnp.zeros((1, 4)), jnp.zeros(1, int))
    stats = {"batch_stats": params["batch_stats"]}
    shares = (0.9, 0.1)
    for frequencies, expected in ((shares, shares), (None, (0.5, 0.5))):
        found = Sampler(Labelled(), 4, 2).with_batch_statistics(
            params["params"], stats, KEY, frequencies
        )
        mean = found["batch_stats"]["BatchNorm_0"]["mean"]
        np.testing.assert_allclose(mean, expected, atol=0.05)
