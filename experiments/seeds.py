"""How much do the results of the classic exercise differ from seed to seed?

Claim: even of means over 1,250 steps, a seed's loss of the generator differs from another's by 6 %
(one standard deviation over 8 seeds), its norms of gradients by 6 to 9 %; a difference between two
methods that is not larger than that, and was seen with one seed, says nothing.

    python -m experiments.seeds --data-dir ~/tensorflow_datasets

It trains 8 seeds of the MNIST exercise in one program, for five epochs, prints a table of each
seed's means over the last quarter of the steps, their mean and standard deviation over the seeds,
and draws every seed's curves and samples into one picture. A run that was stopped is continued.

Measured with the seeds 0 to 7 on 2 cores of an AMD EPYC (jax 0.10.2), in about 7 minutes:
`experiments/results/seeds.md` and `experiments/results/seeds.png`.
"""

import json
from pathlib import Path

import numpy as np
import tyro

from jaxgan.gan import Metrics
from jaxgan.runs.config import Config
from jaxgan.runs.plots import table
from jaxgan.train import main

NAMES = Metrics._fields


def seeds(
    steps: int = 5_000,
    seeds: int = 8,
    seed: int = 0,
    data_dir: Path | None = None,
    devices: int = 1,
    out: Path = Path("runs/seeds"),
) -> None:
    """Trains, and writes `seeds.png` and `seeds.md` into the run directory."""
    config = Config(
        dataset="mnist",
        data_dir=data_dir,
        steps=steps,
        seed=seed,
        seeds=seeds,
        devices=devices,
        sample_every=max(1, steps // 20),
        out=out,
    )
    main(config)
    rows = read_rows(out / "metrics.jsonl")
    text = markdown(config, rows)
    (out / "seeds.md").write_text(text)
    print(text)
    picture(out / "seeds.png", rows, sorted((out / "samples").glob("*.png"))[-1])


def read_rows(path: Path) -> list[dict]:
    """Returns the lines of `metrics.jsonl`."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def markdown(config: Config, rows: list[dict]) -> str:
    """Returns the table: means over the last quarter of the steps, a line for each seed."""
    last = {}
    for name in NAMES:
        steps, values = table(rows, name, range(config.seed, config.seed + config.seeds))
        # A seed that diverged has NaN there, and so have the mean and the deviation.
        last[name] = values[:, steps > 0.75 * config.steps].mean(axis=1)
    lines = [["seed", *NAMES], ["---"] * (1 + len(NAMES))]
    for k in range(config.seeds):
        lines.append([str(config.seed + k), *(f"{last[name][k]:.3f}" for name in NAMES)])
    for what, of in (("mean", np.mean), ("deviation", lambda v: np.std(v, ddof=1))):
        lines.append([what, *(f"{of(last[name]):.3f}" for name in NAMES)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def picture(path: Path, rows: list[dict], samples: Path) -> None:
    """Draws each seed's running means, and below them the last samples, a row for each seed."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(10, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
    curves = {"g_loss": "generator's loss", "d_loss": "discriminator's loss"}
    for axes, (name, title) in zip(above.subplots(1, 2), curves.items(), strict=True):
        steps, values = table(rows, name)
        width = max(1, len(steps) // 50)
        for seed in values:
            mean = np.convolve(seed, np.ones(width) / width, "valid")
            axes.plot(steps[width - 1 :], mean, linewidth=0.9)
        axes.set(title=f"{title}, a line for each seed", xlabel="step")
        axes.grid(alpha=0.3)
    axes = below.subplots()
    axes.imshow(np.asarray(Image.open(samples)), cmap="gray")
    axes.set(xticks=[], yticks=[], title="samples, a row for each seed")
    figure.savefig(path)


if __name__ == "__main__":
    tyro.cli(seeds)
