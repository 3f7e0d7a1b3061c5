import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.optimizers import adam, clip_weights
from jaxgan.schedules import cosine


def test_clipped_weights_stay_within_the_limit():
    tx = optax.chain(optax.sgd(1.0), clip_weights(0.01))
    params = {"w": jnp.array([0.5, -0.009, 0.002]), "b": jnp.array([-3.0])}
    grads = {"w": jnp.array([0.0, 0.004, -0.001]), "b": jnp.array([-1.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    new = optax.apply_updates(params, updates)
    np.testing.assert_allclose(new["w"], [0.01, -0.01, 0.003], rtol=1e-5)
    np.testing.assert_allclose(new["b"], [-0.01], rtol=1e-5)


def adam_in_numpy(grads, rates, b1, b2s):
    """Adam in float64, with a separate learning rate and b2 for every update."""
    m = v = x = 0.0
    for t, (grad, rate, b2) in enumerate(zip(grads, rates, b2s, strict=True), 1):
        m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad**2
        x -= rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    return x


def test_adam_follows_schedules():
    grads = [0.5, -1.0, 2.0, 0.3, 0.3, -0.7]
    rate, b2 = cosine(1e-2, 1e-3, 4), cosine(0.9, 0.99, 4)
    tx = adam(rate, 0.0, b2)
    params = jnp.zeros(())
    state = tx.init(params)
    for grad in grads:
        updates, state = jax.jit(tx.update)(jnp.float32(grad), state)
        params = optax.apply_updates(params, updates)
    rates, b2s = ([float(f(t)) for t in range(6)] for f in (rate, b2))
    np.testing.assert_allclose(params, adam_in_numpy(grads, rates, 0.0, b2s), rtol=1e-4)
