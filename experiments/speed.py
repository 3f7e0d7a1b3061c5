"""How fast is a training step, beside PyTorch and beside the machine's own matrix products?

Commands, each of which takes one to eight minutes and wants torch for the comparison:

    python -m experiments.speed --network mlp --batch-size 64
    python -m experiments.speed --network dcgan --images-a-round 1280
    python -m experiments.speed --network resnet --images-a-round 128 --rounds 5

Each round measures in turn, in one process: the scanned step, PyTorch's eager and compiled loops of
the same exercise (`pytorch.py`), and a float32 matrix product. A round in which that product is
slower than 0.8 of its best is dropped: something else used the machine. The output is one line of
JSON: medians over the rounds, and medians of the ratios within a round.

`--native` sets our convolutions beside XLA's own, `--penalties` the step with r1 and r2 beside the
one without, `--precision` takes bfloat16; `--loop` measures the train command's loop, with logging,
samples and checkpoints at their defaults, against the bare scanned step; `--seeds 1 4 16` several
seeds in one program, with `--member-batch 1` one after the other in it; `--devices 1 2` one batch
shared by several devices; and `--profile` says which operations take the time of a step. Recorded:
`experiments/results/speed.jsonl`. Where the time goes, and what was tried:
`experiments/results/speed.md`.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import io
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from unittest import mock

import jax
import jax.numpy as jnp
import tyro

from jaxgan import train
from jaxgan.data import Images, load
from jaxgan.environment import processor
from jaxgan.networks import conv
from jaxgan.parallel.layout import Layout, make_keys, make_layout
from jaxgan.runs import build
from jaxgan.runs.config import Config

MATRIX = 2048
PRODUCTS = 10
QUIET = 0.8
EXAMPLES = 60_000
SHAPES = {"resnet": (32, 32, 3), "r3gan": (32, 32, 3)}
LOSSES = {"resnet": "hinge", "r3gan": "relativistic"}


def main(
    network: str = "mlp",
    batch_size: int = 64,
    images_a_round: int = 12_800,
    rounds: int = 9,
    precision: Literal["float32", "bfloat16"] = "float32",
    native: bool = False,
    penalties: bool = False,
    loop: bool = False,
    loop_steps: int = 4_000,
    seeds: tuple[int, ...] = (),
    member_batch: int | None = None,
    devices: tuple[int, ...] = (),
    profile: bool = False,
) -> dict:
    """Prints one line of JSON and returns what it says.

    images_a_round: how many images each measurement trains on. rounds: how often each is repeated.
    native: beside XLA's own convolutions, in the same scan, and not PyTorch.
    penalties: the cost of r1 and r2, and not PyTorch.
    loop: measure the train command's loop, over `loop_steps` steps, and not PyTorch.
    seeds, devices: numbers of seeds in one program, and of devices for one batch, to measure.
    member_batch: how many seeds are computed at a time.
    profile: the time of the operations of a step, and not PyTorch.
    """
    config = Config(
        dataset="digits",
        network=network,
        loss=LOSSES.get(network, "non_saturating"),
        **({"r1": 1.0, "r2": 1.0} if network == "r3gan" else {}),
        batch_size=batch_size,
        precision=precision,
    )
    steps = images_a_round // batch_size
    if profile:
        line = profile_line(config, steps)
    elif loop:
        line = loop_line(config, loop_steps, rounds)
    elif seeds:
        line = seeds_line(config, seeds, steps, rounds, member_batch)
    elif devices:
        line = devices_line(config, devices, steps, rounds)
    elif native:
        line = native_line(config, steps, rounds)
    elif penalties:
        line = penalties_line(config, steps, rounds)
    else:
        line = step_line(config, steps, rounds)
    line |= {"machine": machine()}
    print(json.dumps(line), flush=True)
    return line


def step_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns images per second of each loop and their ratios and, of the mlp, what share of the
    machine's matrix-product rate it reaches.
    """
    data = noise(config.network)
    loops = {"jaxgan": scanned_loop(config, data, steps)}
    with contextlib.suppress(ImportError):
        from experiments import pytorch

        size = config.batch_size, steps, config.precision
        loops |= pytorch.loops(config.network, data.shape, *size)
    took, rounds_kept = measured(loops, rounds)
    images = steps * config.batch_size
    rates = {name: [images / s for s in took[name]] for name in loops}
    line = {
        "what": described(config, data),
        "compile_seconds": compile_seconds(config, data),
        "images_per_second": medians(rates),
        **rounds_kept,
    }
    others = [name for name in loops if name != "jaxgan"]
    if others:
        best = max(others, key=lambda name: statistics.median(rates[name]))
        line["best_pytorch"] = best
        line["ratio_to_best_pytorch"] = paired(rates["jaxgan"], rates[best])
    if config.network != "mlp":
        return line
    operations = operations_per_image()
    gflops = [rate * operations / 1e9 for rate in rates["jaxgan"]]
    matrix_gflops = [PRODUCTS * 2.0 * MATRIX**3 / s / 1e9 for s in took["matrix products"]]
    return line | {
        "operations_per_image": operations,
        "gflops": round(statistics.median(gflops), 1),
        "share_of_matrix_product_rate": paired(gflops, matrix_gflops),
    }


