"""The contracts of the README; the number in a test's name is that of its contract.

`test_combinations.py` tests 3, 4 and 5 for every network, loss and option.
"""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    LONG,
    assert_close,
    assert_one_line,
    assert_same_run,
    launch,
    read_json,
    read_metrics,
    run_command,
    small,
    states_of,
    wait_until,
)

from jaxgan import train, verify
from jaxgan.data.order import epoch_indices
from jaxgan.errors import Diverged
from jaxgan.parallel import layout
from jaxgan.runs import axes, build, description
from jaxgan.runs.generators import load_generator


def test_1_another_process_reaches_the_same_state(finished, tmp_path):
    process = launch(small(tmp_path / "run"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    assert "digits (1,797 images 28x28x1 of 10 classes)" in out
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_2_interrupted_run_equals_uninterrupted_run(tmp_path, long, number, status):
    out = tmp_path / "run"
    process = launch(small(out, **LONG))
    wait_until(process, lambda: any((out / "metrics.jsonl").open()), out / "metrics.jsonl")
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == status, err
    assert not (out / "summary.json").exists()
    if number != signal.SIGKILL:
        assert "Traceback" not in err
        stopped = int(re.search(r"stopped at step (\d+): the same command", err)[1])
        assert 0 < stopped < LONG["steps"]
        assert (out / "checkpoints" / str(stopped)).is_dir()
    train.main(small(out, **LONG))
    assert_same_run(out, long)


def test_2_extended_run_equals_the_longer_run(finished, tmp_path, capsys):
    out = tmp_path / "run"
    train.main(small(out, steps=20))
    train.main(small(out, steps=40, steps_per_call=7))
    train.main(small(out))
    assert_same_run(out, finished)
    capsys.readouterr()
    train.main(small(out))
    assert "complete at step 60" in capsys.readouterr().out
    assert_same_run(out, finished)


@pytest.mark.parametrize("steps_per_call", [1, 60])
def test_3_steps_per_call_do_not_change_the_state(finished, tmp_path, steps_per_call):
    train.main(small(tmp_path / "run", steps_per_call=steps_per_call))
    assert_same_run(tmp_path / "run", finished)


def test_4_one_of_several_seeds_equals_that_seed_alone(tmp_path):
    several = tmp_path / "several"
    train.main(small(several, seeds=3, seed=100, steps=20))
    train.main(small(tmp_path / "run", seed=101, steps=20))
    for found, alone in zip(
        read_metrics(several)[1::3], read_metrics(tmp_path / "run"), strict=True
    ):
        del found["seed"]
        np.testing.assert_allclose(list(found.values()), list(alone.values()), rtol=0.01)


def test_5_run_on_four_devices_matches_and_resumes_on_one(tmp_path, capsys, finished):
    out = tmp_path / "run"
    train.main(small(out, devices=4, steps=20))
    assert "on 4 x cpu" in capsys.readouterr().out
    train.main(small(out, steps=40))
    assert "devices was 4 and is 1" in capsys.readouterr().out
    found, expected = read_metrics(out), read_metrics(finished)
    assert [row["step"] for row in found] == [10, 20, 30, 40]
    np.testing.assert_allclose(
        list(found[0].values()), list(expected[0].values()), rtol=1e-3, atol=1e-5
    )


def test_6_step_is_compiled_once_per_call_length(tmp_path, monkeypatch):
    scan_steps, lengths = layout.scan_steps, []

    def scan_counting(gan, images_per_step, length):
        scan = scan_steps(gan, images_per_step, length)

        def train(*arguments):
            lengths.append(length)  # Of a function that is traced, and so compiled.
            return scan(*arguments)

        return train

    monkeypatch.setattr(layout, "scan_steps", scan_counting)
    train.main(small(tmp_path / "run"))  # Six calls of 10 steps each.
    assert lengths == [10]
    train.main(small(tmp_path / "run", steps=80, steps_per_call=15))  # Calls of 15 and of 5 steps.
    assert lengths == [10, 15, 5]


def test_6_step_is_traced_once(tmp_path, monkeypatch):
    built, traced = build.build_gan, []

    def build_counting(config, dataset, numbers=None):
        model = built(config, dataset, numbers)

        def step(key, state, batch):
            traced.append(None)
            return model.step(key, state, batch)

        return model._replace(step=step)

    monkeypatch.setattr(build, "build_gan", build_counting)
    # Its operations are counted, and chunks of two lengths compiled.
    train.main(small(tmp_path / "run", steps=30, steps_per_call=None, checkpoint_every=20))
    assert len(traced) == 1


def test_6_each_epoch_visits_every_example_once():
    steps = [np.asarray(epoch_indices(jax.random.key(0), t, 9, 30)) for t in range(10)]
    epochs = np.concatenate(steps).reshape(3, 30)
    assert (np.sort(epochs, axis=1) == np.arange(30)).all()
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize("poisoned", ["metrics", "state"])
def test_7_non_finite_states_are_never_saved(tmp_path, monkeypatch, poisoned):
    built = build.build_gan

    def build_poisoned(config, dataset, numbers=None):
        model = built(config, dataset, numbers)

        def step(key, state, batch):
            state, metrics = model.step(key, state, batch)
            poison = jnp.where(state.step >= 33, jnp.nan, 0)
            if poisoned == "metrics":
                return state, metrics._replace(g_loss=metrics.g_loss + poison)
            bias = state.ema["Dense_1"]["bias"] + poison
            ema = {**state.ema, "Dense_1": {**state.ema["Dense_1"], "bias": bias}}
            return state._replace(ema=ema), metrics

        return model._replace(step=step)

    monkeypatch.setattr(build, "build_gan", build_poisoned)
    expected = {
        "metrics": "g_loss is nan at step 33 .*checkpoint of step 20 is kept",
        "state": "ema/Dense_1/bias is not finite at step 40 .*checkpoint of step 20 is kept",
    }
    with pytest.raises(Diverged, match=expected[poisoned]):
        train.main(small(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["20"]
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in rows
    about = json.loads((tmp_path / "run" / "generator" / "generator.json").read_text())
    assert about["step"] == 20


OPTIONS = {
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEBUG_KEY_REUSE": "1",
}
"""Values that would change the random draws or results of a command, or make it fail."""


def test_8_jax_options_in_the_environment_do_not_change_results(finished, tmp_path):
    process = launch(small(tmp_path / "run"), env=os.environ | OPTIONS)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert_same_run(tmp_path / "run", finished)


def test_8_other_environment_changes_are_reported(tmp_path):
    """By a flag that changes no result of this run, beside one that never does."""
    out, flag = tmp_path / "run", "--xla_cpu_parallel_codegen_split_count=1"
    train.main(small(out, steps=20))
    known = "--xla_cpu_enable_fast_min_max=false"
    variables = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flag} {known}"}
    process = launch(small(out, steps=40), env=os.environ | variables)
    said, err = process.communicate()
    assert process.returncode == 0, err
    assert "no longer exactly repeatable: XLA_FLAGS was " in said
    assert known in said
    assert flag not in said


def test_9_data_from_disk_give_the_run_that_the_same_data_in_memory_give(tmp_path, mnist_dir):
    found = {
        where: train.main(
            small(tmp_path / where, dataset="mnist", data_dir=mnist_dir, data_in=where)
        )
        for where in ("memory", "disk")
    }
    assert found["memory"]["state_sha256"] == found["disk"]["state_sha256"]
    assert_same_run(tmp_path / "disk", tmp_path / "memory")
    description = read_json(tmp_path / "disk" / "config.json")
    assert description["config"]["data_in"] == "disk"
    assert description["dataset"] == read_json(tmp_path / "memory" / "config.json")["dataset"]


def test_10_a_member_equals_the_solo_run(grid, tmp_path):
    of_run = description.read(grid / "config.json")
    states = states_of(grid)
    for k in (1, 6):
        solo = axes.config_of(of_run.config, axes.members_of(of_run.config)[k])
        out = tmp_path / str(k)
        train.main(dataclasses.replace(solo, out=out))
        assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], states), states_of(out))
        name = of_run.members[k]
        images = load_generator(grid, seed=name)(jax.random.key(1), 4)
        alone = load_generator(out)(jax.random.key(1), 4)
        np.testing.assert_allclose(images, alone, atol=1e-4)
        raw = load_generator(grid, "raw", seed=name, step=40)
        alone = load_generator(out, "raw", step=40)
        assert_close(raw.variables, alone.variables)


