"""What JAX's environment may change of a run: no option, and no variable without a record."""

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
"""Options at values with which the same command would draw or compute other numbers, or fail."""


def test_options_have_their_standard_values_within_and_their_own_after():
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


def test_every_pinned_value_is_jaxs_own_default():
    """Pinning changes nothing where nobody has set anything: for the JAX that is installed."""
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


def test_a_run_inside_a_context_manager_of_jax_is_refused(tmp_path):
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


def test_flags_of_xla_are_recorded_but_for_those_that_change_no_number(monkeypatch, tmp_path):
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
def test_what_the_environment_makes_impossible_is_one_line(tmp_path, variables, words):
    ended = launch(["--dataset", "ring", "--out", str(tmp_path / "run")], **variables)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith(f"jaxgan: {words}")
    ((name, value),) = variables.items()
    assert f"{name}={value}" in line
    assert not (tmp_path / "run").exists()
