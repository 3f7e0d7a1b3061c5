"""How fast is a training step, beside PyTorch and beside the machine's own matrix products?

Command, which takes about four minutes and wants torch for the comparison:

    python experiments/speed.py --batch-size 64

Each round measures in turn, in one process: the scanned step, PyTorch's eager and compiled loops of
the same exercise (data in memory, fused Adam, no average of the generator), and a float32 matrix
product. The output is one line of JSON: medians over the rounds, and medians of the ratios within
a round. `--loop` measures the train command's loop, with logging, samples and checkpoints at
their defaults, against the bare scanned step; `--seeds 1 4 16` several seeds in one program, and
`--devices 1 2` one batch shared by several devices. Recorded: `experiments/results/speed.jsonl`.

Where the time goes (2 cores of an AMD EPYC without AVX-512): with plain descent in the place of
Adam, no average and no norms, so that little more than the matrix products is left, the step is 1.8
times as fast as PyTorch at batch 64 and 1.3 times at batch 256, and it reaches 77 and 104 GFLOP/s
where a product of 2048 x 2048 matrices reaches 120. The bound is the speed of small products (64 to
512 rows, split over two threads). Tried: one pass of the discriminator over real and generated
images (5 % at batch 64, kept); copy insertion with region analysis, which saves the copy of every
weight matrix in each step of the scan (4 to 8 %, kept); XLA's other libraries for products (Eigen,
oneDNN, XNNPACK: slower or no faster), transposing before the products of the weight gradients (no
gain), Adam on one flat vector (half the speed), unrolling the scan twice (no gain beside region
analysis).
"""

import contextlib
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro

from jaxgan import train
from jaxgan.config import Config
from jaxgan.data import Images, load
from jaxgan.loops import Layout, keys, laid_out

MATRIX = 2048
EXAMPLES = 60_000


