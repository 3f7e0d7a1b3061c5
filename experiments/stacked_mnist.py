"""How many of the 1,000 modes of stacked MNIST do GANs reach, and how soon?

    python -m experiments.stacked_mnist --protocols standard --data-dir ~/tensorflow_datasets
    python -m experiments.stacked_mnist --protocols small --data-dir ~/tensorflow_datasets

Claim: a dcgan with SAN reaches all 1,000 modes in each seed after 2,000 steps, 256,000 images. Its
KL after 16,000 steps, 2 million images, is above that of R3GAN after 10 million. The protocol `small`
was not measured yet.

An image is three MNIST digits, one in each channel; a classifier of digits (99.4 % accuracy) says
which of the 1,000 modes a sample is of. Every step has new triples of the training split.

`small` is the protocol of Metz et al. 2017 as PacGAN has it (table 3): a discriminator with a half or
a quarter of the generator's channels (`--network stacked`), latents of 256, batches of 128 (packed)
images. Published runs have 500,000 steps, 25,600 samples and 50 seeds; here are 26,000 samples. The
method with R1 and R2 has no batch norm in the discriminator, larger rates that decay to 0, and an
average. `standard` is that of most tables: any network, 26,000 samples, as far as papers say so
(PacGAN and others with 128,000 fixed triples). Here are batches of 128, and learning rates that decay
over 16,000 steps: earlier rows are parts of that run.

KL is the divergence from uniform frequencies in nats, as in published tables; a perfect model with
the digits' frequencies in MNIST has 0.024. "KL corrected" is the divergence from the frequencies in
the data, without the bias of the number of samples; 0 is perfect. Seconds are those of training all
seeds at once and of compiling; where other runs shared the device, they say little.

Results (`python -m experiments.tables`):

| protocol | channels of D / G | method | steps | seeds | modes | KL | KL corrected | seconds | state_sha256 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| small | 1/2 | DCGAN (published) |  |  | 487.7 ± 34.6 | 2.24 ± 0.15 |  |  |  |
| small | 1/2 | Unrolled GAN, 10 steps (published) |  |  | 817.4 ± 37.9 | 1.43 ± 0.12 |  |  |  |
| small | 1/2 | PacDCGAN3 (published) |  |  | 866.6 ± 12.1 | 0.90 ± 0.04 |  |  |  |
| small | 1/4 | DCGAN (published) |  |  | 78.5 ± 17.6 | 5.21 ± 0.19 |  |  |  |
| small | 1/4 | Unrolled GAN, 10 steps (published) |  |  | 327.2 ± 74.7 | 4.66 ± 0.46 |  |  |  |
| small | 1/4 | PacDCGAN4 (published) |  |  | 667.4 ± 29.0 | 1.81 ± 0.15 |  |  |  |
| standard |  | PacDCGAN2 (published) |  |  | 1000.0 ± 0.0 | 0.06 ± 0.003 |  |  |  |
| standard |  | MEG (published) |  |  | 1,000 | 0.031 |  |  |  |
| standard |  | R3GAN (published) |  |  | 1,000 | 0.029 |  |  |  |
| standard |  | SAN | 1,000 | 3 | 985.3 ± 5.7 | 0.4448 ± 0.0708 | 0.4353 ± 0.0734 | 40 | 855ccccbb25b |
| standard |  | SAN | 2,000 | 3 | 1000.0 ± 0.0 | 0.1354 ± 0.0138 | 0.1303 ± 0.0138 | 62 | f7ea11458da3 |
| standard |  | SAN | 4,000 | 3 | 1000.0 ± 0.0 | 0.0778 ± 0.0050 | 0.0636 ± 0.0048 | 97 | 89359a9a3313 |
| standard |  | SAN | 8,000 | 3 | 1000.0 ± 0.0 | 0.0568 ± 0.0028 | 0.0397 ± 0.0037 | 171 | 788f3ad7dd66 |
| standard |  | SAN | 16,000 | 3 | 1000.0 ± 0.0 | 0.0523 ± 0.0028 | 0.0342 ± 0.0030 |  | d68329bb5c89 |
| standard |  | relativistic + R1 + R2 | 1,000 | 3 | 971.0 ± 6.1 | 0.6181 ± 0.0212 | 0.6138 ± 0.0218 | 48 | 8b1d9280dc3f |
| standard |  | relativistic + R1 + R2 | 2,000 | 3 | 999.7 ± 0.3 | 0.1912 ± 0.0097 | 0.1801 ± 0.0107 | 85 | ba5fb24c989d |
| standard |  | relativistic + R1 + R2 | 4,000 | 3 | 1000.0 ± 0.0 | 0.1166 ± 0.0046 | 0.1062 ± 0.0064 | 152 | 2492ad64f52b |

Measured on NVIDIA H200, jax 0.11.2: 8 runs, 13 minutes, not counting 1 interrupted run.
"""

