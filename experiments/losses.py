"""Which loss is the best on MNIST after 20 epochs, and by more than the seeds differ?

    taskset -c 0 python -m experiments.losses --networks mlp --width 128 --seeds-apart --data-dir ~/tensorflow_datasets
    python -m experiments.losses --choosing-seeds 2 --data-dir ~/tensorflow_datasets

Answer, for an mlp of width 128: DRAGAN has the lowest mean FID, 0.5 to 0.7 below least squares, hinge
and the non-saturating loss, and it is below them with each of the five seeds. The best learning rate of all of these
is 1e-3, five times the usual one. The relativistic loss without penalties and the Wasserstein losses
need smaller rates and are worse, most of all with clipped weights. With the minimax loss, one seed of
five fails (FID 68), and the other four, 2.3 to 2.9, cannot be told apart from DRAGAN. The published order, in
which the clipped WGAN and the non-saturating loss are the best, and WGAN-GP by far the worst, is not
that of these networks.

The question of Lucic et al. 2018 ("Are GANs created equal?"), with its length of training, 20 epochs
of MNIST in batches of 64, without an average, but a smaller search. For each loss, the best of five learning rates is chosen by the FID
against 10,000 training images, with another seed. With this rate, five seeds are trained, and
compared with the test split. The first command, which gave the results, takes two hours of one core, or
an hour of two: start it twice, under `taskset -c 0` and `taskset -c 1`, each with half of the `--losses`.
The second one, for both networks at their usual widths, is for a GPU, and was not measured yet.

"FID above the best" is the difference from the first loss, mean over the seeds that both have, and
its interval of 95 % by a paired bootstrap. From five pairs, such an interval is too narrow: it holds
the true difference in about 84 % of cases. And the best of several losses was also lucky.

What differs from the paper: networks (here the mlp and the dcgan), 60,000 training images instead of
50,000, and FID (here of a classifier's features, there of Inception). The paper tried 100 settings of
each loss, also of Adam's beta1 (here 0.5), of the discriminator's updates (here one for each of the
generator's) and of batch norm, and left collapsed runs out; published is mean and standard deviation.
With WGAN-GP and DRAGAN, the dcgan's discriminator has no batch norm, and with other losses it has.

Results (`python -m experiments.tables`):

| network | epochs | loss | rate | seeds | FID | precision | recall | FID above the best | published (other FID) | state_sha256 (first seed) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| mlp of width 128 | 20 | DRAGAN | 0.001 | 5 | 2.41 ± 0.08 | 0.71 ± 0.00 | 0.59 ± 0.01 |  | 7.6 ± 0.4 | d4c911b9e54e |
| mlp of width 128 | 20 | least_squares | 0.001 | 5 | 2.89 ± 0.08 | 0.68 ± 0.01 | 0.54 ± 0.00 | 0.48 (0.24 to 0.65) | 7.8 ± 0.6 | f3322b7aa5d8 |
| mlp of width 128 | 20 | hinge | 0.001 | 5 | 3.04 ± 0.06 | 0.67 ± 0.01 | 0.48 ± 0.01 | 0.63 (0.43 to 0.76) |  | f58fcb3a05ef |
| mlp of width 128 | 20 | non_saturating | 0.001 | 5 | 3.07 ± 0.18 | 0.69 ± 0.01 | 0.53 ± 0.03 | 0.66 (0.31 to 0.98) | 6.8 ± 0.5 | 65df5debdd73 |
| mlp of width 128 | 20 | WGAN-GP | 0.0002 | 5 | 5.34 ± 0.13 | 0.67 ± 0.01 | 0.45 ± 0.01 | 2.93 (2.65 to 3.19) | 20.3 ± 5.0 | 2ade5d24097d |
| mlp of width 128 | 20 | relativistic | 0.0005 | 5 | 8.72 ± 0.71 | 0.68 ± 0.02 | 0.16 ± 0.07 | 6.31 (4.97 to 7.66) |  | 9660832e90d0 |
| mlp of width 128 | 20 | clipped WGAN | 0.0002 | 5 | 13.29 ± 1.65 | 0.67 ± 0.04 | 0.16 ± 0.04 | 10.88 (9.06 to 14.13) | 6.7 ± 0.4 | 862eff2fd24d |
| mlp of width 128 | 20 | minimax | 0.001 | 5 | 15.66 ± 13.08 | 0.76 ± 0.06 | 0.44 ± 0.11 | 13.25 (0.01 to 39.37) | 9.8 ± 0.9 | a6379c0eb33b |

Measured on 1 core (Intel(R) Xeon(R) Processor avx512f), jax 0.10.2: 80 runs, 114 minutes.
"""

import dataclasses
import statistics
import sys
from typing import Literal

import numpy as np

from experiments import record
from jaxgan.constraints import Count, Rate
from jaxgan.runs.config import Config