def main(
    batch_size: int = 64,
    images_a_round: int = 12_800,
    rounds: int = 9,
    loop: bool = False,
    loop_steps: int = 4_000,
    seeds: tuple[int, ...] = (),
    devices: tuple[int, ...] = (),
) -> dict:
    """Prints one line of JSON and returns what it says.

    images_a_round: how many images each measurement trains on. rounds: how often each is repeated.
    loop: measure the train command's loop, over `loop_steps` steps, and not PyTorch.
    seeds, devices: measure so many seeds beside one another, one batch on so many devices.
    """
    config = Config(dataset="digits", batch_size=batch_size)
    if loop:
        line = loop_line(config, loop_steps, rounds)
    elif seeds:
        line = seeds_line(config, seeds, images_a_round // batch_size, rounds)
    elif devices:
        line = devices_line(config, devices, images_a_round // batch_size, rounds)
    else:
        line = step_line(config, images_a_round // batch_size, rounds)
    line |= {"rounds": rounds, "machine": machine()}
    print(json.dumps(line), flush=True)
    return line


def step_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns images per second of each loop, their ratios, and the share of the matrix rate."""
    loops = {"jaxgan": scanned_loop(config, noise(), steps)}
    with contextlib.suppress(ImportError):
        loops |= torch_loops(config.batch_size, steps)
    products, work = matrix_products()
    seconds = measured({**loops, "matrix products": products}, rounds)
    images = steps * config.batch_size
    rates = {name: [images / s for s in seconds[name]] for name in loops}
    line = {
        "what": f"mlp, batch {config.batch_size}, float32",
        "images_per_second": medians(rates),
    }
    others = [name for name in loops if name != "jaxgan"]
    if others:
        best = max(others, key=lambda name: statistics.median(rates[name]))
        line["best_pytorch"] = best
        line["ratio_to_best_pytorch"] = paired(rates["jaxgan"], rates[best])
    operations = operations_per_image()
    gflops = [rate * operations / 1e9 for rate in rates["jaxgan"]]
    matrix_gflops = [work / s / 1e9 for s in seconds["matrix products"]]
    return line | {
        "operations_per_image": operations,
        "gflops": round(statistics.median(gflops), 1),
        "matrix_product_gflops": round(statistics.median(matrix_gflops), 1),
        "share_of_matrix_product_rate": paired(gflops, matrix_gflops),
    }


def loop_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns the speed of `train.main`'s loop relative to the bare scanned step."""
    bare = scanned_loop(config, load(config.dataset)[0], steps)
    rates = {"bare step": [], "train command": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            out = Path(folder) / "run"
            summary = train.main(dataclasses.replace(config, steps=steps, out=out))
        rates["train command"].append(summary["images_per_second"])
        (seconds,) = measured({"bare": bare}, 1)["bare"]
        rates["bare step"].append(steps * config.batch_size / seconds)
    return {
        "what": f"loop with its defaults over the bare step, mlp, batch {config.batch_size}",
        "steps": steps,
        "images_per_second": medians(rates),
        "ratio": paired(rates["train command"], rates["bare step"]),
    }


def seeds_line(config: Config, counts: tuple[int, ...], steps: int, rounds: int) -> dict:
    """Returns the steps of all seeds together per second, and their time over that of the first."""
    data = noise()
    loops = {
        str(count): scanned_loop(config, data, steps, laid_out(count, 1, config.batch_size))
        for count in counts
    }
    seconds = measured(loops, rounds)
    return {
        "what": f"several seeds, mlp, batch {config.batch_size}, float32",
        "seed_steps_per_second": medians(
            {name: [int(name) * steps / s for s in seconds[name]] for name in loops}
        ),
        f"time_over_{counts[0]}": {
            name: paired(seconds[name], seconds[str(counts[0])]) for name in loops
        },
    }


def devices_line(config: Config, counts: tuple[int, ...], steps: int, rounds: int) -> dict:
    """Returns images per second where so many devices share each batch."""
    data = noise()
    loops = {
        str(count): scanned_loop(config, data, steps, laid_out(1, count, config.batch_size))
        for count in counts
    }
    seconds = measured(loops, rounds)
    rates = {name: [steps * config.batch_size / s for s in seconds[name]] for name in loops}
    return {
        "what": f"one batch over several devices, mlp, batch {config.batch_size}, float32",
        "images_per_second": medians(rates),
        f"ratio_to_{counts[0]}": {
            name: paired(rates[name], rates[str(counts[0])]) for name in loops
        },
    }


def scanned_loop(
    config: Config, dataset, steps: int, layout: Layout | None = None
) -> Callable[[], None]:
    """Returns a function that takes `steps` steps of the scanned GAN and waits for them."""
    layout = layout or Layout()
    model = train.build(config, dataset)
    key = keys(0, layout)
    state = jax.jit(layout.each_seed(model.init))(key)
    key, state, dataset = layout.placed(key, state, dataset)
    run = layout.compiled(model, config.batch_size, min(steps, 100))

    def go():
        nonlocal state
        metrics = None
        for _ in range(steps // min(steps, 100)):
            before = metrics
            state, metrics = run(key, state, dataset)
            jax.block_until_ready(before)  # As the train command: one call ahead of the host.
        jax.block_until_ready((state, metrics))

    return go


def torch_loops(batch_size: int, steps: int) -> dict[str, Callable[[], None]]:
    """Returns PyTorch's eager and compiled loops. Raises ImportError where torch is missing."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cross_entropy = nn.functional.binary_cross_entropy_with_logits

    def exercise(compiled: bool) -> Callable[[], None]:
        g = nn.Sequential(
            *(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU()),
            *(nn.Linear(512, 784), nn.Tanh()),
        ).to(device)
        d = nn.Sequential(
            *(nn.Linear(784, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2)),
            nn.Linear(256, 1),
        ).to(device)
        g_adam, d_adam = (
            torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999), fused=True)
            for player in (g, d)
        )
        images = torch.rand(EXAMPLES, 784, device=device) * 2 - 1
        ones = torch.ones(batch_size, 1, device=device)
        zeros = torch.zeros(batch_size, 1, device=device)

        def d_loss(real, fake):
            return cross_entropy(d(real), ones) + cross_entropy(d(fake), zeros)

        def g_loss(fake):
            return cross_entropy(d(fake), ones)

        forward = g
        if compiled:
            forward, d_loss, g_loss = map(torch.compile, (g, d_loss, g_loss))

        def go():
            order = torch.randint(EXAMPLES, (steps, batch_size), device=device)
            for indices in order:
                fake = forward(torch.randn(batch_size, 100, device=device))
                d_adam.zero_grad()
                d_loss(images[indices], fake.detach()).backward()
                d_adam.step()
                g_adam.zero_grad()
                d.requires_grad_(False)
                g_loss(fake).backward()
                d.requires_grad_(True)
                g_adam.step()
            if device == "cuda":
                torch.cuda.synchronize()

        return go

    return {"pytorch eager": exercise(False), "pytorch compiled": exercise(True)}


def matrix_products() -> tuple[Callable[[], None], float]:
    """Returns a function that multiplies large matrices, and how many operations that takes."""
    a = jax.random.normal(jax.random.key(0), (MATRIX, MATRIX))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="float32"))
    repeats = 10

    def go():
        for _ in range(repeats):
            product(a).block_until_ready()

    return go, repeats * 2.0 * MATRIX**3


def operations_per_image() -> float:
    """Returns the additions and multiplications in the matrix products of a step, per real image.

    The generator: forward, and backward to its weights and, but for the first layer, its inputs.
    The discriminator in its own update: the same, for a real and a generated image. And in the
    generator's update: forward, and backward to the inputs of every layer.
    """
    g = [100 * 256, 256 * 512, 512 * 784]
    d = [784 * 512, 512 * 256, 256 * 1]
    g_update = 2 * sum(g) + sum(g[1:]) + 2 * sum(d)
    d_update = 2 * (2 * sum(d) + sum(d[1:]))
    return 2.0 * (g_update + d_update)


def measured(functions: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds that each function took in each round, after one round not counted."""
    seconds = {name: [] for name in functions}
    for counted in [False] + [True] * rounds:
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if counted:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def medians(rates: dict[str, list[float]]) -> dict[str, float]:
    """Returns the median of each list, to one image per second."""
    return {name: round(statistics.median(values)) for name, values in rates.items()}


def paired(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Returns the median, smallest and largest ratio within a round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": round(statistics.median(ratios), 3),
        "min": round(min(ratios), 3),
        "max": round(max(ratios), 3),
    }


def noise() -> Images:
    """Returns as many random images as MNIST has: the speed does not depend on what they show."""
    bits = jax.random.bits(jax.random.key(1), (EXAMPLES, 28, 28, 1), jnp.uint8)
    return Images(bits, "noise", "noise")


def machine() -> dict:
    """Returns the device, its processor, the cores and the versions in use."""
    versions = {}
    for name in ("jax", "jaxlib", "flax", "optax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "device": jax.devices()[0].device_kind,
        "processor": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "avx512": "avx512f" in flags,
        "python": platform.python_version(),
        "versions": versions,
    }


if __name__ == "__main__":
    tyro.cli(main)
