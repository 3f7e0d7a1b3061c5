import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.errors import UsageError
from jaxgan.optimizers import (
    OPTIMIZERS,
    adam,
    clip_weights,
    make_optimizer,
    orthogonal_regularization,
)
from jaxgan.schedules import cosine, decaying


def test_clipped_weights_stay_within_the_limit():
    tx = optax.chain(optax.sgd(1.0), clip_weights(0.01))
    params = {"w": jnp.array([0.5, -0.009, 0.002]), "b": jnp.array([-3.0])}
    grads = {"w": jnp.array([0.0, 0.004, -0.001]), "b": jnp.array([-1.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    new = optax.apply_updates(params, updates)
    np.testing.assert_allclose(new["w"], [0.01, -0.01, 0.003], rtol=1e-5)
    np.testing.assert_allclose(new["b"], [-0.01], rtol=1e-5)


def test_orthogonal_regularization_penalizes_products_of_filters():
    tx = orthogonal_regularization(0.1)
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 2, 4))
    params = {"a": {"kernel": kernel, "bias": jnp.ones(4)}, "b": {"embedding": jnp.ones((2, 4))}}
    grads = jax.tree.map(jnp.ones_like, params)
    found, _ = tx.update(grads, tx.init(params), params)
    filters = np.asarray(kernel, np.float64).reshape(-1, 4)
    products = filters.T @ filters * (1 - np.eye(4))
    expected = 1 + 0.1 * 4 * filters @ products
    np.testing.assert_allclose(found["a"]["kernel"].reshape(-1, 4), expected, rtol=1e-4)
    np.testing.assert_array_equal(found["a"]["bias"], grads["a"]["bias"])
    np.testing.assert_array_equal(found["b"]["embedding"], grads["b"]["embedding"])
    # Orthogonal filters, of any length, have no penalty.
    params["a"]["kernel"] = 2 * jnp.eye(18, 4).reshape(3, 3, 2, 4)
    found, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(found["a"]["kernel"], 1.0, rtol=1e-6)


GRADS = [0.5, -1.0, 2.0, 0.3, 0.3, -0.7]
COUPLED = ("adam", "rmsprop", "sgd")
"""Optimizers whose weight decay is added to the gradient."""


def in_numpy(name, grads, rates, b1, b2s, weight_decay=0.0, x=1.0):
    """Returns the parameter after updates in float64, each with its learning rate and b2."""
    m = v = 0.0
    for t, (grad, rate, b2) in enumerate(zip(grads, rates, b2s, strict=True), 1):
        if name in COUPLED:
            grad = grad + weight_decay * x
        else:
            decayed = rate * weight_decay * x
        match name:
            case "adam" | "adamw":
                m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad**2
                change = rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
            case "rmsprop":  # As in torch.optim.RMSprop.
                v = b2 * v + (1 - b2) * grad**2
                m = b1 * m + grad / (np.sqrt(v) + 1e-8)
                change = rate * m
            case "sgd":
                m = b1 * m + grad
                change = rate * m
            case "lion":
                change = rate * np.sign(b1 * m + (1 - b1) * grad)
                m = b2 * m + (1 - b2) * grad
        x -= change if name in COUPLED else change + decayed
    return x


def in_jax(tx, grads):
    params, update = jnp.ones(()), jax.jit(tx.update)
    state = tx.init(params)
    for grad in grads:
        updates, state = update(jnp.float32(grad), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("b1", [0.0, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_match_their_formulas(name, b1, weight_decay):
    found = in_jax(make_optimizer(name, 0.05, b1, 0.9, weight_decay), GRADS[:3])
    expected = in_numpy(name, GRADS[:3], [0.05] * 3, b1, [0.9] * 3, weight_decay)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_schedules(name):
    """The rate decays to zero, after which the parameters do not change any more."""
    b1 = 0.5
    rate, b2 = decaying(0.05, optax.linear_schedule(1.0, 0.0, 4)), cosine(0.9, 0.99, 4)
    rates, b2s = ([float(f(t)) for t in range(6)] for f in (rate, b2))
    np.testing.assert_allclose(rates, [0.05, 0.0375, 0.025, 0.0125, 0, 0], atol=1e-9)
    tx = make_optimizer(name, rate, b1, b2, 0.3)
    found = in_jax(tx, GRADS)
    np.testing.assert_allclose(found, in_numpy(name, GRADS, rates, b1, b2s, 0.3), rtol=1e-5)
    np.testing.assert_array_equal(found, in_jax(tx, GRADS[:4]))


def test_unknown_optimizers_are_rejected():
    with pytest.raises(UsageError, match="adam, adamw, rmsprop, sgd, lion"):
        make_optimizer("adamm", 0.1, 0.5, 0.9)


def test_adam_follows_schedules():
    rate, b2 = cosine(1e-2, 1e-3, 4), cosine(0.9, 0.99, 4)
    rates, b2s = ([float(f(t)) for t in range(6)] for f in (rate, b2))
    found = in_jax(adam(rate, 0.0, b2), GRADS)
    np.testing.assert_allclose(found, in_numpy("adam", GRADS, rates, 0.0, b2s), rtol=1e-5)
