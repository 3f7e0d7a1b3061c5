import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.schedules import SCHEDULES, at, cosine, decaying, ema_decay


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("start", "end"), [(2e-4, 5e-5), (0.9, 0.99), (0.0, 5e5), (1.0, 0.0)])
def test_schedules_go_from_start_to_end_and_stay_constant(name, start, end):
    schedule = SCHEDULES[name](start, end, 8)
    values = np.array([schedule(jnp.int32(step)) for step in (0, 4, 8, 100)])
    np.testing.assert_allclose(values, [start, (start + end) / 2, end, end], rtol=1e-5, atol=1e-6)


def test_cosine_is_a_cosine():
    found = [cosine(1.0, 3.0, 10)(jnp.int32(step)) for step in range(11)]
    np.testing.assert_allclose(found, 2 - np.cos(np.pi * np.arange(11) / 10), rtol=1e-5)


def test_at_accepts_numbers_and_schedules():
    assert at(0.3, 7) == 0.3
    assert at(lambda step: step * 2, 7) == 14


def test_ema_weights_halve_with_the_half_life():
    decay = ema_decay(6400, 64)
    np.testing.assert_allclose(decay(jnp.int32(0)) ** 100, 0.5, rtol=1e-5)
    np.testing.assert_allclose(decay(jnp.int32(10**6)) ** 100, 0.5, rtol=1e-5)
    assert ema_decay(0.0, 64)(jnp.int32(5)) == 0


def test_ema_warms_up_with_the_images_seen():
    decay = ema_decay(6400, 64, warm_up=0.05)
    for step in (0, 10, 100, 1000):
        half_life = 0.05 * 64 * (step + 1)
        np.testing.assert_allclose(decay(jnp.int32(step)), 0.5 ** (64 / half_life), rtol=1e-5)
    np.testing.assert_allclose(decay(jnp.int32(10**5)), 0.5 ** (1 / 100), rtol=1e-6)


def test_half_life_follows_a_schedule():
    decay = ema_decay(cosine(0.0, 6400, 10), 64)
    found = [decay(jnp.int32(step)) for step in (0, 5, 10, 50)]
    np.testing.assert_allclose(found, [0, 0.5 ** (64 / 3200), 0.5**0.01, 0.5**0.01], rtol=1e-5)


@pytest.mark.parametrize("value", [0.5, optax.linear_schedule(0.5, 0.25, 10)])
def test_decaying_multiplies_a_setting_by_a_share(value):
    schedule = decaying(value, optax.linear_schedule(1.0, 0.0, 20))
    found = [schedule(jnp.int32(step)) for step in (0, 5, 10, 20, 50)]
    values = [at(value, step) for step in (0, 5, 10, 20, 50)]
    np.testing.assert_allclose(found, np.array(values) * [1, 0.75, 0.5, 0, 0], rtol=1e-6)