SEEDS = 5
CHOOSING_SEED = 1_000
EPOCHS = 20
IMAGES = 60_000
BATCH = 64
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
LOSSES = {
    "minimax": {"loss": "minimax"},
    "non_saturating": {"loss": "non_saturating"},
    "least_squares": {"loss": "least_squares"},
    "hinge": {"loss": "hinge"},
    "relativistic": {"loss": "relativistic"},
    "clipped WGAN": {"loss": "wasserstein", "clip_weights": 0.01},
    "WGAN-GP": {"loss": "wasserstein", "gradient_penalty": 10.0},
    "DRAGAN": {"loss": "non_saturating", "dragan": 10.0},
}
PUBLISHED = {
    "minimax": "9.8 ± 0.9",
    "non_saturating": "6.8 ± 0.5",
    "least_squares": "7.8 ± 0.6",
    "clipped WGAN": "6.7 ± 0.4",
    "WGAN-GP": "20.3 ± 5.0",
    "DRAGAN": "7.6 ± 0.4",
}
"""FID of Inception, mean and standard deviation (Lucic et al., as Dai and Wipf 2019 quote it)."""
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Options(record.Options):
    """Choose a learning rate for every loss, then train and evaluate it with several seeds."""

    networks: tuple[Literal["mlp", "dcgan"], ...] = ("mlp", "dcgan")
    """networks to train"""
    epochs: Rate = EPOCHS
    """length of every run"""
    losses: tuple[Literal[tuple(LOSSES)], ...] = tuple(LOSSES)
    """losses to compare"""
    width: Count | None = None
    """base width of the networks; if not given, that of jaxgan.train"""
    seeds: Count = SEEDS
    """number of seeds with which the best learning rate of each loss is measured"""
    choosing_seeds: Count = 1
    """number of seeds with which each learning rate is tried"""


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
    """Chooses the learning rate of a loss, and measures it with this rate if one is left."""
    steps = 5 if options.smoke else round(options.epochs * IMAGES / BATCH)
    samples = 200 if options.smoke else 10_000
    config = Config(
        dataset="mnist",
        network=network,
        width=options.width,
        steps=steps,
        sample_every=steps,
        checkpoint_every=steps,
        ema_half_life=0.0,
        **LOSSES[loss],
    )
    shown = f"{network} of width {options.width}" if options.width else network
    names = {"network": shown, "loss": loss, "part": "choice of the rate"}
    seeds = range(CHOOSING_SEED, CHOOSING_SEED + options.choosing_seeds)
    tried = {
        rate: results.measure_seeds(
            names,
            dataclasses.replace(config, learning_rate=rate),
            seeds,
            samples=samples,
            against="train",
        )
        for rate in (RATES[:2] if options.smoke else RATES)
    }
    if rate := choose_rate(tried):
        best = dataclasses.replace(config, learning_rate=rate)
        seeds = range(1 if options.smoke else options.seeds)
        results.measure_seeds(names | {"part": "test"}, best, seeds, samples=samples)


def choose_rate(tried: dict[float, dict]) -> float | None:
    """Returns the learning rate with the smallest mean FID, of those with which no seed diverged.

    tried: the line of each learning rate. Returns None if seeds diverged with all of them.
    """
    fids = {}
    for rate, line in tried.items():
        found = record.scores_of(line, "fid")
        if len(found) == line["settings"].get("seeds", 1):
            fids[rate] = statistics.fmean(found.values())
    return min(fids, key=fids.get, default=None)


def bootstrap(differences: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean of differences, and the ends of its interval of 95 %."""
    rng = np.random.default_rng(0)
    drawn = differences[rng.integers(len(differences), size=(RESAMPLES, len(differences)))]
    return float(differences.mean()), *np.percentile(drawn.mean(axis=1), (2.5, 97.5)).tolist()


def make_table(lines: list[dict]) -> record.Table:
    """Returns the table of the results, for each network and length from the best loss to the worst."""
    rows, lines = [], [line for line in record.merge_runs(lines) if line["part"] == "test"]
    length_of = lambda line: (line["network"], line["settings"].get("steps", Config.steps))
    for network, steps in dict.fromkeys(map(length_of, lines)):
        tested = [line for line in lines if length_of(line) == (network, steps)]
        tested = [line for line in tested if record.scores_of(line, "fid")]
        tested.sort(key=lambda line: statistics.fmean(record.scores_of(line, "fid").values()))
        for line in tested:
            scores = [
                record.format_mean(record.scores_of(line, metric), 2)
                for metric in ("fid", "precision", "recall")
            ]
            rate = f"{line['settings'].get('learning_rate', 2e-4):g}"
            first = [network, f"{steps * BATCH / IMAGES:.3g}", line["loss"], rate]
            seeds = record.count_seeds(line, "fid")
            apart = "" if line is tested[0] else format_difference(line, tested[0])
            published = PUBLISHED.get(line["loss"], "")
            digest = record.short_digest(line)
            rows.append([*first, seeds, *scores, apart, published, digest])
    titles = ["network", "epochs", "loss", "rate", "seeds", "FID", "precision", "recall"]
    more = ["FID above the best", "published (other FID)", "state_sha256 (first seed)"]
    return record.Table([*titles, *more], rows)


def format_difference(line: dict, best: dict) -> str:
    """Returns the difference of FID over the seeds that both lines have, with its interval."""
    own, others = (record.scores_of(each, "fid") for each in (line, best))
    differences = [own[seed] - others[seed] for seed in own if seed in others]
    if not differences:
        return ""
    mean, low, high = bootstrap(np.array(differences))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    sys.exit(record.run(Options, losses))
