"""Training for a number of seconds: a run in a process of its own, which is then stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path


def start(run: Path, flags: str) -> subprocess.Popen:
    """Starts to train, with a line of flags, in a run directory."""
    command = [sys.executable, "-m", "jaxgan.train", *flags.split(), "--out", str(run)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop_after(process: subprocess.Popen, run: Path, seconds: float) -> float:
    """Stops a run a number of seconds after its first metrics, and returns the steps per second.

    It stops at the end of a compiled call; its state and its generator are then saved. Ends the
    program if the run ends before.
    """
    metrics = run / "metrics.jsonl"
    while not step_of(metrics) and process.poll() is None:
        time.sleep(0.2)
    begin, first = time.monotonic(), step_of(metrics)
    while time.monotonic() - begin < seconds and process.poll() is None:
        time.sleep(0.2)
    rate = (step_of(metrics) - first) / (time.monotonic() - begin)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    if process.returncode not in (0, 128 + signal.SIGINT):
        raise SystemExit(f"{run.name} ended with status {process.returncode}: {said}")
    return rate


def step_of(metrics: Path) -> int:
    """Returns the number of steps in the last complete line of a `metrics.jsonl`, 0 without one."""
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0
