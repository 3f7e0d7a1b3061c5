"""Averages of parameters whose profile is a power of time, and averages made from their snapshots.

Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", section 3
and appendix C. In an average over the steps up to `t` with the exponent `g`, the parameters of step
`s` have a weight in proportion to `s^g`. The relative width of an average is the standard deviation
of these weights over time, divided by `t`: with 0.1, it is a tenth of the run.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def exponent_of_width(width: float) -> float:
    """Returns the exponent of the profile with a relative width, above 0 and below 0.28.

    The largest root of eq. 126 of the paper.
    """
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def update_profiles(profiles: Sequence[Any], params: Any, widths: Sequence[float], step: jax.Array):
    """Returns the averages after a step, from their values before it.

    params: after the step. step: number of steps taken before. The first average is the parameters.
    """

    def follow(width: float, average: Any) -> Any:
        # Eq. 127, 1 - (1 - 1 / t) ** (g + 1), without the rounding errors of that difference.
        share = -jnp.expm1((exponent_of_width(width) + 1) * jnp.log1p(-1 / (step + 1.0)))
        return jax.tree.map(lambda a, p: a + share * (p - a), average, params)

    return tuple(follow(*each) for each in zip(widths, profiles, strict=True))


def solve_weights(stored: Sequence[tuple[int, float]], wanted: tuple[int, float]) -> tuple:
    """Returns the weights of stored averages whose sum is nearest to a wanted one, and its error.

    stored, wanted: steps, and relative widths. The sum of the profiles is nearest in the mean
    square over time (algorithm 3 of the paper), among those whose weights add up to 1. The error is
    the norm of the difference of the profiles, relative to that of the wanted one.
    """
    products = np.array([[_product(a, b) for b in stored] for a in stored])
    onto = np.array([_product(a, wanted) for a in stored])
    # The last unknown is the Lagrange multiplier of the sum.
    system = np.block([[products, np.ones((len(stored), 1))], [np.ones(len(stored)), 0.0]])
    weights = np.linalg.lstsq(system, np.append(onto, 1.0), rcond=1e-12)[0][:-1]
    square = _product(wanted, wanted)
    error = square - 2 * weights @ onto + weights @ products @ weights
    return weights, float(np.sqrt(max(error, 0.0) / square))


def _product(a: tuple[int, float], b: tuple[int, float]) -> float:
    """Returns the integral over time of the product of two profiles."""
    (ta, tb), (ga, gb) = (a[0], b[0]), (exponent_of_width(a[1]), exponent_of_width(b[1]))
    first = min(ta, tb)
    shares = (first / ta) ** ga * (first / tb) ** gb / max(ta, tb)
    return (ga + 1) * (gb + 1) * shares / (ga + gb + 1)
