"""The train command, end to end."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    LONG,
    SMALL,
    assert_one_line,
    assert_same_run,
    digest,
    flags,
    launch,
    read_metrics,
    run_command,
    small,
    wait_until,
)
from PIL import Image

from jaxgan import train
from jaxgan.errors import Interrupted, RunError, UsageError
from jaxgan.runs import build, progress
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.config import Config
from jaxgan.runs.generators import load_generator
from jaxgan.runs.plots import PADDING, SAMPLES_A_SEED, grid
from jaxgan.runs.run import Run
from jaxgan.trees import non_finite_leaves


def test_run_directory_contents(finished):
    assert {path.name for path in finished.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.json",
        "curves.png",
        "generator",
        "metrics.jsonl",
        "samples",
        "summary.json",
        "training.gif",
    }
    summary = json.loads((finished / "summary.json").read_text())
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert summary["final"] == rows[-1]
    assert summary["steps"] == 60
    assert summary["seconds"] > 0
    assert summary["images_per_second"] > 0
    assert sorted(p.name for p in (finished / "samples").iterdir()) == [
        f"{step:09d}.png" for step in (0, 20, 40, 60)
    ]
    with Image.open(finished / "training.gif") as animation:
        assert animation.n_frames == 4


def test_saved_generator_reproduces_the_last_samples(finished):
    images = load_generator(finished / "generator")(jax.random.key(0), build.NUM_SAMPLES)
    with Image.open(finished / "samples" / "000000060.png") as picture:
        drawn = np.asarray(picture, int)
    assert np.abs(drawn - grid(np.asarray(images)).astype(int)).max() <= 1


def test_another_seed_reaches_another_state(finished, tmp_path):
    train.main(small(tmp_path / "run", seed=1))
    assert digest(tmp_path / "run") != digest(finished)


@contextlib.contextmanager
def unwritable_file(kind: str):
    """Yields a file for standard output and standard error that cannot be written."""
    if kind == "full disk":
        with open("/dev/full", "w") as full:
            yield full
    else:  # A pipe whose reader is closed.
        read, write = os.pipe()
        os.close(read)
        with open(write, "w", closefd=False) as pipe:
            yield pipe
        os.close(write)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGINT, "closed pipe"),
        (signal.SIGHUP, "full disk"),
        (signal.SIGTERM, "closed pipe"),
    ],
)
def test_unwritable_output_does_not_prevent_saving(tmp_path, number, kind):
    out = tmp_path / "run"
    with unwritable_file(kind) as file:
        process = launch(small(out, **LONG), stdout=file, stderr=file)
    wait_until(process, lambda: any((out / "metrics.jsonl").open()), out / "metrics.jsonl")
    process.send_signal(number)
    assert process.wait() == 128 + number
    (saved,) = (path.name for path in (out / "checkpoints").iterdir() if int(path.name) % 400)
    assert 0 < int(saved) < LONG["steps"]
    assert not (out / "summary.json").exists()


def test_run_finishes_with_a_closed_output_pipe(tmp_path, finished):
    out = tmp_path / "run"
    with unwritable_file("closed pipe") as file:
        process = launch(small(out), stdout=file, stderr=file)
    assert process.wait() == 0
    assert_same_run(out, finished)


def test_progress_lines_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    train.main(small(tmp_path / "run", steps=20))
    first, last = re.findall(r"step .* left", capsys.readouterr().out)
    number = r"-?\d+\.\d+"
    assert re.fullmatch(
        rf"step 10 of 20: d_loss {number}, g_loss {number}, d_real/d_fake {number}/{number}, "
        r"[\d,]+ images/s, \d\d:\d\d left",
        first,
    )
    assert last.startswith("step 20 of 20")
    assert last.endswith("00:00 left")


def test_progress_line_shows_the_speed_since_the_last_line():
    metrics = {"d_loss": 1, "g_loss": 2, "d_real": 0.5, "d_fake": 0.25}
    assert progress.format_line(metrics, (1_000, 10.0), (4_000, 40.0), 10_000, 64) == (
        "step 4,000 of 10,000: d_loss 1.000, g_loss 2.000, d_real/d_fake 0.50/0.25, "
        "6,400 images/s, 01:00 left"
    )


def test_signal_before_the_first_step_stops_at_step_zero(tmp_path, monkeypatch, capsys, finished):
    init = progress.format_header

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return init(*arguments)

    monkeypatch.setattr(progress, "format_header", interrupted)
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="stopped at step 0") as stopped:
        train.main(small(out))
    assert stopped.value.status == 143
    monkeypatch.undo()
    train.main(small(out))
    assert_same_run(out, finished)


def test_second_signal_stops_at_once(tmp_path):
    config = small(tmp_path / "run", steps=100_000, steps_per_call=2_000)
    code = (
        "import signal, sys; from jaxgan import train\n"
        "def twice(*arguments):\n"
        "    for _ in range(2): signal.raise_signal(signal.SIGINT)\n"
        "train.make_plan = twice\n"
        "sys.exit(train.command())"
    )
    arguments = [sys.executable, "-c", code, *flags(config)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert "stopped at once" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_missing_summary_is_written_again(tmp_path, finished, content):
    out = tmp_path / "run"
    train.main(small(out))
    (out / "training.gif").unlink()
    if content is None:
        (out / "summary.json").unlink()
    else:
        (out / "summary.json").write_text(content)
    train.main(small(out))
    assert_same_run(out, finished)
    assert (out / "training.gif").exists()


def test_run_killed_while_saving_a_checkpoint_resumes_exactly(tmp_path, long):
    out = tmp_path / "run"
    for _ in range(2):
        process = launch(small(out, **LONG | {"checkpoint_every": 10}))
        folder = out / "checkpoints"
        wait_until(process, lambda folder=folder: any(folder.glob("*tmp*")), folder)
        process.kill()
        process.communicate()
    train.main(small(out, **LONG))
    assert_same_run(out, long)
    assert len(list((out / "checkpoints").iterdir())) == 3


def test_damaged_newest_checkpoint_is_reported_and_skipped(finished, tmp_path, capsys):
    out = tmp_path / "run"
    train.main(small(out, steps=40))
    for file in (out / "checkpoints" / "40").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-3])
    train.main(small(out))
    said = capsys.readouterr().out
    assert "checkpoint of step 40 is damaged" in said
    assert "continuing from step 20" in said
    assert_same_run(out, finished)


@pytest.fixture(scope="module")
def several_seeds(tmp_path_factory) -> Path:
    """A run of `SMALL` with the seeds 100 to 102, never interrupted."""
    out = tmp_path_factory.mktemp("several") / "run"
    train.main(small(out, seeds=3, seed=100))
    return out


def test_several_seeds_share_a_run_directory(several_seeds):
    rows = read_metrics(several_seeds)
    assert [(row["step"], row["seed"]) for row in rows] == [
        (step, seed) for step in range(10, 70, 10) for seed in (100, 101, 102)
    ]
    summary = json.loads((several_seeds / "summary.json").read_text())
    assert list(summary["seeds"]) == ["100", "101", "102"]
    assert summary["seeds"]["102"]["final"]["g_loss"] == rows[-1]["g_loss"]
    last = [row["d_loss"] for row in rows[-3:]]
    assert summary["mean"]["d_loss"] == pytest.approx(np.mean(last))
    assert summary["std"]["d_loss"] == pytest.approx(np.std(last, ddof=1))
    with pytest.raises(RunError, match=r"it holds several \(100, 101, 102\): choose one"):
        load_generator(several_seeds / "generator")
    with Image.open(several_seeds / "samples" / "000000060.png") as picture:
        drawn = np.asarray(picture, int)
    tall = 28 + PADDING
    for k in range(3):
        sample = load_generator(several_seeds / "generator" / str(100 + k))
        images = sample(jax.random.key(100 + k), build.NUM_SAMPLES)
        row = grid(np.asarray(images[:SAMPLES_A_SEED]), columns=SAMPLES_A_SEED).astype(int)
        found = drawn[k * tall : (k + 1) * tall + PADDING]
        assert np.abs(found - row).max() <= 1


def test_interrupted_and_extended_seeds_equal_uninterrupted_ones(
    several_seeds, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    train.main(small(out, seeds=3, seed=100, steps=20))
    write = Run.write

    def interrupted(self, chunk):
        if chunk.last == 25:
            signal.raise_signal(signal.SIGTERM)
        return write(self, chunk)

    monkeypatch.setattr(Run, "write", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 30"):
        train.main(small(out, seeds=3, seed=100, steps_per_call=5))
    monkeypatch.undo()
    train.main(small(out, seeds=3, seed=100))
    assert_same_run(out, several_seeds)


def test_diverged_seed_is_reported_and_the_run_continues(
    several_seeds, tmp_path, monkeypatch, capsys
):
    built = build.build_gan

    def build_poisoned(config, dataset, numbers=None):
        model = built(config, dataset, numbers)

        def step(key, state, batch):
            new, metrics = model.step(key, state, batch)
            bad = (jax.random.key_data(key)[1] == 101) & (new.step >= 33)
            return new, metrics._replace(g_loss=metrics.g_loss + jnp.where(bad, jnp.nan, 0))

        return model._replace(step=step)

    monkeypatch.setattr(build, "build_gan", build_poisoned)
    out = tmp_path / "run"
    summary = train.main(small(out, seeds=3, seed=100))
    assert "seed 101 diverged: g_loss is nan at step 33" in capsys.readouterr().out
    assert summary["seeds"]["101"]["steps"] == 32
    assert summary["seeds"]["101"]["final"]["step"] == 30
    assert [row for row in read_metrics(out) if row["seed"] != 101] == [
        row for row in read_metrics(several_seeds) if row["seed"] != 101
    ]
    about = json.loads((out / "generator" / "101" / "generator.json").read_text())
    assert (about["step"], about["seed"]) == (32, 101)
    train.main(small(out, seeds=3, seed=100, steps=80))
    assert "seed 101 diverged: g_loss is nan at step 33" in capsys.readouterr().out


def test_divergence_is_reported_in_one_line(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    status = run_command(monkeypatch, flags(small(out, learning_rate=1e6, steps=2_000)))
    assert status == 1
    assert_one_line(capsys.readouterr().err, "training diverged", "at step", "--learning-rate")
    template = jax.eval_shape(build.build_gan(SMALL, _digits()).init, jax.random.key(0))
    checkpoints = Checkpoints(out / "checkpoints")
    found = checkpoints.latest(template)
    checkpoints.close()
    assert found is None or not any(non_finite_leaves(found[1]).values())


def _digits():
    from jaxgan.data import load

    return load("digits")[0]


def test_fewer_steps_than_taken_are_rejected(finished):
    with pytest.raises(UsageError, match="already taken 60 steps, more than --steps 59"):
        train.main(small(finished, steps=59))


def test_another_configuration_is_rejected(finished):
    before = digest(finished)
    with pytest.raises(UsageError, match="batch_size is 8 there and 9 now"):
        train.main(small(finished, batch_size=9))
    assert digest(finished) == before


def test_overwrite_starts_from_scratch(tmp_path, finished):
    out = tmp_path / "run"
    train.main(small(out, seed=5, steps=20))
    train.main(small(out, overwrite=True))
    assert_same_run(out, finished)


def test_training_without_data_falls_back_to_digits(tmp_path, capsys, no_network):
    train.main(small(tmp_path / "run", dataset=None, steps=10))
    assert "training on scikit-learn's digits" in capsys.readouterr().out
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content["dataset"]["name"] == "digits"
    assert "MNIST is neither on disk" in content["dataset"]["remark"]


def test_training_on_a_mixture(tmp_path):
    summary = train.main(small(tmp_path / "run", dataset="ring", steps=40))
    assert summary["steps"] == 40
    assert np.isfinite(list(summary["final"].values())).all()


def test_importing_the_command_does_not_import_jax():
    code = "import sys, jaxgan.train, jaxgan.runs.config; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mnist_samples_resemble_digits(tmp_path, mnist_dir):
    out = tmp_path / "run"
    config = Config(dataset="mnist", data_dir=mnist_dir, steps=400, out=out)
    summary = train.main(config)
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content["dataset"]["holds"] == "60,000 images 28x28x1 of 10 classes"
    images = np.asarray(load_generator(tmp_path / "run" / "generator")(jax.random.key(1), 64))
    border = np.concatenate([images[:, :3].ravel(), images[:, -3:].ravel()])
    assert border.mean() < -0.5  # Dark at the edges,
    assert images[:, 8:20, 8:20].mean() > border.mean() + 0.3  # strokes in the middle,
    assert images.std(axis=0).mean() > 0.1  # and different images.
    assert 0.2 < summary["final"]["d_loss"] < 2.5
