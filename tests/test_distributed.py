"""Runs of several processes, all on this host."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan import train
from jaxgan.parallel import connection
from jaxgan.runs.config import Config

SETTINGS = {
    "dataset": "ring",
    "batch_size": 8,
    "latent_size": 8,
    "steps": 60,
    "steps_per_call": 10,
    "sample_every": 60,
    "checkpoint_every": 20,
}


def signal_at_step(step: int, process: int, number: int) -> str:
    """Returns code with which a process sends itself a signal after a step."""
    return f"""
from jaxgan.runs.run import Run
write = Run.write
def with_signal(self, chunk):
    if chunk.last == {step} and jax.process_index() == {process}:
        os.kill(os.getpid(), {number:d})
    return write(self, chunk)
Run.write = with_signal
"""


SLURM_PORTS = range(65535 - 2**12 + 1, 65535)
"""Coordinator ports that JAX assigns to Slurm jobs, by the job ID modulo 2**12."""


def free_port(ports=(0,)) -> int:
    for port in ports:
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return free.getsockname()[1]
    raise AssertionError("no port is free")


def start_processes(
    out: Path,
    code: str = "",
    second: dict | None = None,
    ids=(0, 1),
    slurm: bool = False,
    **settings,
) -> list:
    """Starts the two processes of a run, or those of `ids`, each of which first executes `code`.

    second: settings of the second process only. slurm: starts the processes as Slurm would.
    """
    port = free_port(SLURM_PORTS if slurm else (0,))
    imports = (
        "import os, sys, jax\nfrom jaxgan import train\nfrom jaxgan.parallel import connection"
    )
    script = f"{imports}\n{code}\n"
    processes = []
    for i in ids:
        own = {"coordinator": f"127.0.0.1:{port}", "num_processes": 2, "process_id": i}
        own = SETTINGS | settings | {"out": out} | ({} if slurm else own)
        own |= (second or {}) if i else {}
        flags = [part for k, v in own.items() for part in (f"--{k.replace('_', '-')}", str(v))]
        flags += ["--distributed"] if slurm else []
        job = {
            "SLURM_JOB_ID": str(port - SLURM_PORTS.start),
            "SLURM_STEP_NODELIST": "127.0.0.1",
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": str(i),
            "SLURM_LOCALID": "0",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", script + "sys.exit(train.command())", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (job if slurm else {}) | {"JAX_NUM_CPU_DEVICES": "1"},
        )
        processes.append(process)
    return processes


def wait_for(process: subprocess.Popen) -> subprocess.Popen:
    """Waits for a process; stores its standard output and error in `said` and `complained`."""
    process.said, process.complained = process.communicate()
    return process


def run_processes(*arguments, **settings) -> list[subprocess.Popen]:
    """Runs the two processes of a run and returns them once both have ended."""
    return [wait_for(process) for process in start_processes(*arguments, **settings)]


def jaxgan_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("jaxgan: ")]


def digest(out: Path) -> str:
    return json.loads((out / "summary.json").read_text())["state_sha256"]


def read_metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def slurm_run(tmp_path_factory) -> tuple[Path, list[subprocess.Popen]]:
    """An uninterrupted run of two processes of a Slurm job."""
    out = tmp_path_factory.mktemp("together") / "run"
    return out, run_processes(out, slurm=True)


def test_two_processes_match_one(slurm_run, tmp_path):
    out, processes = slurm_run
    assert [process.returncode for process in processes] == [0, 0], processes[0].complained
    train.main(Config(out=tmp_path / "alone", **SETTINGS))
    found, expected = read_metrics(out), read_metrics(tmp_path / "alone")
    assert [row["step"] for row in found] == [10, 20, 30, 40, 50, 60]
    # Adam amplifies rounding differences, so only the first metrics are compared.
    np.testing.assert_allclose(
        list(found[0].values()), list(expected[0].values()), rtol=1e-3, atol=1e-5
    )
    assert {path.name for path in out.iterdir()} == {
        path.name for path in (tmp_path / "alone").iterdir()
    }


def test_only_the_first_process_prints(slurm_run):
    first, second = slurm_run[1]
    assert "on 2 x cpu: steps 0 to 60" in first.said
    assert not jaxgan_lines(second.said + second.complained)


def test_interrupted_and_killed_run_equals_uninterrupted_run(slurm_run, tmp_path):
    out = tmp_path / "run"
    asked = signal_at_step(10, process=1, number=signal.SIGTERM)
    processes = run_processes(out, asked)
    assert [process.returncode for process in processes] == [143, 143]
    lines = {jaxgan_lines(process.complained)[-1] for process in processes}
    assert len(lines) == 1  # Both stop after the same step.
    stopped = int(re.search(r"stopped at step (\d+): the same command", lines.pop())[1])
    assert stopped < 50
    survivor, killed = run_processes(
        out, signal_at_step(stopped + 10, process=1, number=signal.SIGKILL)
    )
    assert (survivor.returncode, killed.returncode) == (1, -signal.SIGKILL)
    (line,) = jaxgan_lines(survivor.complained)
    assert line.startswith(f"jaxgan: {connection.GONE}")
    assert "Traceback" not in survivor.complained
    assert f"steps {stopped} to 60" in survivor.said
    run_processes(out)
    assert digest(out) == digest(slurm_run[0])


def test_death_of_the_first_process_ends_the_other(tmp_path):
    killed, survivor = run_processes(
        tmp_path / "run", signal_at_step(10, process=0, number=signal.SIGKILL)
    )
    assert killed.returncode == -signal.SIGKILL
    assert survivor.returncode != 0
    # JAX may abort the process first; the last line is jaxgan's in either case.
    line = jaxgan_lines(survivor.complained)[-1]
    assert line.startswith((f"jaxgan: {connection.GONE}", f"jaxgan: {connection.ABORTED}"))


def test_process_without_heartbeat_counts_as_lost(tmp_path):
    short = "connection.SECONDS_OF_SILENCE, connection.SECONDS_BETWEEN_SIGNS = 8, 1\n"
    silent = signal_at_step(10, process=1, number=signal.SIGSTOP)
    first, second = start_processes(tmp_path / "run", short + silent)
    wait_for(first)
    second.kill()
    wait_for(second)
    assert first.returncode == 1
    assert jaxgan_lines(first.complained) == [f"jaxgan: {connection.GONE}"]


def test_seeds_are_distributed_over_processes(tmp_path):
    out = tmp_path / "run"
    processes = run_processes(out, seeds=4, steps=10)
    assert [process.returncode for process in processes] == [0, 0], processes[0].complained
    train.main(Config(out=tmp_path / "alone", **SETTINGS | {"seeds": 4, "steps": 10}))
    for found, expected in zip(read_metrics(out), read_metrics(tmp_path / "alone"), strict=True):
        assert (found["step"], found["seed"]) == (expected["step"], expected["seed"])
        found, expected = list(found.values()), list(expected.values())
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert sorted(path.name for path in (out / "generator").iterdir()) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("settings", "second", "words"),
    [
        ({}, {"seed": 1}, "the processes of this run differ in --seed"),
        ({"batch_size": 7}, {}, "--batch-size 7 cannot be divided among 2 devices"),
        ({"out": "/proc/nothing"}, {}, "/proc/nothing"),
    ],
)
def test_usage_errors_end_every_process(tmp_path, settings, second, words):
    processes = run_processes(settings.pop("out", tmp_path / "run"), second=second, **settings)
    for process in processes:
        assert process.returncode in (1, 2)
        (line,) = jaxgan_lines(process.complained)
        assert words in line
        assert "Traceback" not in process.complained


def test_unanswered_connection_times_out(tmp_path):
    code = "connection.SECONDS_TO_CONNECT = 1\n"
    (alone,) = start_processes(tmp_path / "run", code, ids=[1])
    wait_for(alone)
    assert alone.returncode == 1
    assert jaxgan_lines(alone.complained) == [f"jaxgan: {connection.UNANSWERED}"]


def test_connecting_process_can_be_stopped(tmp_path):
    code = """
import threading
connection.SECONDS_TO_CONNECT = 20
initialize = jax.distributed.initialize
def then_stop(*arguments, **settings):
    threading.Timer(0.3, os.kill, (os.getpid(), 15)).start()
    initialize(*arguments, **settings)
jax.distributed.initialize = then_stop
"""
    (alone,) = start_processes(tmp_path / "run", code, ids=[1])
    assert wait_for(alone).returncode == 143
    assert "stopped at once" in alone.complained


def test_missing_cluster_is_reported(tmp_path, capsys):
    command = [sys.executable, "-m", "jaxgan.train", "--distributed", "--out", str(tmp_path / "r")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    (line,) = found.stderr.strip().splitlines()
    assert "--coordinator" in line
