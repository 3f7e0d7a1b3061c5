"""Ways to run the step."""

from collections.abc import Callable

import jax
from jax import lax

from jaxgan.gan import GAN


def scanned(gan: GAN, batch_size: int, length: int) -> Callable:
    """Returns `(key, state, dataset) -> (state, metrics)`: `length` steps, metrics `[length]` each.

    batch_size: real images a step, which is `d_steps` times the batch of one discriminator update.
    The batch of a step is computed from the key and the step's number, inside the scan.
    """

    def run(key: jax.Array, state, dataset):
        def body(state, _):
            return gan.step(key, state, dataset.batch(key, state.step, batch_size))

        return lax.scan(body, state, length=length)

    return run
