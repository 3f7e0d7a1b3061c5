"""How fast is training on data that stay on disk?

    python -m experiments.disk
    python -m experiments.disk --pictures 20000

The first trains the dcgan on random images of MNIST's size and number, in turn from memory and from
a .npy file, and prints the ratio of their speeds. The second reads that many JPEG files of 64 x 64
pixels as training does, with two worker processes on two cores, and prints its rate beside that of
Pillow alone, in one process and in as many as there are cores. Each prints one line of JSON:
medians over the rounds, and medians of the ratios within a round. Recorded:
`experiments/results/disk.jsonl`.
"""

import contextlib
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import tyro

from experiments.speed import machine, measured, paired
from jaxgan import data
from jaxgan.data.pictures import Decoding, decode
from jaxgan.data.prefetch import Reader
from jaxgan.keys import key_of_seed
from jaxgan.memory import count_cores
from jaxgan.parallel.chunks import Plan, default_steps_per_chunk, train_chunks
from jaxgan.runs.config import Config
from jaxgan.train import build_program, place

NEVER = 2**30
AHEAD = 200
"""Steps that are not counted: more than are read ahead."""


def main(
    network: str = "dcgan",
    batch_size: int = 64,
    images_a_round: int = 6_400,
    rounds: int = 7,
    pictures: int = 0,
) -> dict:
    """Prints one line of JSON and returns what it says.

    images_a_round: how many images each measurement reads. pictures: the number of JPEG files to
    read; 0 to train from memory and from disk instead.
    """
    with tempfile.TemporaryDirectory() as folder:
        if pictures:
            line = pictures_line(Path(folder), pictures, batch_size, rounds)
        else:
            config = Config(network=network, batch_size=batch_size)
            line = training_line(Path(folder), config, images_a_round // batch_size, rounds)
    line |= {"rounds": rounds, "machine": machine()}
    print(json.dumps(line), flush=True)
    return line


def training_line(folder: Path, config: Config, steps: int, rounds: int) -> dict:
    """Returns the images per second of training from memory and from disk, and their ratio."""
    file = folder / "noise.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (60_000, 28, 28, 1), np.uint8))
    loops = {
        where: training_loop(config, data.load(data_file=file, data_in=where)[0], steps)
        for where in ("memory", "disk")
    }
    seconds = measured(loops, rounds)
    rates = {name: [steps * config.batch_size / s for s in took] for name, took in seconds.items()}
    return {
        "what": f"training from disk over training from memory, {config.network} 28x28x1, batch "
        f"{config.batch_size}",
        "images_per_second": {name: round(statistics.median(r)) for name, r in rates.items()},
        "ratio": paired(rates["disk"], rates["memory"]),
    }


def training_loop(config: Config, dataset, steps: int) -> Callable[[], None]:
    """Returns a function that takes `steps` further steps of a run, as the train command does."""
    program = build_program(config, dataset)
    key = key_of_seed(0)
    state, done = jax.jit(program.gan.init)(key), 0

    def go():
        nonlocal state, done
        arguments = place(program, key, state, dataset, range(done, done + steps))
        each = default_steps_per_chunk(program, arguments)
        plan = Plan(done, done + steps, each, NEVER, NEVER)
        for chunk in train_chunks(program, arguments, plan):
            state = chunk.snapshot.state if chunk.snapshot else state
        jax.block_until_ready(state)
        done += steps

    return go


def pictures_line(folder: Path, count: int, batch_size: int, rounds: int) -> dict:
    """Returns the pictures per second that training reads, beside those of Pillow alone."""
    write_pictures(folder, count)
    dataset = data.load(data_file=folder, data_in="disk")[0]
    files, cores = sorted(folder.iterdir()), count_cores()
    steps = count // batch_size
    rates: dict[str, list[float]] = {"training": [], "Pillow": [], f"Pillow, {cores} processes": []}
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(decode_files, [files[:100]] * cores)
        for _ in range(rounds):
            reader = Reader(dataset, [key_of_seed(0)], range(AHEAD + steps), batch_size)
            with contextlib.closing(reader):
                reader.read(0, AHEAD)  # Starts the worker processes.
                began = time.perf_counter()
                for step in range(AHEAD, AHEAD + steps):
                    reader.read(step, step + 1)
                rates["training"].append(steps * batch_size / (time.perf_counter() - began))
            began = time.perf_counter()
            decode_files(files)
            rates["Pillow"].append(count / (time.perf_counter() - began))
            began = time.perf_counter()
            pool.map(decode_files, [files[i::cores] for i in range(cores)])
            rates[f"Pillow, {cores} processes"].append(count / (time.perf_counter() - began))
    return {
        "what": f"reading {count:,} JPEG files of 64 x 64 pixels, batch {batch_size}",
        "pictures_per_second": {name: round(statistics.median(r)) for name, r in rates.items()},
        "ratio_to_pillow": paired(rates["training"], rates["Pillow"]),
        "ratio_to_processes": paired(rates["training"], rates[f"Pillow, {cores} processes"]),
    }


def decode_files(files: list[Path]) -> None:
    """Decodes files one after another."""
    for file in files:
        decode(file.read_bytes(), Decoding(channels=3))


def write_pictures(folder: Path, count: int) -> None:
    """Writes smooth random pictures with some noise, as JPEG files."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:06d}.jpg", quality=90)


if __name__ == "__main__":
    tyro.cli(main)
