"""How good a GAN of MNIST do five minutes on two CPU cores train?

    python -m experiments.mnist --data-dir ~/tensorflow_datasets

Each of `CANDIDATES` is trained with one seed, with as many steps as take about five minutes here, and
compared with 10,000 images of the training split. The best is `--recipe mnist`: it is trained with
five other seeds, and compared once with the test split. So is the classic exercise in PyTorch
(`experiments/exercise.py`, needs torch), trained as long, by the clock, as the recipe with the same
seed. With labels, a GAN is told the classes of the digits, which the exercise is not. Nothing else
should run on the machine.

Results (`python -m experiments.tables`):

| method | split | seeds | steps | seconds | FID | precision | recall | density | coverage | state_sha256 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |

Measured on .
"""

import dataclasses
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tyro

from experiments import record
from jaxgan import evaluate, sample
from jaxgan.runs import plots, recipes
from jaxgan.runs.description import surroundings

SEEDS = 5
CHOOSING_SEED = 1_000
SAN = {"recipe": "san", "ema_half_life": 20_000.0}
NARROW = SAN | {"width": 32, "batch_size": 64, "learning_rate": 4e-3}
WIDE = SAN | {"width": 64, "batch_size": 128, "learning_rate": 2e-3}
LABELS = {"conditional": True}
CANDIDATES = {
    "mlp, relativistic, R1, R2": ({"recipe": "mnist_mlp"}, 20_000),
    "SAN of width 32": (NARROW, 11_000),
    "SAN of width 32, with labels": (NARROW | LABELS, 9_000),
    "SAN of width 64, with labels": (WIDE | LABELS, 1_900),
}
"""Settings, and the number of steps, over which the learning rate decays."""
RECIPE, STEPS = "mnist", 20_000
EXERCISE = "the exercise in PyTorch"
COLUMNS = {"fid": 2, "precision": 2, "recall": 2, "density": 2, "coverage": 2}
"""Digits after the point of the scores in the table."""
SHOWN, COLUMNS_SHOWN = 48, 12
"""The number of samples in each half of the picture, and in a row."""


@dataclasses.dataclass(frozen=True)
class Options(record.Options):
    """Choose a method by the training split, then train and evaluate it beside the exercise."""

    choose: bool = False
    """train the candidates, and nothing else"""
    seeds: int = SEEDS
    """number of seeds of the recipe"""
    exercise_seeds: int = 3
    """number of seeds of the exercise"""
    picture: Path | None = None
    """file for a picture of samples of the exercise and of the recipe"""


def mnist(options: Options) -> None:
    """Does what `Options` says."""
    results = record.Record("mnist", options)
    samples = 200 if options.smoke else 10_000
    for name, (settings, steps) in CANDIDATES.items() if options.choose else ():
        config = make_config(2 if options.smoke else steps, settings, CHOOSING_SEED)
        names = {"part": "choice", "method": name}
        results.measure(names, config, samples=samples, against="train")
    for seed in range(0 if options.choose else 1 if options.smoke else options.seeds):
        config = make_config(2 if options.smoke else STEPS, {"recipe": RECIPE}, seed)
        names = {"part": "test", "method": f"--recipe {RECIPE}", "seed": str(seed)}
        line = results.measure(names, config, samples=samples)
        if seed < options.exercise_seeds and importlib.util.find_spec("torch") is not None:
            measure_exercise(results, seed, line["training_seconds"], samples)
    if options.picture is not None:
        draw_picture(options.picture, results.work)
    print(make_table(results.lines).to_markdown())


def make_config(steps: int, settings: dict, seed: int):
    """Returns the settings of a run, whose learning rate decays to 0 over its steps."""
    lengths = {"steps": steps, "decay_steps": steps, "seed": seed}
    every = {"sample_every": steps, "checkpoint_every": steps}
    return recipes.make_config(dataset="mnist", **settings | lengths | every)


def measure_exercise(results: record.Record, seed: int, seconds: float, samples: int) -> None:
    """Trains the exercise for some seconds, from the start of the command, and evaluates it."""
    names = {"part": "test", "method": EXERCISE, "seed": str(seed)}
    if any(line.items() >= names.items() for line in results.lines):
        return
    path, begin = results.work / f"exercise-{seed}.npy", time.time()
    command = [sys.executable, "-m", "experiments.exercise", str(path), "--seed", str(seed)]
    command += ["--until", str(begin + seconds)]
    data_dir = results.options.data_dir
    command += ["--data-dir", str(data_dir)] if data_dir else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken = time.time() - begin
    config = evaluate.Config(
        images=(path,), dataset="mnist", data_dir=data_dir, samples=samples, repeats=1
    )
    (found,) = evaluate.main(config).values()
    line = {**names, "settings": {"steps": int(done.stdout)}, "state_sha256": None}
    line |= {"training_seconds": round(taken, 1), "scores": {str(seed): found["mean"]}}
    results.add(line | {"diverged": {}, "seconds": round(taken, 1), "run": surroundings(1)})


def make_table(lines: list[dict]) -> record.Table:
    """Returns the table of the results: means over seeds."""
    rows = []
    for part, method in dict.fromkeys((line["part"], line["method"]) for line in lines):
        own = [line for line in lines if (line["part"], line["method"]) == (part, method)]
        seconds = np.median([line["training_seconds"] for line in own])
        steps = np.median([line["settings"].get("steps", 20_000) for line in own])
        scores = [
            record.format_mean([v for line in own for v in record.scores_of(line, metric)], digits)
            for metric, digits in COLUMNS.items()
        ]
        split = "training" if part == "choice" else "test"
        numbers = [f"{steps:,.0f}", f"{seconds:.0f}"]
        digest = record.short_digest(own[0])
        rows.append([method, split, str(len(own)), *numbers, *scores, digest])
    titles = ["method", "split", "seeds", "steps", "seconds", *COLUMNS, "state_sha256"]
    return record.Table([*titles[:5], "FID", *titles[6:]], rows)


def draw_picture(path: Path, folder: Path) -> None:
    """Draws samples of the exercise beside those of the recipe, both of the first seed.

    folder: that of the runs.
    """
    from matplotlib.figure import Figure

    drawn = folder / "samples.npy"
    run = folder / record.folder_name(["test", f"--recipe {RECIPE}", "0"])
    sample.main(sample.Config(run, num=SHOWN, out=drawn))
    parts = {EXERCISE: folder / "exercise-0.npy", f"--recipe {RECIPE}": drawn}
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    for axes, (name, file) in zip(figure.subplots(1, 2), parts.items(), strict=True):
        axes.imshow(
            plots.grid(np.load(file)[:SHOWN] / 127.5 - 1, columns=COLUMNS_SHOWN), cmap="gray"
        )
        axes.set(xticks=[], yticks=[], title=name)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    mnist(tyro.cli(Options))
