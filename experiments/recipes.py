"""Every recipe on MNIST, after the same time on two cores: FID, precision and recall of 3 seeds.

    python experiments/recipes.py --data-dir ~/tensorflow_datasets [RECIPE ...]

The seeds are trained one after the other, each for `--seconds` after compilation. Networks are
narrower than published, so that a CPU takes enough steps: see `CHANGES`. Prints JSON lines, and the
table that is in `results/recipes.md`. `--table FILE.jsonl` prints the table of earlier lines.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import budget
import numpy as np

from jaxgan.runs.recipes import RECIPES

SEEDS = 3
CHANGES = {
    "mlp": "",
    "dcgan": "--width 32",
    "resnet": "--width 16",
    "r3gan": "--width 32 --batch-size 64 --precision float32 --burn-in 50000 "
    "--ema-half-life 10000 --augment-probability 0.05",
}
"""What differs from the recipe, by network."""
METRICS = ("fid", "precision", "recall")


def train_and_evaluate(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Returns the scores of one seed of a recipe, and what was trained."""
    network = RECIPES[name].config.network
    flags = f"--recipe {name} --dataset mnist --seed {seed} --steps 20000 --sample-every 20000"
    if "stacked" in name:
        flags += " --image-size 32"
    flags += f" {CHANGES[network]} --checkpoint-every 20000 --steps-per-call {options.per_call}"
    if options.data_dir:
        flags += f" --data-dir {options.data_dir}"
    with tempfile.TemporaryDirectory() as root:
        run = Path(root) / name
        budget.stop_after(budget.start(run, flags), run, options.seconds)
        command = [sys.executable, "-m", "jaxgan.evaluate", str(run), "--repeats", "1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        evaluation = json.loads((run / "evaluation.json").read_text())
        if options.pictures:
            pictures = Path(options.pictures)
            pictures.mkdir(parents=True, exist_ok=True)
            last = sorted((run / "samples").glob("*.png"))[-1]
            (pictures / f"{name}-{seed}.png").write_bytes(last.read_bytes())
        return {
            "recipe": name,
            "seed": seed,
            "seconds": options.seconds,
            "cores": len(os.sched_getaffinity(0)),
            "changes": CHANGES[network],
            "steps": budget.step_of(run / "metrics.jsonl"),
            **{metric: evaluation["mean"][metric] for metric in METRICS},
        }


def format_table(lines: list[dict]) -> str:
    """Returns the table of Markdown: mean and standard deviation over seeds."""
    rows = ["| recipe | steps | FID | precision | recall |", "| --- | --- | --- | --- | --- |"]
    for name in RECIPES:
        own = [line for line in lines if line["recipe"] == name]
        if not own:
            continue
        cells = [f"{np.mean([line['steps'] for line in own]):,.0f}"]
        for metric, digits in zip(METRICS, (1, 2, 2), strict=True):
            values = [line[metric] for line in own]
            deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
            cells.append(f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}")
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Trains and evaluates the recipes that the command line names, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--per-call", type=int, default=10)
    parser.add_argument("--data-dir")
    parser.add_argument("--pictures")
    parser.add_argument("--table")
    options = parser.parse_args()
    if options.table:
        lines = Path(options.table).read_text().splitlines()
        print(format_table([json.loads(line) for line in lines]))
        return
    lines = []
    for name in options.recipes or RECIPES:
        for seed in range(SEEDS):
            lines.append(train_and_evaluate(name, seed, options))
            print(json.dumps(lines[-1]), flush=True)
    print(format_table(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
