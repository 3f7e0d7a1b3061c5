"""Which methods reach all modes of two mixtures of Gaussians, and stay near them?

    python -m experiments.mixtures

Protocol of PacGAN (Lin et al. 2018, table 1): 8 Gaussians on a ring and 25 on a grid, its networks
(`--network maxout`), latents of 2, batches of 100 (packed) points, 2,500 samples, of which those
within 3 standard deviations of a mean are of high quality; 10 seeds. The methods of its table use
its optimizer (Adam, rate 1e-4, beta1 0.8) and no average. Published runs have 400,000 steps and
100,000 fixed points; here every step has new points, and `--steps` says how many there are.

Results (`python -m experiments.tables`):

| data | method | steps | modes | high quality, % | reverse KL | covariance ratio | state_sha256 |
| --- | --- | --- | --- | --- | --- | --- | --- |
| ring | GAN, published | 400,000 | 6.3 ± 0.5 | 98.2 ± 0.2 | 0.45 ± 0.09 |  |  |
| ring | PacGAN2, published | 400,000 | 7.9 ± 0.1 | 95.6 ± 2.0 | 0.07 ± 0.03 |  |  |
| ring | PacGAN4, published | 400,000 | 7.8 ± 0.1 | 95.9 ± 1.4 | 0.07 ± 0.02 |  |  |
| ring | non_saturating | 50,000 | 7.3 ± 0.3 | 92.6 ± 2.5 | 0.259 ± 0.061 | 0.22 ± 0.01 | 6bf0f9a14f73 |
| ring | non_saturating, R1 | 50,000 | 7.9 ± 0.1 | 77.2 ± 4.0 | 0.006 ± 0.001 | 0.26 ± 0.02 | 1b87a055bafe |
| ring | WGAN-GP | 50,000 | 8.0 ± 0.0 | 84.1 ± 2.9 | 0.004 ± 0.001 | 0.31 ± 0.02 | eaa24d2cbc39 |
| ring | relativistic, R1, R2 | 100,000 | 8.0 ± 0.0 | 97.9 ± 0.3 | 0.003 ± 0.001 | 0.31 ± 0.02 | faadd25fdf4a |
| grid | GAN, published | 400,000 | 17.3 ± 0.8 | 94.8 ± 0.7 | 0.70 ± 0.07 |  |  |
| grid | PacGAN2, published | 400,000 | 23.8 ± 0.7 | 91.3 ± 0.8 | 0.13 ± 0.04 |  |  |
| grid | PacGAN4, published | 400,000 | 24.8 ± 0.2 | 93.6 ± 0.6 | 0.04 ± 0.01 |  |  |
| grid | WGAN-GP | 50,000 | 24.9 ± 0.1 | 78.7 ± 1.3 | 0.010 ± 0.001 | 0.36 ± 0.01 | 4aa99ded3738 |
| grid | relativistic, R1, R2 | 100,000 | 25.0 ± 0.0 | 97.1 ± 0.3 | 0.007 ± 0.001 | 0.31 ± 0.04 | 0669e854818e |

Measured on NVIDIA H200, jax 0.11.2: 12 minutes (3 of 6 runs).
"""

import dataclasses

import tyro

from experiments import record
from jaxgan.runs.config import Config