import dataclasses
import sys
from typing import Literal

from experiments import record
from jaxgan.constraints import Count
from jaxgan.evaluation import stacked as evaluation
from jaxgan.runs import recipes
from jaxgan.runs.config import Config

SEEDS = 3
BATCH = 128
STABLE = {
    "loss": "relativistic",
    "fresh_generator_batch": True,
    "beta1": 0.0,
    "beta2": 0.99,
    "ema_half_life": 50_000.0,
}
UNROLLED = {
    "network": "stacked",
    "latent_size": 256,
    "d_learning_rate": 2e-4,
    "g_learning_rate": 1e-4,
    "beta2": 0.99,
    "ema_half_life": 0.0,
}
SMALL = {
    "non_saturating": UNROLLED,
    "packing 4": UNROLLED | {"pack": 4},
    "relativistic + R1 + R2": UNROLLED
    | STABLE
    | {"r1": 0.1, "r2": 0.1, "d_learning_rate": 1e-3, "g_learning_rate": 1e-3},
}
"""Settings of the methods with a small discriminator."""
WIDTHS = {"1/2": 4, "1/4": 2}
"""Widths of the discriminator, by its channels relative to the generator's."""
STANDARD = {
    "SAN": {"recipe": "san", "ema_half_life": 50_000.0},
    "relativistic + R1 + R2": STABLE
    | {"network": "dcgan", "d_norm": "none", "r1": 0.5, "r2": 0.5, "learning_rate": 5e-4},
}
"""Settings of the methods of the standard protocol, with the dcgan."""
STEPS = (1_000, 2_000, 4_000, 8_000, 16_000)
"""Numbers of steps after which the standard protocol evaluates."""
PUBLISHED = {
    ("small", "1/2"): {
        "DCGAN": ("487.7 ± 34.6", "2.24 ± 0.15"),
        "Unrolled GAN, 10 steps": ("817.4 ± 37.9", "1.43 ± 0.12"),
        "PacDCGAN3": ("866.6 ± 12.1", "0.90 ± 0.04"),
    },
    ("small", "1/4"): {
        "DCGAN": ("78.5 ± 17.6", "5.21 ± 0.19"),
        "Unrolled GAN, 10 steps": ("327.2 ± 74.7", "4.66 ± 0.46"),
        "PacDCGAN4": ("667.4 ± 29.0", "1.81 ± 0.15"),
    },
    ("standard", ""): {
        "PacDCGAN2": ("1000.0 ± 0.0", "0.06 ± 0.003"),
        "MEG": ("1,000", "0.031"),
        "R3GAN": ("1,000", "0.029"),
    },
}
"""Modes and KL: PacGAN, tables 2 and 3; R3GAN, table 3. A standard error is over trials."""


@dataclasses.dataclass(frozen=True)
class Options(record.Options):
    """Train and evaluate the methods of both protocols."""

    protocols: tuple[Literal["small", "standard"], ...] = ("small", "standard")
    """protocols to measure"""
    steps: Count = 500_000
    """number of steps with a small discriminator"""
    methods: tuple[Literal[tuple(SMALL | STANDARD)], ...] = tuple(SMALL | STANDARD)
    """methods to train"""
    seeds: Count = SEEDS
    """number of seeds of every method"""


