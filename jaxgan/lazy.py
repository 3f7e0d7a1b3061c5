"""Regularization in updates of its own, of which there is one every so many steps.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", appendix B: the
discriminator is updated with gradient penalties every 16 steps, and the generator with its path
length penalty every 4 steps, with weights that are 16 and 4 times as large.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.devices import accumulate, draw_rows, mean_over_devices
from jaxgan.keys import stream
from jaxgan.losses import Loss, LossInputs
from jaxgan.players import Player, update_player
from jaxgan.sampling import with_noise
from jaxgan.schedules import Schedule, at

LENGTH_RATE = 0.01
"""Rate at which the average path length follows that of the batch."""


class LazyPenalties(NamedTuple):
    """Penalties of the discriminator. every: number of steps between its updates with them alone.

    loss: the penalties of a loss that is 0. Their weights are larger by the number of discriminator
    updates in `every` steps.
    """

    loss: Loss
    every: int


class PathLength(NamedTuple):
    """The path length penalty of the generator.

    weight: of the squared distances of the path lengths from their average. every: number of steps
    between the generator's updates with the penalty alone, in which its weight is `every` times as
    large.
    """

    weight: float | Schedule
    every: int = 4


def update_every(every: int, step: jax.Array, update: Callable, state: Any) -> Any:
    """Returns the state after an update if the step is a multiple of `every`, else the state."""
    return lax.cond(step % every == 0, update, lambda state: state, state)


def apply_lazy_penalties(
    penalties: LazyPenalties | None,
    tx: optax.GradientTransformation,
    d: Player,
    critic: Callable,
    inputs: LossInputs,
    count: int = 1,
) -> Player:
    """Returns the discriminator after an update with its lazy penalties, if it is their turn.

    critic: from inputs, the discriminator and its parameters to a `Critic`. count: of the parts of
    the batch, see `accumulate`.
    """
    if penalties is None:
        return d

    def update(d: Player) -> Player:
        def of_part(rows: tuple) -> tuple:
            own = inputs.with_rows(rows)
            objective = lambda params: penalties.loss.discriminator(critic(own, d, params), own)[0]
            return jax.grad(objective)(d.params), (), ()

        grads = mean_over_devices(accumulate(count, of_part, inputs.rows)[0])
        return update_player(tx, d, grads, d.stats)

    return update_every(penalties.every, inputs.step, update, d)


def measure_path_lengths(generator: nn.Module, variables: dict, key: jax.Array, latents, labels):
    """Returns path lengths `[n]`: how fast images change with their styles.

    Karras et al. 2020, eq. 4: the norms of the gradients, with respect to the styles, of the scalar
    products of the images with noise, over the square root of the number of pixels; of the styles
    of an image, the root mean square. Images are computed in float32.
    generator: a module with the methods `styles` and `synthesize`. latents: `[n, k]`.
    """
    noise_key, style_key = jax.random.split(key)
    run = lambda method, *inputs: generator.apply(
        variables, *inputs, train=True, method=method, mutable=True, rngs=with_noise(style_key)
    )[0]
    arguments = (latents,) if labels is None else (latents, labels)
    styles = run("styles", *arguments)

    def product(styles):
        images = run("synthesize", styles)
        noise = draw_rows(jax.random.normal, noise_key, images.shape)
        return (images * noise).sum() / (images.shape[1] * images.shape[2]) ** 0.5

    squares = jnp.square(jax.grad(product)(styles)).sum(axis=2).mean(axis=1)
    return jnp.sqrt(squares + 1e-12)


def penalize_path_lengths(
    penalty: PathLength | None,
    generator: nn.Module,
    tx: optax.GradientTransformation,
    state: tuple[Player, jax.Array],
    inputs: tuple,
) -> tuple[Player, jax.Array]:
    """Returns the generator, and its average path length, after an update if it is its turn.

    inputs: the step's number, a key, the latents' shape `(n, k)` and labels `[n]` or None.
    """
    if penalty is None:
        return state
    step, key, shape, labels = inputs
    latents_key, key = jax.random.split(stream(key, "path lengths"))

    def update(state):
        g, average = state
        latents = draw_rows(jax.random.normal, latents_key, shape)

        def objective(params):
            variables = {"params": params, **g.stats}
            lengths = measure_path_lengths(generator, variables, key, latents, labels)
            mean = mean_over_devices(lengths.mean())
            new = average + LENGTH_RATE * (mean - average)
            cost = penalty.every * at(penalty.weight, step) * jnp.square(lengths - new).mean()
            return cost, lax.stop_gradient(new)

        grads, new = jax.grad(objective, has_aux=True)(g.params)
        return update_player(tx, g, mean_over_devices(grads), g.stats), new

    return update_every(penalty.every, step, update, state)
