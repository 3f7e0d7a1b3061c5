"""Does the classic exercise, a GAN of two three-layer perceptrons, learn to draw MNIST's digits?

Claim: after 20,000 steps of 64 images (21 epochs) most samples are digits that a person can read,
though some are blurred or broken, and neither player wins: D(real) stays near 0.6 and D(fake) near
0.4.

    python experiments/mnist_mlp.py --data-dir ~/tensorflow_datasets

Measured with seed 0 on 2 cores of an AMD EPYC (jax 0.10.2), in 4 to 5 minutes: over the last 5,000
steps D(real) 0.63, D(fake) 0.38, d_loss 1.08, g_loss 1.25. The last samples are in
`experiments/results/mnist_mlp.png`; a run leaves its own in `runs/mnist_mlp/`.
"""

from pathlib import Path

import tyro

from jaxgan.config import Config
from jaxgan.train import main


def mnist_mlp(steps: int = 20_000, seed: int = 0, data_dir: Path | None = None) -> dict:
    """Trains the exercise and returns the summary of the run."""
    out = Path("runs/mnist_mlp")
    return main(Config(dataset="mnist", data_dir=data_dir, steps=steps, seed=seed, out=out))


if __name__ == "__main__":
    tyro.cli(mnist_mlp)
