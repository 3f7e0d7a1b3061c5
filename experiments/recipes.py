"""Every recipe on MNIST digits, after the same time: FID, precision and recall of three seeds.

    python -m experiments.recipes --data-dir ~/tensorflow_datasets [RECIPE ...]

The seeds are trained together, for three times `--seconds` of all cores after compilation, or for
20,000 steps, whichever comes first. The time is that of the process: other work on the machine does
not count. Networks are narrower than published, so that a CPU takes enough steps: `CHANGES` lists
what differs from the recipes.

Prints JSON lines, and the README's table. `--table FILE.jsonl` prints the table of earlier lines.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments import budget
from jaxgan.runs.published import RECIPES

SEEDS = 3
CORES = len(os.sched_getaffinity(0))
CHANGES = {
    "mlp": "",
    "dcgan": "--width 32",
    "resnet": "--width 16",
    "sagan": "--width 16 --batch-size 64",
    "biggan": "--width 8",
    "stylegan2": "--width 32 --batch-size 32 --ema-half-life 1000",
    "r3gan": "--width 32 --batch-size 64 --precision float32 --burn-in 50000 "
    "--ema-half-life 10000 --augment-probability 0.05",
}
"""What differs from the recipe, by network."""
METRICS = ("fid", "precision", "recall")


def train_and_evaluate(name: str, options: argparse.Namespace) -> dict:
    """Returns the scores of a recipe, and what was trained."""
    changes = CHANGES[RECIPES[name].config.network]
    flags = (
        f"--recipe {name} --dataset mnist --seeds {SEEDS} --steps 20000 --sample-every 100 "
        f"--steps-per-call 10 --checkpoint-every 20000 {changes}"
    )
    if options.data_dir:
        flags += f" --data-dir {options.data_dir}"
    with tempfile.TemporaryDirectory() as root:
        run = Path(root) / name
        process = budget.start(run, flags)
        clock = budget.processor_time(process, CORES)
        rate = budget.stop_after(process, run, SEEDS * options.seconds, clock)
        command = [sys.executable, "-m", "jaxgan.evaluate", str(run), "--repeats", "1"]
        command += ["--samples", str(options.samples), "--no-cas"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        evaluation = json.loads((run / "evaluation.json").read_text())
        if options.pictures:
            pictures = Path(options.pictures)
            pictures.mkdir(parents=True, exist_ok=True)
            last = sorted((run / "samples").glob("*.png"))[-1]
            (pictures / f"{name}.png").write_bytes(last.read_bytes())
        return {
            "recipe": name,
            "seconds": options.seconds,
            "cores": CORES,
            "samples": options.samples,
            "changes": changes,
            "steps": budget.step_of(run / "metrics.jsonl"),
            "steps_per_second": round(SEEDS * rate, 2),
            "mean": {metric: evaluation["mean"][metric] for metric in METRICS},
            "std": {metric: evaluation["std"][metric] for metric in METRICS},
        }


def format_table(lines: list[dict]) -> str:
    """Returns the table of Markdown: mean and standard deviation over seeds."""
    rows = ["| recipe | steps | FID | precision | recall |", "| --- | --- | --- | --- | --- |"]
    for line in lines:
        cells = [f"{line['steps']:,}"]
        for metric, digits in zip(METRICS, (1, 2, 2), strict=True):
            mean, std = line["mean"][metric], line["std"][metric]
            cells.append(f"{mean:.{digits}f} ± {std:.{digits}f}")
        rows.append(f"| `{line['recipe']}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Trains and evaluates the recipes that the command line names, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--samples", type=int, default=10_000)
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
        lines.append(train_and_evaluate(name, options))
        print(json.dumps(lines[-1]), flush=True)
    print(format_table(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
