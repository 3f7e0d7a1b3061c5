"""Runs on data on disk: those of several processes, and processes that decode pictures."""

import os
import select
import signal
from pathlib import Path

import numpy as np
import pytest
import test_distributed
from helpers import assert_same_run, digest, launch, small, wait_until
from PIL import Image
from test_distributed import run_processes, start_processes, wait_for

from jaxgan import train
from jaxgan.data import prefetch
from jaxgan.data.picture_set import PictureSet
from jaxgan.memory import count_cores
from jaxgan.runs.config import Config

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 8, 8, 1), np.uint8)
SECONDS = 60
"""After which processes that should have ended count as left behind."""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, IMAGES)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of pictures in three classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(IMAGES):
        below = folder / f"class {i % 3}"
        below.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(below / f"{i}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_data_set():
    """The processes of `test_distributed` are started without its data set."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delitem(test_distributed.SETTINGS, "dataset")
        yield


@pytest.fixture(scope="module")
def from_memory(tmp_path_factory, file) -> Path:
    """An uninterrupted run of this process on two devices, with the data in memory."""
    out = tmp_path_factory.mktemp("memory") / "run"
    settings = {"out": out, "data_file": file, "data_in": "memory", "devices": 2}
    train.main(Config(**test_distributed.SETTINGS | settings))
    return out


def wait_at(step: int, folder: Path) -> str:
    """Returns code with which each process tells the test that it wrote a chunk, and waits."""
    return f"""
import pathlib, signal
from jaxgan.runs.run import Run
write = Run.write
def and_wait(self, chunk):
    metrics = write(self, chunk)
    if chunk.last == {step}:
        (pathlib.Path({str(folder)!r}) / str(jax.process_index())).touch()
        signal.pause()
    return metrics
Run.write = and_wait
"""


def test_two_processes_read_from_disk_what_they_read_from_memory(tmp_path, file, from_memory):
    out = tmp_path / "run"
    processes = run_processes(out, data_file=file, data_in="disk")
    assert [process.returncode for process in processes] == [0, 0], processes[0].complained
    assert_same_run(out, from_memory)


def test_killed_processes_continue_from_disk(tmp_path, file, from_memory):
    out, ready = tmp_path / "run", tmp_path / "ready"
    ready.mkdir()
    processes = start_processes(out, wait_at(40, ready), data_file=file, data_in="disk")
    for i, process in enumerate(processes):
        wait_until(process, lambda: True, ready / str(i))
    for process in processes:
        process.kill()
    assert [wait_for(process).returncode for process in processes] == [-signal.SIGKILL] * 2
    assert not (out / "summary.json").exists()
    processes = run_processes(out, data_file=file, data_in="disk")
    assert [process.returncode for process in processes] == [0, 0], processes[0].complained
    assert f"steps 20 to 60 in {out}" in processes[0].said or (
        f"steps 40 to 60 in {out}" in processes[0].said
    )
    assert digest(out) == digest(from_memory)


def test_seeds_of_two_processes_read_from_disk(tmp_path, file):
    for place in ("disk", "memory"):
        settings = {"data_file": file, "data_in": place, "seeds": 4, "steps": 20}
        processes = run_processes(tmp_path / place, **settings)
        assert [process.returncode for process in processes] == [0, 0], processes[0].complained
    assert_same_run(tmp_path / "disk", tmp_path / "memory")


def test_data_that_one_process_cannot_read_end_both(tmp_path, file):
    """Each process has a copy of the data; that of the second one becomes shorter."""
    copy = tmp_path / "images.npy"
    copy.write_bytes(file.read_bytes())
    code = f"""
from jaxgan.data import prefetch
from jaxgan.runs.run import Run
prefetch.BYTES_AT_ONCE = prefetch.STEPS_PER_READ = 1
write = Run.write
def and_damage(self, chunk):
    if chunk.last == 20 and jax.process_index() == 1:
        os.truncate({str(copy)!r}, 1000)
    return write(self, chunk)
Run.write = and_damage
"""
    settings = {"data_file": file, "data_in": "disk", "second": {"data_file": copy}}
    processes = start_processes(tmp_path / "run", code, **settings)
    try:
        for process in processes:
            process.wait(2 * SECONDS)
    finally:
        for process in processes:
            process.kill()
            wait_for(process)
    assert all(process.returncode in (1, 2) for process in processes)
    assert str(copy) in processes[1].complained
    assert not (tmp_path / "run" / "summary.json").exists()
    copy.write_bytes(file.read_bytes())
    run_processes(tmp_path / "run", **settings)
    assert (tmp_path / "run" / "summary.json").exists()


def on_disk(out: Path, folder: Path, **settings):
    quick = {"steps": 40, "sample_every": 40, "width": 16, "conditional": True}
    return small(
        out, **{"dataset": None, "data_file": folder, "data_in": "disk", **quick, **settings}
    )


def test_worker_processes_decode_pictures(tmp_path, monkeypatch, pictures):
    with monkeypatch.context() as patched:
        patched.setattr(prefetch, "count_cores", lambda: 2)

        def decode_here(self, indices):
            raise AssertionError("decoded by the process that trains")

        patched.setattr(PictureSet, "__getitem__", decode_here)
        train.main(on_disk(tmp_path / "disk", pictures))
    monkeypatch.setattr(prefetch, "count_cores", lambda: 1)
    train.main(on_disk(tmp_path / "threads", pictures))
    train.main(on_disk(tmp_path / "memory", pictures, data_in="memory"))
    assert_same_run(tmp_path / "disk", tmp_path / "memory")
    assert_same_run(tmp_path / "threads", tmp_path / "memory")


LINUX = Path("/proc/self/task").is_dir() and hasattr(os, "pidfd_open")
needs_workers = pytest.mark.skipif(
    count_cores() < 2 or not LINUX, reason="needs two cores, and Linux to see processes end"
)


def children(pid: int) -> list[int]:
    """Returns the processes that a process started, with those that these started."""
    found = []
    for threads in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (threads / "children").read_text().split())
    return found + [each for child in found for each in children(child)]


@needs_workers
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_worker_processes_end_with_the_run(tmp_path, pictures, number, status):
    """SIGINT reaches all processes, as Ctrl-C does, and the run is saved first."""
    out = tmp_path / "run"
    # Without the decoded pictures that another test may have left in the cache.
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = launch(
        on_disk(out, pictures, conditional=False, steps=100_000),
        start_new_session=True,
        env=environment,
    )
    wait_until(process, lambda: any((out / "metrics.jsonl").open()), out / "metrics.jsonl")
    workers = {os.pidfd_open(pid) for pid in children(process.pid)}
    assert len(workers) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, complained = process.communicate()
    assert process.returncode == status, complained
    left = set(workers)
    while left and (ended := select.select(left, [], [], SECONDS)[0]):
        left -= {*ended}  # A descriptor of a process can be read once the process has ended.
    for worker in left:
        signal.pidfd_send_signal(worker, signal.SIGKILL)
    for worker in workers:
        os.close(worker)
    assert not left
    assert "Traceback" not in complained
    if number == signal.SIGINT:
        assert "the same command continues from there" in complained
