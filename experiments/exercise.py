"""The classic exercise in PyTorch: two three-layer perceptrons, 20 epochs of MNIST, and samples.

    python -m experiments.exercise samples.npy --data-dir ~/tensorflow_datasets

Widths of 256 and 512, Adam with a rate of 2e-4 and beta1 0.5, batches of 64, no average; it needs torch
(`pip install '.[bench]'`). Writes 10,000 samples, uint8 `[n, 28, 28, 1]`. With `--until`, a time in seconds since 1970, it trains
until that time instead of for `--epochs`.
"""

import itertools
import os
import time
from pathlib import Path

import numpy as np
import tyro

from jaxgan import data
from jaxgan.data_settings import DataSettings

EPOCHS = 20
BATCH = 64
SAMPLES = 10_000


def exercise(
    out: tyro.conf.Positional[Path],
    seed: int = 0,
    epochs: int = EPOCHS,
    until: float | None = None,
    data_dir: Path | None = None,
) -> None:
    """Trains, writes samples, and prints the number of steps."""
    import torch

    from experiments.pytorch import NETWORKS

    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count())
    source = data.open_data(DataSettings(dataset="mnist", data_dir=data_dir)).load("train")
    images = torch.from_numpy(np.array(source.images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    g, d = NETWORKS["mlp"](28, 1)
    step, steps = make_step(g, d), 0
    for epoch in itertools.count(1):
        for indices in torch.randperm(len(images)).split(BATCH):
            if len(indices) == BATCH and (until is None or time.time() < until):
                step(images[indices])
                steps += 1
        if epoch >= epochs if until is None else time.time() >= until:
            break
    with torch.no_grad():
        fake = torch.cat([g(torch.randn(1_000, 100)) for _ in range(SAMPLES // 1_000)])
    values = ((fake.permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().clip(0, 255)
    np.save(out, values.astype(np.uint8))
    print(steps)


def make_step(g, d):
    """Returns the function that updates both networks with a batch of images."""
    import torch

    from experiments.pytorch import cross_entropy

    g_adam, d_adam = (
        torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999), fused=True) for player in (g, d)
    )
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def step(real) -> None:
        fake = g(torch.randn(BATCH, 100))
        loss = cross_entropy(d(real), ones) + cross_entropy(d(fake.detach()), zeros)
        d_adam.zero_grad()
        loss.backward()
        d_adam.step()
        g_adam.zero_grad()
        d.requires_grad_(False)
        cross_entropy(d(fake), ones).backward()
        d.requires_grad_(True)
        g_adam.step()

    return step


if __name__ == "__main__":
    tyro.cli(exercise)