SEEDS = 10
BATCH = 100
STABLE = {"beta1": 0.0, "beta2": 0.99, "fresh_generator_batch": True, "ema_half_life": 50_000.0}
METHODS = {
    "non_saturating": {},
    "non_saturating, R1": {"r1": 0.1},
    "packing 2": {"pack": 2},
    "packing 4": {"pack": 4},
    "WGAN-GP": {
        "loss": "wasserstein",
        "gradient_penalty": 0.1,
        "beta1": 0.0,
        "beta2": 0.9,
        "d_steps": 5,
    },
    "top-k": {"top_k": 1.0, "final_top_k": 0.5},
    "relativistic, R1, R2": STABLE | {"loss": "relativistic", "learning_rate": 1e-3},
}
"""Settings that differ from those of PacGAN's GAN."""
WEIGHTS = {"ring": 0.02, "grid": 0.3}
"""Weights of R1 and R2 with the relativistic loss: points of the grid are farther apart."""
PUBLISHED = {
    "GAN": ("6.3 ± 0.5", "98.2 ± 0.2", "0.45 ± 0.09", "17.3 ± 0.8", "94.8 ± 0.7", "0.70 ± 0.07"),
    "PacGAN2": (
        "7.9 ± 0.1",
        "95.6 ± 2.0",
        "0.07 ± 0.03",
        "23.8 ± 0.7",
        "91.3 ± 0.8",
        "0.13 ± 0.04",
    ),
    "PacGAN4": (
        "7.8 ± 0.1",
        "95.9 ± 1.4",
        "0.07 ± 0.02",
        "24.8 ± 0.2",
        "93.6 ± 0.6",
        "0.04 ± 0.01",
    ),
}
"""Modes, high quality in percent and reverse KL, of the ring and of the grid (PacGAN, table 1)."""
COLUMNS = {
    "modes": (1, 1),
    "high_quality": (1, 100),
    "reverse_kl": (3, 1),
    "covariance_ratio": (2, 1),
}
"""Digits after the point and factors of the scores in the table."""


def settings_of(method: str, dataset: str, steps: int) -> dict:
    """Returns the settings of a method that differ from the defaults."""
    settings = {"learning_rate": 1e-4, "beta1": 0.8, "ema_half_life": 0.0} | METHODS[method]
    if "final_top_k" in settings:
        settings["burn_in"] = BATCH * steps // 2
    if settings.get("loss") == "relativistic":
        settings |= {"r1": WEIGHTS[dataset], "r2": WEIGHTS[dataset], "decay_steps": steps}
    return settings | {"batch_size": BATCH * settings.get("pack", 1)}


@dataclasses.dataclass(frozen=True)
class Options(record.Options):
    """Train every method on both mixtures, ten seeds each, and evaluate it."""

    steps: int = 400_000
    """number of steps of every run"""
    datasets: tuple[str, ...] = ("ring", "grid")
    """mixtures to train on"""
    methods: tuple[str, ...] = tuple(METHODS)
    """methods to train"""


def mixtures(options: Options) -> None:
    """Does what `Options` says."""
    results = record.Record("mixtures", options)
    steps, seeds, methods = options.steps, SEEDS, options.methods
    if options.smoke:
        steps, seeds, methods = 5, 2, ("packing 2",)
    for method in methods:
        for dataset in options.datasets:
            config = Config(
                dataset=dataset,
                network="maxout",
                latent_size=2,
                steps=steps,
                seeds=seeds,
                sample_every=max(1, steps // 10),
                checkpoint_every=max(1, steps // 4),
                **settings_of(method, dataset, steps),
            )
            results.measure({"data": dataset, "method": method}, config, samples=2_500)
    print(make_table(results.lines).to_markdown())


def make_table(lines: list[dict]) -> record.Table:
    """Returns the table of the results, beside the published one."""
    found = {(line["data"], line["method"]): line for line in lines}
    rows = []
    for dataset in WEIGHTS:
        first = 3 * list(WEIGHTS).index(dataset)
        for method, cells in PUBLISHED.items():
            rows.append(
                [dataset, f"{method}, published", "400,000", *cells[first : first + 3], "", ""]
            )
        for method in METHODS:
            if line := found.get((dataset, method)):
                scores = [
                    record.format_mean(record.scores_of(line, metric), *how)
                    for metric, how in COLUMNS.items()
                ]
                steps = f"{line['settings'].get('steps', 20_000):,}"
                rows.append([dataset, method, steps, *scores, record.short_digest(line)])
    titles = ["data", "method", "steps", "modes", "high quality, %", "reverse KL"]
    return record.Table([*titles, "covariance ratio", "state_sha256"], rows)


if __name__ == "__main__":
    mixtures(tyro.cli(Options))
