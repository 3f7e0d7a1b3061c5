import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses import LOSSES

KEY = jax.random.key(0)


def linear_critic(images):
    return images.sum(axis=-1)


@pytest.mark.parametrize("name", LOSSES)
def test_value_at_zero_logits(name):
    loss = LOSSES[name]()
    real = fake = jnp.zeros((4, 3))
    value, logits = loss.discriminator(linear_critic, real, fake, KEY)
    np.testing.assert_allclose(value, 2 * np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(logits, np.zeros((2, 4)))
    sign = {"non_saturating": 1, "minimax": -1}[name]
    np.testing.assert_allclose(
        loss.generator(linear_critic, real, fake, KEY), sign * np.log(2), rtol=1e-6
    )


@pytest.mark.parametrize("name", LOSSES)
def test_discriminator_is_the_cross_entropy_of_probabilities(name):
    real, fake = jax.random.normal(KEY, (2, 5, 1))
    value, (real_logits, fake_logits) = LOSSES[name]().discriminator(linear_critic, real, fake, KEY)
    probability = lambda x: 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    expected = -np.log(probability(real)).mean() - np.log(1 - probability(fake)).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_array_equal(real_logits, real[:, 0])
    np.testing.assert_array_equal(fake_logits, fake[:, 0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_no_overflow_at_extreme_logits(name, logit):
    loss, images = LOSSES[name](), jnp.full((2, 1), logit)
    d_value = loss.discriminator(linear_critic, images, -images, KEY)[0]
    g_value, g_grad = jax.value_and_grad(lambda x: loss.generator(linear_critic, x, x, KEY))(images)
    assert np.isfinite([d_value, g_value]).all()
    assert np.isfinite(g_grad).all()


def test_only_minimax_saturates_where_the_discriminator_is_sure():
    sure = jnp.full((1, 1), -20.0)
    grad = {
        name: jax.grad(lambda x, loss=loss: loss().generator(linear_critic, x, x, KEY))(sure).item()
        for name, loss in LOSSES.items()
    }
    np.testing.assert_allclose(grad["non_saturating"], -1, rtol=1e-6)
    assert -1e-8 < grad["minimax"] < 0