def stacked_mnist(options: Options) -> None:
    """Does what `Options` says."""
    results = record.Record("stacked_mnist", options)
    methods = ("packing 4", "SAN") if options.smoke else options.methods
    if options.smoke:
        evaluation.SAMPLES = 400
    for protocol in options.protocols:
        measure = measure_small if protocol == "small" else measure_standard
        for method in methods:
            if method in (SMALL if protocol == "small" else STANDARD):
                measure(results, method, options)
    print(make_table(results.lines).to_markdown())


def measure_small(results: record.Record, method: str, options: Options) -> None:
    """Measures a method with both sizes of a small discriminator."""
    steps, seeds, widths = options.steps, options.seeds, WIDTHS
    if options.smoke:
        steps, seeds, widths = 2, 1, {"1/4": 2}
    for size, width in widths.items():
        settings = SMALL[method] | {"width": width}
        if settings.get("loss") == "relativistic":
            settings["decay_steps"] = steps
        config = make_config(steps, settings)
        names = {"protocol": "small", "size": size, "method": method}
        results.measure_seeds(names, config, range(seeds), samples=evaluation.SAMPLES)


def measure_standard(results: record.Record, method: str, options: Options) -> None:
    """Measures a method after each of the numbers of steps."""
    seeds = 1 if options.smoke else options.seeds
    for steps in (2,) if options.smoke else STEPS:
        config = make_config(steps, STANDARD[method] | {"decay_steps": STEPS[-1]})
        names = {"protocol": "standard", "size": "", "method": method}
        results.measure_seeds(names, config, range(seeds), samples=evaluation.SAMPLES)


def make_config(steps: int, settings: dict) -> Config:
    """Returns the settings of a run."""
    batch_size = BATCH * settings.get("pack", 1)
    every = {"sample_every": max(1, steps // 4), "checkpoint_every": steps}
    lengths = {"steps": steps, "batch_size": batch_size}
    settings = {"recipe": "classic", "dataset": "stacked_mnist"} | every | lengths | settings
    return recipes.make_config(**settings)


def make_table(lines: list[dict]) -> record.Table:
    """Returns the table of the results, beside the published ones."""
    rows, lines = [], record.merge_runs(lines)
    for (protocol, size), published in PUBLISHED.items():
        for method, cells in published.items():
            rows.append([protocol, size, f"{method} (published)", "", "", *cells, "", "", ""])
        own = [line for line in lines if (line["protocol"], line["size"]) == (protocol, size)]
        for line in own:
            first = [protocol, size, line["method"], record.format_steps(line)]
            scores = [
                record.format_mean(record.scores_of(line, metric), digits)
                for metric, digits in (("modes", 1), ("kl_uniform", 4), ("kl_corrected", 4))
            ]
            last = [seconds_until(own, line), record.short_digest(line)]
            rows.append([*first, record.count_seeds(line, "modes"), *scores, *last])
    titles = ["protocol", "channels of D / G", "method", "steps", "seeds", "modes", "KL"]
    return record.Table([*titles, "KL corrected", "seconds", "state_sha256"], rows)


def seconds_until(lines: list[dict], last: dict) -> str:
    """Returns how long a method was trained until a line, whose run continues earlier ones.

    Runs are continued if their settings differ in the lengths only.
    """
    lengths = ("steps", "sample_every", "checkpoint_every")
    lasting = lambda line: [(k, v) for k, v in line["settings"].items() if k not in lengths]
    steps, own = last["settings"]["steps"], lasting(last)
    earlier = [line for line in lines if lasting(line) == own and line["method"] == last["method"]]
    seconds = [line["training_seconds"] for line in earlier if line["settings"]["steps"] <= steps]
    return "" if None in seconds else f"{sum(seconds):.0f}"


if __name__ == "__main__":
    sys.exit(record.run(Options, stacked_mnist))
