"""Which loss is the best on MNIST after 20 epochs, and by more than the seeds differ?

    python -m experiments.losses --data-dir ~/tensorflow_datasets

The question of Lucic et al. 2018 ("Are GANs created equal?"), at its budget: 20 epochs of MNIST in
batches of 64, without an average. The paper has networks of its own, FID of Inception and 100
random settings of each loss; here are the mlp and the dcgan, FID of a classifier's features, and the
best of four learning rates of each loss. The rate is chosen by the FID against 10,000 training
images, with a seed that is not used afterwards. Then five seeds are trained, and compared with the
test split. "From the best" is the difference of FID from the best loss, over the same seeds, with
its interval of 95 % by a paired bootstrap.

Results (`python -m experiments.tables`):

| network | loss | rate | FID | precision | recall | from the best | published | state_sha256 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| mlp | minimax | 0.0001 | 5.40 ± 0.10 | 0.68 ± 0.00 | 0.52 ± 0.01 |  | 9.8 ± 0.9 | 286bde4e813f |

Measured on NVIDIA H200, jax 0.11.2: 7 minutes (3 runs).
"""

import dataclasses
from typing import Literal

import numpy as np
import tyro

from experiments import record
from jaxgan.runs.config import Config

SEEDS = 5
CHOOSING_SEED = 1_000
EPOCHS = 20
IMAGES = 60_000
BATCH = 64
RATES = (1e-4, 2e-4, 5e-4, 1e-3)
LOSSES = {
    "minimax": {"loss": "minimax"},
    "non_saturating": {"loss": "non_saturating"},
    "least_squares": {"loss": "least_squares"},
    "hinge": {"loss": "hinge"},
    "relativistic": {"loss": "relativistic"},
    "WGAN, clipped": {"loss": "wasserstein", "clip_weights": 0.01},
    "WGAN-GP": {"loss": "wasserstein", "gradient_penalty": 10.0},
    "DRAGAN": {"loss": "non_saturating", "dragan": 10.0},
}
PUBLISHED = {
    "minimax": "9.8 ± 0.9",
    "non_saturating": "6.8 ± 0.5",
    "least_squares": "7.8 ± 0.6",
    "WGAN, clipped": "6.7 ± 0.4",
    "WGAN-GP": "20.3 ± 5.0",
    "DRAGAN": "7.6 ± 0.4",
}
"""FID of Inception and its standard deviation over seeds (Lucic et al., as others quote it)."""
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Options(record.Options):
    """Choose a learning rate for every loss, then train and evaluate it with five seeds."""

    networks: tuple[Literal["mlp", "dcgan"], ...] = ("mlp", "dcgan")
    """networks to train"""
    epochs: float = EPOCHS
    """length of every run"""
    losses: tuple[Literal[tuple(LOSSES)], ...] = tuple(LOSSES)
    """losses to compare"""


def losses(options: Options) -> None:
    """Does what `Options` says."""
    results = record.Record("losses", options)
    networks, chosen = options.networks, options.losses
    if options.smoke:
        networks, chosen = ("mlp",), ("hinge",)
    for network in networks:
        for loss in chosen:
            compare(results, network, loss, options)
    print(make_table(results.lines).to_markdown())


def compare(results: record.Record, network: str, loss: str, options: Options) -> None:
    """Chooses the learning rate of a loss, and measures it with this rate."""
    steps = 5 if options.smoke else round(options.epochs * IMAGES / BATCH)
    samples = 200 if options.smoke else 10_000
    config = Config(
        dataset="mnist",
        network=network,
        steps=steps,
        sample_every=steps,
        checkpoint_every=steps,
        ema_half_life=0.0,
        **LOSSES[loss],
    )
    axis = {"axes": {"learning_rate": RATES}, "seed": CHOOSING_SEED}
    names = {"network": network, "loss": loss, "part": "choice of the rate"}
    rates = dataclasses.replace(config, **axis)
    found = results.measure(names, rates, samples=samples, against="train")["scores"]
    fids = {rate: found.get(f"learning_rate={rate}", {}).get("fid", np.inf) for rate in RATES}
    best = dataclasses.replace(config, learning_rate=min(fids, key=fids.get), seeds=SEEDS)
    results.measure(names | {"part": "test"}, best, samples=samples)


def bootstrap(differences: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean of differences, and the ends of its interval of 95 %."""
    rng = np.random.default_rng(0)
    drawn = differences[rng.integers(len(differences), size=(RESAMPLES, len(differences)))]
    return float(differences.mean()), *np.percentile(drawn.mean(axis=1), (2.5, 97.5)).tolist()


def make_table(lines: list[dict]) -> record.Table:
    """Returns the table of the results, for each network from the best loss to the worst."""
    rows = []
    for network in dict.fromkeys(line["network"] for line in lines):
        tested = [line for line in lines if (line["network"], line["part"]) == (network, "test")]
        tested = [line for line in tested if len(record.scores_of(line, "fid")) == SEEDS]
        tested.sort(key=lambda line: np.mean(record.scores_of(line, "fid")))
        for line in tested:
            fids = np.array(record.scores_of(line, "fid"))
            mean, low, high = bootstrap(fids - np.array(record.scores_of(tested[0], "fid")))
            apart = "" if line is tested[0] else f"{mean:.2f} ({low:.2f} to {high:.2f})"
            scores = [record.format_mean(fids.tolist(), 2)]
            for metric in ("precision", "recall"):
                scores.append(record.format_mean(record.scores_of(line, metric), 2))
            rate = f"{line['settings'].get('learning_rate', 2e-4):g}"
            published = PUBLISHED.get(line["loss"], "")
            digest = record.short_digest(line)
            rows.append([network, line["loss"], rate, *scores, apart, published, digest])
    titles = ["network", "loss", "rate", "FID", "precision", "recall", "from the best"]
    return record.Table([*titles, "published", "state_sha256"], rows)


if __name__ == "__main__":
    losses(tyro.cli(Options))