def native_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns how much faster the matrix products are than XLA's own convolutions, in a scan."""
    data = noise(config.network)
    ours = scanned_loop(config, data, steps)
    ours()
    with contextlib.ExitStack() as patched:
        for name in ("conv", "conv_transpose", "kernel_gradient"):
            native = getattr(conv, f"native_{name}")
            patched.enter_context(mock.patch.object(conv, f"{name}_by_products", native))
        theirs = scanned_loop(config, data, steps)
        theirs()
    loops = {"products": ours, "native": theirs}
    seconds, rounds_kept = measured(loops, rounds)
    rates = {name: [steps * config.batch_size / s for s in seconds[name]] for name in loops}
    return {
        "what": f"matrix products over XLA's convolutions in a scan, {described(config, data)}",
        "images_per_second": {name: round(statistics.median(r), 1) for name, r in rates.items()},
        "ratio": paired(rates["products"], rates["native"]),
        **rounds_kept,
    }


def penalties_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns the time of a step with r1 and r2 over that of one without."""
    data = noise(config.network)
    loops = {
        name: scanned_loop(dataclasses.replace(config, r1=gamma, r2=gamma), data, steps)
        for name, gamma in (("none", 0.0), ("r1 and r2", 1.0))
    }
    seconds, rounds_kept = measured(loops, rounds)
    return {
        "what": f"cost of r1 and r2, {described(config, data)}",
        "time_over_none": paired(seconds["r1 and r2"], seconds["none"]),
        **rounds_kept,
    }


def loop_line(config: Config, steps: int, rounds: int) -> dict:
    """Returns the speed of `train.main`'s loop relative to the bare scanned step."""
    bare = scanned_loop(config, load(config.dataset)[0], steps)
    images = steps * config.batch_size

    def train_command() -> float:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            out = Path(folder) / "run"
            summary = train.main(dataclasses.replace(config, steps=steps, out=out))
        return images / summary["images_per_second"]

    loops = {"train command": train_command, "bare step": bare}
    seconds, rounds_kept = measured(loops, rounds)
    rates = {name: [images / s for s in seconds[name]] for name in loops}
    return {
        "what": "loop with its defaults over the bare step, "
        f"{config.network}, batch {config.batch_size}",
        "steps": steps,
        "images_per_second": medians(rates),
        "ratio": paired(rates["train command"], rates["bare step"]),
        **rounds_kept,
    }


def seeds_line(
    config: Config, counts: tuple[int, ...], steps: int, rounds: int, member_batch: int | None
) -> dict:
    """Returns the steps of all seeds together per second, and their time over that of the first."""
    data = noise(config.network)

    def loop(count: int) -> Callable[[], None]:
        layout = make_layout(count if count > 1 else None, 1, config.batch_size)
        return scanned_loop(config, data, steps, layout._replace(member_batch=member_batch))

    loops = {str(count): loop(count) for count in counts}
    seconds, rounds_kept = measured(loops, rounds)
    at_a_time = f", {member_batch} at a time" if member_batch else ""
    return {
        "what": f"several seeds{at_a_time}, {described(config, data)}",
        "seed_steps_per_second": medians(
            {name: [int(name) * steps / s for s in seconds[name]] for name in loops}
        ),
        f"time_over_{counts[0]}": {
            name: paired(seconds[name], seconds[str(counts[0])]) for name in loops
        },
        **rounds_kept,
    }


def devices_line(config: Config, counts: tuple[int, ...], steps: int, rounds: int) -> dict:
    """Returns images per second where so many devices share each batch."""
    data = noise(config.network)
    loops = {
        str(count): scanned_loop(config, data, steps, make_layout(None, count, config.batch_size))
        for count in counts
    }
    seconds, rounds_kept = measured(loops, rounds)
    rates = {name: [steps * config.batch_size / s for s in seconds[name]] for name in loops}
    return {
        "what": f"one batch over several devices, {described(config, data)}",
        "images_per_second": medians(rates),
        f"ratio_to_{counts[0]}": {
            name: paired(rates[name], rates[str(counts[0])]) for name in loops
        },
        **rounds_kept,
    }