def test_11_a_part_of_a_run_is_verified(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    result = verify.main(verify.Config(run, begin=20))
    assert (result.begin, result.end, result.same) == (20, 60, True)
    about = read_json(run / "config.json")
    about["config"]["beta2"] = 0.5
    (run / "config.json").write_text(json.dumps(about))
    assert not verify.main(verify.Config(run)).same


def test_12_full_disk_is_reported_in_one_line_and_loses_nothing(tmp_path, finished):
    """A limit on file sizes simulates the full disk."""
    out = tmp_path / "run"
    train.main(small(out, steps=20))

    process = launch(small(out))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
    _, err = process.communicate()
    assert process.returncode == 1
    assert_one_line(err, "could not be written", "run the same command again")
    train.main(small(out))
    assert_same_run(out, finished)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--dataset", "minst"], 2, ["minst", "mnist", "digits", "ring"]),
        (["--network", "cnn"], 2, ["cnn", "mlp"]),
        (["--loss", "bce"], 2, ["bce", "non_saturating", "minimax"]),
        (["--batch-size", "0"], 2, ["--batch-size 0"]),
        (["--steps", "-5"], 2, ["--steps -5"]),
        (["--batch-size", "4000"], 2, ["4000", "1797", "--batch-size"]),
        (["--batch-size", "1000", "--d-steps", "2"], 2, ["2000", "1797", "--batch-size"]),
        (["--data-dir", "nowhere", "--dataset", "mnist"], 2, ["nowhere", "not a folder"]),
        (["--data-dir", ".", "--dataset", "mnist"], 1, ["mnist is not prepared", "digits"]),
        (["--out", "/proc/nothing/run"], 1, ["/proc/nothing"]),
        (["--stepz", "5"], 2, ["stepz"]),
        (["--steps", "many"], 2, ["many", "steps"]),
        (["--devices", "9"], 2, ["--devices 9", "there are 8 here"]),
        (["--devices", "few"], 2, ["few", "--devices"]),
        (["--seeds", "6", "--devices", "4"], 2, ["6 members", "4 devices"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_12_invalid_settings_are_reported_in_one_line_and_leave_no_files(
    tmp_path, monkeypatch, capsys, no_network, arguments, status, words
):
    monkeypatch.chdir(tmp_path)
    before = [] if "--dataset" in arguments else ["--dataset", "digits"]
    assert run_command(monkeypatch, [*before, *arguments]) == status
    assert_one_line(capsys.readouterr().err, *words)
    assert not list(tmp_path.iterdir())
