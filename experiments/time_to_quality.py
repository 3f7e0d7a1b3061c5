"""How soon is a GAN as good as the classic exercise after 20 epochs?

    python -m experiments.time_to_quality --data-dir ~/tensorflow_datasets

The classic exercise, two three-layer perceptrons in PyTorch, is trained for 20 epochs of MNIST; the
mean FID of its samples over the seeds is the target. For every method, it searches the number of
steps, in a list, with which the mean FID over the seeds first is at most the target. Then the
exercise and all methods are timed in turn: whole commands, from their start to their end, with
compiled programs in the cache. It appends a line of JSON for each to the file `results`.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import tyro

from experiments.exercise import BATCH, EPOCHS
from experiments.speed import machine
from jaxgan import evaluate, train
from jaxgan.runs import recipes

STEPS = (150, 200, 300, 450, 700, 1_000, 1_500, 2_200, 3_300, 5_000, 7_500, 11_000, 17_000)
NARROW = {"recipe": "san", "width": 32, "batch_size": 64, "learning_rate": 4e-3}
METHODS = {
    "default": {},
    "mnist_mlp": {"recipe": "mnist_mlp"},
    "dcgan": {"recipe": "dcgan"},
    "san of width 32": NARROW,
    "san of width 32, with labels": NARROW | {"conditional": True},
}
"""Settings of the methods. The last one is told the digits' classes, which the exercise is not."""


def settings_of(method: str, steps: int) -> dict:
    """Returns the settings of a method in a run of some steps."""
    return METHODS[method] | {"steps": steps, "sample_every": steps, "checkpoint_every": steps}


def fid_of(method: str, steps: int, seeds: int, data_dir: Path | None, work: Path) -> float:
    """Returns the mean FID over the seeds of a method after some steps, and keeps it in a file.

    So a search that was stopped is continued. Raises `UsageError` if the method's settings changed.
    """
    settings = {"recipe": "classic"} | settings_of(method, steps)
    folder = work / method.replace(" ", "_").replace(",", "")
    paths = tuple(folder / str(seed) for seed in range(seeds))
    kept = folder / f"fid_{steps}_{seeds}.json"
    if kept.exists() and (found := json.loads(kept.read_text()))["settings"] == settings:
        return found["fid"]
    for seed, out in enumerate(paths):
        config = recipes.make_config(
            dataset="mnist", data_dir=data_dir, seed=seed, out=out, **settings
        )
        train.main(config)
    found = evaluate.main(evaluate.Config(paths, data_dir=data_dir, repeats=1, cas=False))
    fid = statistics.fmean(each["mean"]["fid"] for each in found.values())
    kept.write_text(json.dumps({"settings": settings, "fid": fid}))
    return fid


def steps_to(target: float, method: str, seeds: int, data_dir: Path | None, work: Path):
    """Returns the steps after which the mean FID is at most the target, and it; or None."""
    for steps in STEPS:
        fid = fid_of(method, steps, seeds, data_dir, work)
        print(f"{method}, {steps:,} steps: FID {fid:.2f}, target {target:.2f}")
        if fid <= target:
            return steps, fid
    return None


def seconds_of(command: list[str]) -> float:
    """Returns the duration of a command. Raises `SystemExit` if it fails."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-500:]}")
    return time.perf_counter() - begin


def command_of(method: str, steps: int, out: Path, data_dir: Path | None) -> list[str]:
    """Returns the command that trains a method for some steps."""
    flags = settings_of(method, steps) | {"out": out, "dataset": "mnist"}
    flags |= {"data_dir": data_dir} if data_dir else {}
    words = [sys.executable, "-m", "jaxgan.train", "--overwrite"]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words


def time_to_quality(
    seeds: int = 3,
    rounds: int = 3,
    data_dir: Path | None = None,
    work: Path = Path("runs/time_to_quality"),
    results: Path | None = None,
    methods: tuple[Literal[tuple(METHODS)], ...] = tuple(METHODS),
) -> None:
    """Measures, and prints the ratios."""
    work.mkdir(parents=True, exist_ok=True)
    exercise = [sys.executable, "-m", "experiments.exercise"]
    exercise += ["--data-dir", str(data_dir)] if data_dir else []
    paths = [work / f"exercise-{seed}.npy" for seed in range(seeds)]
    for seed, path in enumerate(paths):
        if not path.exists():
            seconds_of([*exercise, str(path), "--seed", str(seed)])
    scores = evaluate.main(
        evaluate.Config(images=tuple(paths), dataset="mnist", data_dir=data_dir, cas=False)
    )
    target = statistics.fmean(each["mean"]["fid"] for each in scores.values())
    found = {method: steps_to(target, method, seeds, data_dir, work) for method in methods}
    commands = {"exercise": [*exercise, str(work / "timed.npy")]}
    for method, reached in found.items():
        if reached:
            commands[method] = command_of(method, reached[0], work / "timed", data_dir)
            seconds_of(commands[method])  # It compiles.
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds_of(command))
    for name, seconds in times.items():
        steps, fid = found[name] if name in found else (EPOCHS * (60_000 // BATCH), target)
        ratios = [own / base for own, base in zip(seconds, times["exercise"], strict=True)]
        line = {"method": name, "steps": steps, "fid": fid, "target": target, "seconds": seconds}
        line |= {"ratio": statistics.median(ratios), "seeds": seeds, "machine": machine()}
        print(json.dumps(line))
        if results:
            with open(results, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    tyro.cli(time_to_quality)