def profile_line(config: Config, steps: int) -> dict:
    """Returns the milliseconds of a step by network and operation, the largest first.

    They are summed over the threads of a CPU or the streams of a GPU.
    """
    data = noise(config.network)
    loop = scanned_loop(config, data, steps)
    names = operation_names(compile_step(config, data).as_text())
    loop()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            began = time.perf_counter()
            loop()
            seconds = time.perf_counter() - began
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    on_device = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    times: collections.Counter = collections.Counter()
    for line in (line for plane in on_device or planes for line in plane.lines):
        if not on_device and "Eigen" not in line.name:
            continue
        for event in line.events:
            own = dict(event.stats).get("hlo_op", event.name)
            if on_device or own in names:
                times[names.get(own, "other")] += event.duration_ns / 1e6 / steps
    return {
        "what": f"time of operations, {described(config, data)}",
        "milliseconds_a_step": round(seconds * 1e3 / steps, 3),
        "milliseconds": {name: round(own, 4) for name, own in times.most_common(16)},
        "sum": round(times.total(), 3),
    }


def operation_names(program: str) -> dict[str, str]:
    """Returns what the instructions of a compiled program do: the network and the JAX operation."""
    found = {}
    for name, source in re.findall(r"%?([\w.-]+) = [^\n]*op_name=\"([^\"]*)\"", program):
        network = re.search(r"(\w*Generator|\w*Discriminator)", source)
        backward = "backward " if "transpose(" in source else ""
        found[name] = f"{network[1] if network else 'step'}: {backward}{source.rpartition('/')[2]}"
    return found


def scanned_loop(
    config: Config, dataset, steps: int, layout: Layout | None = None
) -> Callable[[], None]:
    """Returns a function that takes `steps` steps of the scanned GAN and waits for them."""
    layout = layout or Layout()
    model = build.build_gan(config, dataset)
    key = make_keys(0, layout)
    state = jax.jit(layout.map_members(model.init))(key)
    key, state, dataset = layout.place(key, state, dataset)
    length = max(n for n in range(1, min(steps, 100) + 1) if steps % n == 0)
    run = layout.compile_steps(model, config.batch_size, length)

    def go():
        nonlocal state
        metrics = None
        for _ in range(steps // length):
            before = metrics
            state, metrics = run(key, state, dataset)
            jax.block_until_ready(before)  # As the train command: one call ahead of the host.
        jax.block_until_ready((state, metrics))

    return go


def compile_step(config: Config, data: Images):
    """Returns ten compiled steps of the scanned GAN."""
    model = build.build_gan(config, data)
    key = jax.random.key(0)
    state = jax.eval_shape(model.init, key)
    return Layout().compile_steps(model, config.batch_size, 10).lower(key, state, data).compile()


def compile_seconds(config: Config, data: Images) -> float | None:
    """Returns the seconds to trace and compile the scanned step; None with a compilation cache."""
    if jax.config.jax_compilation_cache_dir:
        return None
    jax.clear_caches()
    began = time.perf_counter()
    compile_step(config, data)
    return round(time.perf_counter() - began, 1)


def described(config: Config, data: Images) -> str:
    """Returns what is measured, in a few words."""
    size = "x".join(map(str, data.shape))
    return f"{config.network} {size}, batch {config.batch_size}, {config.precision}"


def matrix_products() -> Callable[[], None]:
    """Returns a function that multiplies large matrices `PRODUCTS` times."""
    a = jax.random.normal(jax.random.key(0), (MATRIX, MATRIX))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="float32"))

    def go():
        for _ in range(PRODUCTS):
            product(a).block_until_ready()

    return go


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


def measured(
    functions: dict[str, Callable[[], float | None]], rounds: int
) -> tuple[dict[str, list[float]], dict]:
    """Returns the seconds that each function took in each round that is kept, and what to record.

    A round that is not counted comes first. Each round also measures `matrix_products`; those in
    which these reached less than `QUIET` of their best rate are dropped. The seconds of a function
    that returns a number are that number.
    """
    functions = {**functions, "matrix products": matrix_products()}
    seconds = {name: [] for name in functions}
    load = os.getloadavg()[0]
    for counted in [False] + [True] * rounds:
        for name, function in functions.items():
            began = time.perf_counter()
            own = function()
            took = time.perf_counter() - began if own is None else own
            if counted:
                seconds[name].append(took)
    products = seconds["matrix products"]
    kept = [i for i, took in enumerate(products) if min(products) >= QUIET * took]
    rates = [round(PRODUCTS * 2.0 * MATRIX**3 / took / 1e9, 1) for took in products]
    record = {"matrix_product_gflops": rates, "rounds_kept": len(kept), "load_before": load}
    return {name: [values[i] for i in kept] for name, values in seconds.items()}, record


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


def noise(network: str) -> Images:
    """Returns random images of the size that a network is measured on.

    As many as MNIST has; the speed does not depend on what they show.
    """
    shape = SHAPES.get(network, (28, 28, 1))
    bits = jax.random.bits(jax.random.key(1), (EXAMPLES, *shape), jnp.uint8)
    return Images(bits, "noise", "noise")


def machine() -> dict:
    """Returns the device, the processor with its widest vectors, its cores, and the versions."""
    versions = {}
    for name in ("jax", "jaxlib", "flax", "optax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


if __name__ == "__main__":
    tyro.cli(main)
