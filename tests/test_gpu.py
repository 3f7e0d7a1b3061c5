"""What holds on a GPU, beside the CPU of the same machine. Skipped where JAX has no GPU.

pytest -m gpu -n 4
"""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import SMALL, digest, flags, read_metrics, small

from jaxgan.data import load
from jaxgan.networks import NETWORKS
from jaxgan.parallel.layout import Layout, make_keys
from jaxgan.runs import build, recipes

pytestmark = pytest.mark.gpu
STEPS = 3
WIDTHS = {
    "mlp": 16,
    "dcgan": 8,
    "resnet": 16,
    "sagan": 16,
    "biggan": 8,
    "stylegan2": 16,
    "r3gan": 32,
    "maxout": 8,
    "stacked": 4,
}
LOSSES = {"resnet": {"loss": "hinge"}, "r3gan": {"loss": "relativistic", "r1": 1.0, "r2": 1.0}}


@pytest.fixture(autouse=True, scope="module")
def gpu():
    """The GPU; the environment of the tests offers JAX all platforms."""
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("JAX has no GPU")


def metrics_on(
    platform: str, config, members: int | None = None, member_batch=None, seed=0
) -> list:
    """Returns the metrics of a few steps, arrays `[STEPS]` or `[members, STEPS]`.

    seed: of a single run, or of the first member; the others have the next seeds.
    """
    layout = Layout(members=members, member_batch=member_batch)
    with jax.default_device(jax.devices(platform)[0]), jax.default_matmul_precision("float32"):
        dataset = load("digits")[0]
        model = build.build_gan(config, dataset)
        key = make_keys(seed, layout)
        state = jax.jit(layout.map_members(model.init))(key)
        run = layout.compile_steps(model, config.batch_size, STEPS)
        return [np.asarray(each) for each in run(key, state, dataset)[1]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_steps_are_those_of_the_cpu(network, precision):
    config = recipes.make_config(
        "classic",
        network=network,
        width=WIDTHS[network],
        precision=precision,
        batch_size=8,
        latent_size=8,
        **LOSSES.get(network, {}),
    )
    found, expected = (metrics_on(platform, config) for platform in ("gpu", "cpu"))
    if precision == "float32":
        return np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    # Later steps have different states: Adam's first updates are of one size for all gradients.
    first = lambda metrics: [each[0] for each in metrics]
    return np.testing.assert_allclose(first(found), first(expected), rtol=0.3, atol=0.1)


@pytest.mark.parametrize("member_batch", [None, 1, 2])
def test_members_are_solo_runs(member_batch):
    config = recipes.make_config(
        "classic", network="dcgan", width=8, d_norm="none", batch_size=8, latent_size=8
    )
    found = metrics_on("gpu", config, members=4, member_batch=member_batch)
    solo = [metrics_on("gpu", config, seed=seed) for seed in range(4)]
    np.testing.assert_allclose(found, np.swapaxes(solo, 0, 1), rtol=1e-3, atol=1e-3)


def train_on(platform: str, out, *more: str, **settings) -> subprocess.CompletedProcess:
    """Runs the train command in a process of its own, on a platform."""
    config = small(out, **settings)
    return subprocess.run(
        [sys.executable, "-c", COMMAND, platform, *flags(config), *more],
        capture_output=True,
        text=True,
        check=True,
    )


COMMAND = """
import sys
import jax
jax.config.update("jax_platforms", sys.argv.pop(1))
from jaxgan import train
sys.exit(train.command())
"""


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_deterministic_runs_are_repeated_exactly(tmp_path, network):
    for name in ("first", "second"):
        train_on("cuda,cpu", tmp_path / name, "--deterministic", network=network, steps=200)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


@pytest.mark.parametrize("platforms", [("cuda,cpu", "cpu"), ("cpu", "cuda,cpu")])
def test_a_checkpoint_moves_between_cpu_and_gpu(tmp_path, platforms):
    out, whole = tmp_path / "moved", tmp_path / "whole"
    first, second = platforms
    train_on(first, out, steps=20)
    done = train_on(second, out, steps=40)
    train_on("cpu", whole, steps=40)
    assert "no longer exactly repeatable: platform was " in done.stdout
    rows, expected = read_metrics(out), read_metrics(whole)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for name in ("d_loss", "g_loss"):
        np.testing.assert_allclose(
            [row[name] for row in rows], [row[name] for row in expected], rtol=0.1
        )
    assert json.loads((out / "summary.json").read_text())["steps"] == 40 > SMALL.sample_every
