"""JAX options do not change a run, and environment variables that may are recorded."""

import os
import subprocess
import sys

import jax
import pytest

from jaxgan import environment, train
from jaxgan.environment import PINNED, pin_options, recorded_variables
from jaxgan.errors import UsageError
from jaxgan.runs.config import Config

SMALL = Config(dataset="ring", batch_size=8, latent_size=4, steps=30, checkpoint_every=10)
OTHERS = {
    "jax_default_matmul_precision": "bfloat16",
    "jax_default_prng_impl": "rbg",
    "jax_enable_x64": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_random_seed_offset": 7,
    "jax_threefry_partitionable": False,
}
"""Options that would change the random draws or results of a command, or make it fail."""


def test_pin_options_sets_defaults_and_restores_values():
    own = {name: jax.config.values[name] for name in OTHERS}
    try:
        for name, value in OTHERS.items():
            jax.config.update(name, value)
        other = {name: jax.config.values[name] for name in OTHERS}
        with pin_options():
            within = {name: jax.config.values[name] for name in OTHERS}
        after = {name: jax.config.values[name] for name in OTHERS}
    finally:
        for name, value in own.items():
            jax.config.update(name, value)
    assert within == {name: PINNED[name] for name in OTHERS}
    assert after == other
    assert all(other[name] != within[name] for name in OTHERS)


def test_pinned_values_are_the_defaults_of_jax():
    """With the installed JAX, pinning changes nothing unless an option has been set."""
    code = (
        "import jax; from jaxgan.environment import PINNED, _plain\n"
        "values = jax.config.values\n"
        "own = {n: _plain(values[n]) for n in PINNED if n in values}\n"
        "assert len(own) > 40, len(own)\n"
        "other = {n: (v, PINNED[n]) for n, v in own.items() if v != PINNED[n]}\n"
        "assert not other, other"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    subprocess.run([sys.executable, "-c", code], env=clean, check=True)


def test_run_inside_a_jax_context_manager_is_rejected(tmp_path):
    with (
        jax.enable_checks(True),
        pytest.raises(UsageError, match="outside of JAX's context managers of jax_enable_checks"),
    ):
        train.main(SMALL)


def launch(arguments: list[str], **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxgan.train", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_only_xla_flags_that_may_change_results_are_recorded(monkeypatch, tmp_path):
    for name in environment.RECORDED:
        monkeypatch.delenv(name, raising=False)
    assert recorded_variables() == {}
    fast, harmless = "--xla_cpu_enable_fast_math=true", "--xla_force_host_platform_device_count=4"
    monkeypatch.setenv("XLA_FLAGS", harmless)
    assert recorded_variables() == {}
    monkeypatch.setenv("XLA_FLAGS", f"{harmless} {fast}")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert recorded_variables() == {"XLA_FLAGS": fast, "NVIDIA_TF32_OVERRIDE": "1"}
    (tmp_path / "flags").write_text(f"{fast}\n{harmless}\n")
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    assert recorded_variables()["XLA_FLAGS"] == fast


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"JAX_PLATFORMS": "cuda"}, "JAX finds no device with"),
        ({"JAX_ENABLE_X64": "perhaps"}, "JAX cannot start with"),
    ],
)
def test_unusable_environment_is_reported_in_one_line(tmp_path, variables, words):
    ended = launch(["--dataset", "ring", "--out", str(tmp_path / "run")], **variables)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith(f"jaxgan: {words}")
    ((name, value),) = variables.items()
    assert f"{name}={value}" in line
    assert not (tmp_path / "run").exists()
