"""Does each of the networks learn to draw MNIST's digits?

Claim: within the budgets below, ten minutes in all on two CPU cores, each draws strokes of the
right thickness and mostly digits, the mlp with specks around them; none falls into fog or into
drawing one digit alone. The resnet and the r3gan are narrow, and the samples are not meant to rank
them.

    python -m experiments.networks --data-dir ~/tensorflow_datasets

Measured with seed 0 on 2 cores of an AMD EPYC (jax 0.10.2). The last samples are in
`experiments/results/networks.png`; the runs are in `runs/networks/`.
"""

from pathlib import Path

import numpy as np
import tyro

from jaxgan.runs.config import Config
from jaxgan.train import main

SETTINGS = {
    "mlp": {"steps": 6_000},
    "dcgan": {"steps": 3_000},
    "resnet": {"steps": 1_500, "width": 16, "loss": "hinge", "beta1": 0.0, "beta2": 0.9},
    "r3gan": {
        "steps": 1_500,
        "width": 16,
        "latent_size": 64,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "loss": "relativistic",
        "r1": 1.0,
        "r2": 1.0,
        "beta1": 0.0,
        "beta2": 0.99,
    },
}
RUNS = Path("runs/networks")


def networks(data_dir: Path | None = None) -> None:
    """Trains the networks one after the other and draws their last samples."""
    for name, settings in SETTINGS.items():
        config = Config(dataset="mnist", data_dir=data_dir, network=name, **settings)
        main(Config(**{**vars(config), "out": RUNS / name}))
    picture(Path(__file__).parent / "results" / "networks.png")


def picture(path: Path) -> None:
    """Draws the last samples of every run, side by side."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(12, 3.3), layout="constrained")
    for axes, (name, settings) in zip(figure.subplots(1, 4), SETTINGS.items(), strict=True):
        samples = RUNS / name / "samples" / f"{settings['steps']:09d}.png"
        axes.imshow(np.asarray(Image.open(samples)), cmap="gray")
        axes.set(xticks=[], yticks=[], title=f"{name}, {settings['steps']:,} steps")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    tyro.cli(networks)
