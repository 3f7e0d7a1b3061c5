"""How much memory do `--remat` and `--accumulate` save?

    python -m experiments.memory

Prints a table for images of 32 x 32 pixels; nothing is trained. "Kept for gradients" is the size of the
values that a forward pass of the generator and one of the discriminator keep for their gradients, by
the shapes that JAX derives. "Temporary" is the memory of a compiled training step beside parameters,
optimizers and data, by XLA's own analysis. XLA for CPUs removes the optimization barriers of rematerialization,
so there `--remat` does not reduce it.

Widths of 32, batches of 64, four parts, on a CPU, in MiB:

| network | kept for gradients | with --remat | temporary | with --accumulate 4 |
| --- | --- | --- | --- | --- |
| resnet | 199 | 47 | 409 | 96 |
| sagan | 237 | 85 | 439 | 96 |
| biggan | 679 | 217 | 957 | 211 |
| stylegan2 | 104 | 46 | 328 | needs the whole batch |
| r3gan | 264 | 51 | 1,897 | 364 |
"""

import argparse
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import from_arrays
from jaxgan.networks import NETWORKS, NetworkOptions
from jaxgan.parallel.transforms import scan_steps
from jaxgan.runs import build
from jaxgan.runs.build_optimizers import images_per_step
from jaxgan.runs.config import Config, check_config
from jaxgan.sampling import apply_in_training

FAMILIES = {
    "resnet": {"loss": "hinge", "g_norm": "none"},
    "sagan": {"loss": "hinge", "g_norm": "none"},
    "biggan": {"loss": "hinge", "g_norm": "layer"},
    "stylegan2": {"r1": 1.0, "penalty_every": 16},
    "r3gan": {"loss": "relativistic", "r1": 1.0, "r2": 1.0},
}
"""Settings of the families that have blocks."""
WHOLE_BATCH = ("stylegan2",)
"""Families that need the whole batch, and so cannot accumulate gradients."""
MEBIBYTE = 2**20
SHAPE = (32, 32, 3)


def kept_for_gradients(network: str, width: int, batch_size: int, remat: bool) -> float:
    """Returns the size in MiB of what forward passes of both players keep for their gradients."""
    options = NetworkOptions(g_norm=FAMILIES[network].get("g_norm"), remat=remat)
    players = NETWORKS[network](SHAPE, True, width, options=options)
    key, found = jax.random.key(0), 0
    for player, shape in zip(players, ((batch_size, 100), (batch_size, *SHAPE)), strict=True):
        inputs = jax.ShapeDtypeStruct(shape, jnp.float32)
        variables = jax.eval_shape(player.init, key, inputs)
        run = partial(pull_back, player, key)
        kept = jax.eval_shape(run, variables, inputs)
        found += sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
        found -= sum(4 * leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return found / MEBIBYTE


def pull_back(player, key: jax.Array, variables: dict, inputs: jax.Array):
    """Returns the function from gradients of outputs to those of parameters, with what it keeps."""

    def run(params):
        variables_in_training = {**variables, "params": params}
        return apply_in_training(player, variables_in_training, inputs, None, None, key)

    return jax.vjp(run, variables["params"], has_aux=True)[1]


def temporary(settings: dict) -> float:
    """Returns the temporary memory of a training step in MiB."""
    config = Config(**settings)
    check_config(config)
    dataset = from_arrays(np.zeros((1_024, *SHAPE), np.uint8))
    model = build.build_gan(config, dataset)
    key = jax.random.key(0)
    state = jax.eval_shape(model.init, key)
    step = jax.jit(scan_steps(model, images_per_step(config), 1), donate_argnums=1)
    compiled = step.lower(key, state, dataset).compile()
    return compiled.memory_analysis().temp_size_in_bytes / MEBIBYTE


def make_row(network: str, options: argparse.Namespace) -> list[str]:
    """Returns the row of a family."""
    kept = [
        kept_for_gradients(network, options.width, options.batch_size, remat)
        for remat in (False, True)
    ]
    usual = {"network": network, "width": options.width, "batch_size": options.batch_size}
    usual |= FAMILIES[network]
    cells = [network, *(f"{each:,.0f}" for each in kept), f"{temporary(usual):,.0f}"]
    if network in WHOLE_BATCH:
        return [*cells, "needs the whole batch"]
    return [*cells, f"{temporary(usual | {'accumulate': options.accumulate}):,.0f}"]


def main() -> int:
    """Prints the table, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=FAMILIES, default=[*FAMILIES])
    parser.add_argument("--width", type=int, default=32, help="base width of the networks")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--accumulate", type=int, default=4, help="number of parts of a batch")
    options = parser.parse_args()
    titles = ["network", "kept for gradients", "with --remat", "temporary"]
    print(f"| {' | '.join([*titles, f'with --accumulate {options.accumulate}'])} |")
    print("| --- | --- | --- | --- | --- |")
    for network in options.networks:
        print(f"| {' | '.join(make_row(network, options))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
