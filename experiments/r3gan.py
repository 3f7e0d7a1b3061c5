"""How fast R3GAN trains on this device, and how good it is after a few minutes.

    python -m experiments.r3gan speed
    python -m experiments.r3gan train --minutes 8 --data-dir ~/tensorflow_datasets

`speed` times compiled calls of ten steps of `--recipe r3gan_stacked_mnist`, with the widths, batch
sizes and precisions in `SIZES`. `train` trains on MNIST padded to 32 x 32 and on stacked MNIST with
the settings in `SHARED`, in two processes that share the device unless `--in-turn` is given, stops
each after the minutes, and evaluates it. `--burn-in` and `--ema-half-life` shorten the schedules of
the recipe. Both print JSON lines.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from experiments import budget

SHARED = "--recipe r3gan_stacked_mnist --image-size 32 --width 256 --batch-size 256"
DATA = {"mnist": "--dataset mnist", "stacked_mnist": ""}
SIZES = ((256, 256, "bfloat16"), (256, 256, "float32"), (768, 512, "bfloat16"))
"""Widths, batch sizes and precisions that are timed."""


def describe_device() -> dict:
    """Returns the device and the versions that the numbers hold for."""
    import jax

    versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax")}
    return {"device": jax.devices()[0].device_kind, "versions": versions}


def time_steps(width: int, batch_size: int, precision: str) -> dict:
    """Returns images per second, and seconds of compilation, of one setting."""
    import jax
    import numpy as np

    from jaxgan.data import from_arrays
    from jaxgan.parallel.transforms import scan_steps
    from jaxgan.runs import build, build_optimizers
    from jaxgan.runs.recipes import make_config

    images = np.random.default_rng(0).integers(0, 256, (4_096, 32, 32, 3), np.uint8)
    dataset = from_arrays(images)
    settings = {"width": width, "batch_size": batch_size, "precision": precision}
    config = make_config("r3gan_stacked_mnist", **settings)
    model, size = build.build_gan(config, dataset), build_optimizers.images_per_step(config)
    key = jax.random.key(0)
    begin = time.perf_counter()
    state = jax.jit(model.init)(key)
    train = jax.jit(scan_steps(model, size, 10), donate_argnums=1)
    state, metrics = jax.block_until_ready(train(key, state, dataset))
    compiled, rates = time.perf_counter() - begin, []
    for _ in range(5):
        begin = time.perf_counter()
        state, metrics = jax.block_until_ready(train(key, state, dataset))
        rates.append(10 * batch_size / (time.perf_counter() - begin))
    assert np.isfinite(np.asarray(metrics)).all()
    rate = round(float(np.median(rates)), 1)
    return {**settings, "images_per_second": rate, "compilation_s": round(compiled, 1)}


def train(options: argparse.Namespace) -> None:
    """Trains and evaluates both data sets, and prints the results."""
    root = Path(options.out or tempfile.mkdtemp())
    found: dict = {}

    def follow(name: str) -> None:
        schedule = f"--burn-in {options.burn_in} --ema-half-life {options.ema_half_life}"
        data = f"{DATA[name]} --data-dir {options.data_dir}" if options.data_dir else DATA[name]
        flags = f"{SHARED} {data} {schedule} --steps 1000000 --sample-every 1000"
        process = budget.start(root / name, flags)
        found[name] = budget.stop_after(process, root / name, 60 * options.minutes)

    threads = [threading.Thread(target=follow, args=(name,)) for name in DATA]
    for thread in threads:
        thread.start()
        if options.in_turn:
            thread.join()
    for thread in threads:
        thread.join()
    for name in DATA:
        run = root / name
        subprocess.run(
            [sys.executable, "-m", "jaxgan.evaluate", run, "--repeats", "1"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        evaluation = json.loads((run / "evaluation.json").read_text())
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        line = {
            "what": f"train {name}",
            "minutes": options.minutes,
            "in_turn": options.in_turn,
            "settings": SHARED,
            "burn_in": options.burn_in,
            "ema_half_life": options.ema_half_life,
            "images_per_second": round(256 * found[name], 1),
            "steps": last["step"],
            "scores": evaluation["mean"],
            "real": evaluation["real"],
            **describe_device(),
        }
        print(json.dumps(line), flush=True)


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "train"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--burn-in", type=int, default=500_000)
    parser.add_argument("--ema-half-life", type=int, default=50_000)
    parser.add_argument("--data-dir")
    parser.add_argument("--out")
    parser.add_argument("--in-turn", action="store_true")
    options = parser.parse_args()
    if options.what == "train":
        train(options)
        return
    for size in SIZES:
        print(json.dumps({"what": "speed", **time_steps(*size), **describe_device()}), flush=True)


if __name__ == "__main__":
    main()
