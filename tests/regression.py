"""What the commands compute, in numbers that must not change: runs of every network and metrics.

    python tests/regression.py record

trains and evaluates, and writes `regression.json` beside this file: the digests of everything that
is exactly repeatable, under the kind of machine that they hold on, and the values of the metrics,
which hold everywhere to float tolerance. Record again only where a change of the numbers is meant,
and say in the commit why they change.
"""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("regression.json")
SMALL = (
    "--dataset digits --steps 6 --batch-size 8 --latent-size 8 --steps-per-call 3 "
    "--sample-every 3 --checkpoint-every 3 --log-every 1"
)
TRAINING = {
    "mlp": f"{SMALL} --width 16 --conditional --augment color translation cutout",
    "dcgan": f"{SMALL} --network dcgan --width 8 --loss least_squares --pack 2",
    "resnet": f"{SMALL} --network resnet --width 32 --loss hinge --d-steps 2",
    "r3gan": f"{SMALL} --network r3gan --width 16 --loss relativistic --r1 1 --r2 1 --burn-in 32 "
    "--final-penalty 0.1 --final-beta2 0.9 --ema-burn-in",
    "bfloat16": f"{SMALL} --network dcgan --width 8 --precision bfloat16 --r1 0.5",
    "seeds": f"{SMALL} --width 16 --seeds 2 --seed 5 --loss wasserstein --gradient-penalty 10",
    "ring": "--dataset ring --steps 40 --width 32 --evaluate-every 20 --dragan 1 --log-every 20",
    "evaluated": f"{SMALL} --width 16 --steps 60 --evaluate-every 30 --log-every 30",
}
DATASET = ("name", "holds", "fingerprint", "shape", "bounded", "num_classes", "remark")
"""What is compared of the description of the data."""
EVALUATION = {"ring": "--samples 500", "evaluated": "--samples 300"}


COMMANDS = """
import json, runpy, sys
for name, arguments in json.loads(sys.argv[1]):
    sys.argv = [name, *arguments.split()]
    try:
        runpy.run_module(f"jaxgan.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Runs commands one after the other, as `python -m` does, but imports what they share only once."""


def measure(root: Path) -> dict[str, dict]:
    """Returns, by the name of a run, its digests and its metrics. root: a folder to work in."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    environment |= {"XDG_CACHE_HOME": str(root / "cache")}
    # The classifier is trained for one epoch, not for six: what counts is that it is the same.
    commands = [("classify", "--dataset digits --epochs 1")]
    for name, arguments in TRAINING.items():
        commands.append(("train", f"{arguments} --out {name}"))
        if name in EVALUATION:
            commands.append(("evaluate", f"{name} {EVALUATION[name]}"))
    line = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    subprocess.run(line, check=True, cwd=root, env=environment, stdout=subprocess.DEVNULL)
    return {name: describe(root / name) for name in TRAINING}


def describe(run: Path) -> dict:
    """Returns the digests and the metrics of a run, and the names of its files."""
    summary = json.loads((run / "summary.json").read_text())
    samples = hashlib.sha256(b"".join(pixels(p) for p in sorted((run / "samples").glob("*.png"))))
    about = json.loads((run / "config.json").read_text())
    digests = {
        "state": summary["state_sha256"],
        "metrics.jsonl": hashlib.sha256((run / "metrics.jsonl").read_bytes()).hexdigest(),
        "samples": samples.hexdigest(),
    }
    metrics = summary["final"] if "final" in summary else summary["mean"]
    if (run / "evaluation.json").exists():
        evaluation = json.loads((run / "evaluation.json").read_text())
        metrics |= {f"evaluation {name}": value for name, value in evaluation["mean"].items()}
        metrics |= {f"real {name}": value for name, value in evaluation["real"].items()}
        digests["evaluation"] = evaluation["protocol"]["digest"]
    files = sorted(path.name for path in run.iterdir())
    dataset = {name: about["dataset"][name] for name in DATASET}
    fixed = {"parameters": about["parameters"], "dataset": dataset, "files": files}
    return {"digests": digests, "metrics": metrics, "fixed": fixed}


def pixels(path: Path) -> bytes:
    """Returns what a picture shows, whatever version of Pillow has compressed it."""
    from PIL import Image

    with Image.open(path) as picture:
        return picture.tobytes()


def machine() -> str:
    """Returns what decides the last bits: versions, the processor's instructions, the cores."""
    names = ("jax", "jaxlib", "flax", "optax", "numpy")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    flags = sorted({line for line in lines if line.startswith(("model name", "flags"))})
    processor = hashlib.sha256("\n".join(flags).encode()).hexdigest()[:12]
    return ", ".join([*versions, f"processor {processor}", f"{os.cpu_count()} cores"])


def record() -> None:
    """Writes what this machine computes; the digests of other machines are forgotten."""
    with tempfile.TemporaryDirectory() as root:
        found = measure(Path(root))
    content = {
        "machine": machine(),
        "digests": {name: run.pop("digests") for name, run in found.items()},
        "runs": found,
    }
    RECORDED.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["record"]:
        sys.exit(__doc__)
    record()
