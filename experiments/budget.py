"""Training for a number of seconds: a run in a process of its own, which is then stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def start(run: Path, flags: str) -> subprocess.Popen:
    """Starts to train, with a line of flags, in a run directory."""
    command = [sys.executable, "-m", "jaxgan.train", *flags.split(), "--out", str(run)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop_after(
    process: subprocess.Popen, run: Path, seconds: float, clock: Callable = time.monotonic
) -> float:
    """Stops a run a number of seconds after its first metrics, and returns the steps per second.

    It stops at the end of a compiled call, and saves its state and its generator. A run that is
    complete before is not an error. Raises `SystemExit` if the run fails.
    clock: returns the time in seconds, such as `processor_time`.
    """
    metrics = run / "metrics.jsonl"
    while not step_of(metrics) and process.poll() is None:
        time.sleep(0.1)
    begin, first = clock(), step_of(metrics)
    end, last = begin, first
    while end - begin < seconds and process.poll() is None:
        end, last = clock(), step_of(metrics)
        time.sleep(0.1)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    if process.returncode not in (0, 128 + signal.SIGINT):
        raise SystemExit(f"{run.name} ended with status {process.returncode}: {said}")
    return (last - first) / max(end - begin, 1e-9)


def processor_time(process: subprocess.Popen, cores: int) -> Callable:
    """Returns a clock of the time that a process has used on each of its cores, on Linux.

    Other processes on the machine do not make it run faster.
    """
    stat, last = Path(f"/proc/{process.pid}/stat"), [0.0]

    def clock() -> float:
        with contextlib.suppress(OSError, IndexError):  # The process has ended.
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            last[0] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") / cores
        return last[0]

    return clock


def step_of(metrics: Path) -> int:
    """Returns the number of steps in the last complete line of a `metrics.jsonl`, 0 without one."""
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0
