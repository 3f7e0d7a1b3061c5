"""Averages with profiles that are powers of time, and averages made from their snapshots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small

from jaxgan import evaluate, train
from jaxgan.errors import RunError, UsageError
from jaxgan.profiles import exponent_of_width, solve_weights, update_profiles
from jaxgan.runs.description import read
from jaxgan.runs.generators import load_generator
from jaxgan.runs.profile_files import make_average, save_profiles
from jaxgan.runs.states import read_state
from jaxgan.trees import leaves_by_path

WIDTHS = (0.05, 0.1)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.25])
def test_width_is_the_deviation_of_the_profile(width):
    exponent = exponent_of_width(width)
    times = (np.arange(1_000_000) + 0.5) / 1_000_000
    weights = times**exponent
    mean = np.average(times, weights=weights)
    deviation = np.sqrt(np.average((times - mean) ** 2, weights=weights))
    np.testing.assert_allclose(deviation, width, rtol=1e-4)


def track(values, widths):
    """Returns the averages after each step, `[steps, widths]`, of values `[steps]`."""
    follow = jax.jit(lambda averages, value, step: update_profiles(averages, value, widths, step))
    averages, found = tuple(jnp.float32(7.0) for _ in widths), []
    for step, value in enumerate(values):
        averages = follow(averages, jnp.float32(value), jnp.int32(step))
        found.append([float(each) for each in averages])
    return np.array(found)


def test_averages_have_weights_that_are_powers_of_time():
    values = np.random.default_rng(0).normal(size=400).cumsum()
    found = track(values, WIDTHS)
    np.testing.assert_allclose(found[0], values[0], atol=1e-6)  # The initial value is forgotten.
    for k, width in enumerate(WIDTHS):
        power = exponent_of_width(width) + 1
        ends = (np.arange(401) / 400) ** power
        np.testing.assert_allclose(found[-1, k], np.sum(np.diff(ends) * values), rtol=1e-4)


@pytest.mark.parametrize("width", [*WIDTHS, 0.07, 0.15])
def test_snapshots_give_the_average_that_was_also_tracked(width):
    """Exactly for a width that has snapshots, else nearly: here by the values' own changes."""
    values = np.random.default_rng(1).normal(size=1_024).cumsum()
    tracked = track(values, (*WIDTHS, width))
    steps = range(64, 1_025, 64)
    stored = [(step, each) for step in steps for each in WIDTHS]
    snapshots = [tracked[step - 1, k] for step in steps for k in range(2)]
    weights, distance = solve_weights(stored, (1_024, width))
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    assert distance < (1e-6 if width in WIDTHS else 0.05)
    error = abs(weights @ snapshots - tracked[-1, 2])
    assert error <= (1e-6 * abs(tracked[-1, 2]) if width in WIDTHS else 0.02 * values.std())


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_keeps_snapshots_at_its_checkpoints(tmp_path, seeds):
    config = small(tmp_path / "run", width=8, ema_profiles=WIDTHS, seeds=seeds)
    train.main(config)
    names = sorted(path.name for path in (config.out / "profiles").iterdir())
    assert names == [f"{step:09d}.safetensors" for step in (20, 40, 60)]
    state = read_state(config.out, read(config.out / "config.json"))
    for k, width in enumerate(WIDTHS):
        for seed in range(seeds):
            found = load_generator(config.out, seed=seed, ema_width=width)
            expected = state.profiles[k]
            if seeds > 1:
                expected = jax.tree.map(lambda leaf, seed=seed: leaf[seed], expected)
            expected = leaves_by_path(expected)
            for path, leaf in leaves_by_path(found.variables["params"]).items():
                np.testing.assert_allclose(leaf, expected[path], rtol=1e-5, atol=1e-7)
            assert found.step == 60
    (config.out / "profiles" / names[1]).write_bytes(b"no tensors")
    with pytest.raises(RunError, match="000000040.safetensors cannot be read"):
        load_generator(config.out, ema_width=0.1)


def test_snapshots_of_a_frozen_member_are_those_until_then(tmp_path):
    """The second member was frozen after four steps, and the third one in its first step."""
    for step in (4, 8):
        averages = [{"params": np.array([step, 4.0, 0.0])} for _ in WIDTHS]
        save_profiles(tmp_path, np.array([step, 4, 0]), averages, WIDTHS)
    assert make_average(tmp_path, 0.1, 0)[1] == 8
    found, last = make_average(tmp_path, 0.1, 1)
    np.testing.assert_allclose(found["params"], 4.0, rtol=1e-6)
    assert last == 4
    with pytest.raises(RunError, match="no average of a member that was frozen in its first step"):
        make_average(tmp_path, 0.1, 2)


def test_averages_of_any_width_are_evaluated(tmp_path, capsys):
    config = small(tmp_path / "run", width=8, ema_profiles=WIDTHS)
    train.main(config)
    settings = {"samples": 200, "repeats": 1, "cas": False}
    found = evaluate.main(evaluate.Config((config.out,), ema_width=(0.05, 0.08), **settings))
    assert [name.removeprefix(str(config.out)) for name in found] == [
        " --ema-width 0.05",
        " --ema-width 0.08",
    ]
    assert len({result["mean"]["fid"] for result in found.values()}) == 2
    assert "--ema-width 0.08" in capsys.readouterr().out
    assert (config.out / "evaluations" / "ema-0.05.json").exists()
    assert not (config.out / "evaluation.json").exists()
    message = "width 0.28 cannot be made from 3 snapshots of width 0.05 and 0.1 .its profile would"
    with pytest.raises(UsageError, match=message):
        evaluate.main(evaluate.Config((config.out,), ema_width=(0.28,), **settings))
    plain = small(tmp_path / "plain", width=8, steps=20)
    train.main(plain)
    with pytest.raises(UsageError, match="train with --ema-profiles"):
        evaluate.main(evaluate.Config((plain.out,), ema_width=(0.05,), **settings))
