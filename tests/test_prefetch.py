"""Data that stay on disk during training: the same rows, and the same runs, as from memory."""

import json
import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_one_line, assert_same_run, digest, read_metrics, run_command, small
from PIL import Image

from jaxgan import data, train
from jaxgan.data import prefetch, source
from jaxgan.data.arrays import Images, epoch_indices
from jaxgan.data.prefetch import Reader
from jaxgan.errors import Interrupted, RunError, UsageError
from jaxgan.keys import key_of_seed
from jaxgan.parallel.layout import Layout, make_keys, make_layout
from jaxgan.runs import build
from jaxgan.runs.run import Run

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 8, 8, 1), np.uint8)
LABELS = RNG.integers(0, 3, 200)
SIZE = 24
"""Of a batch, so that epochs of 200 examples end within batches."""


def write_images(path: Path) -> Path:
    np.save(path, IMAGES)
    return path


def write_pictures(folder: Path) -> Path:
    for i, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        below = folder / f"class {label}"
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(below / f"{i}.png")
    return folder


def write(folder: Path, kind: str) -> Path:
    """Writes data of a kind, `.npy`, `.npz` with labels, pictures or a type, into a folder."""
    if kind == "npy":
        return write_images(folder / "images.npy")
    if kind == "npz":
        np.savez(folder / "images.npz", images=IMAGES, labels=LABELS)
        return folder / "images.npz"
    if kind == "pictures":
        return write_pictures(folder / "pictures")
    values = np.random.default_rng(1).normal([3, -100, 0.01, 7], [1, 30, 0.002, 0], (200, 4))
    np.save(folder / "values.npy", values.astype(kind))
    return folder / "values.npy"


def on_disk(out: Path, file: Path, **settings):
    quick = {"steps": 40, "sample_every": 40, "width": 16}
    own = {"dataset": None, "data_file": file, "data_in": "disk"}
    return small(out, **{**quick, **own, **settings})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run on the images, in memory and never interrupted, which no test may change."""
    folder = tmp_path_factory.mktemp("whole")
    train.main(on_disk(folder / "run", write(folder, "npy"), data_in="memory"))
    return folder / "run"


@pytest.fixture
def readers(monkeypatch) -> list[Reader]:
    """The readers that runs make."""
    made, make = [], Layout.make_reader
    monkeypatch.setattr(Layout, "make_reader", lambda *args: made.append(make(*args)) or made[-1])
    return made


@pytest.fixture
def short_sighted(monkeypatch) -> None:
    """Few steps are read ahead, so that damage shows up soon."""
    monkeypatch.setattr(prefetch, "BYTES_AT_ONCE", 1)
    monkeypatch.setattr(prefetch, "STEPS_PER_READ", 1)


KINDS = ("npy", "npz", "pictures", "float32", "float64", "float16", ">f4")


@pytest.mark.parametrize(
    ("kind", "settings"), [("npy", {"image_size": 11}), *((kind, {}) for kind in KINDS)]
)
def test_rows_are_those_of_the_data_set(tmp_path, kind, settings):
    file, key = write(tmp_path, kind), key_of_seed(5)
    disk, memory = (
        data.load(data_file=file, data_in=place, **settings)[0] for place in ("disk", "memory")
    )
    assert (disk.on_disk, memory.on_disk) == (True, False)
    assert disk.fingerprint == memory.fingerprint
    assert disk.shape == memory.shape
    reader, first = Reader(disk, [key], range(3, 40), SIZE), 3
    batch = jax.jit(lambda examples, step: examples.batch(key, step, SIZE))
    for length in (1, 7, 2, 13, 5, 9):
        rows = jax.device_put(reader.read(first, first + length))
        for step in range(first, first + length):
            found, expected = batch(rows, step), batch(memory, step)
            assert found.images.dtype == np.float32
            np.testing.assert_array_equal(found.images, expected.images)
            assert (found.labels is None) == (memory.labels is None)
            if found.labels is not None:
                np.testing.assert_array_equal(found.labels, expected.labels)
        first += length
    with pytest.raises(ValueError, match="does not follow"):
        reader.read(5, 6)
    reader.close()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("npy", {"seeds": 3, "steps_per_call": 7}),
        ("npz", {"d_steps": 3, "pack": 2, "image_size": 9, "conditional": True}),
        ("float64", {"steps_per_call": None}),
        ("npz", {"devices": 4, "conditional": True, "batch_size": 24}),
        ("npz", {"devices": 2, "seeds": 4, "conditional": True}),
    ],
)
def test_run_from_disk_equals_run_from_memory(tmp_path, readers, kind, settings):
    file = write(tmp_path, kind)
    train.main(on_disk(tmp_path / "disk", file, **settings))
    assert len(readers) == 1
    settings = {**settings, "steps_per_call": 10, "data_in": "memory"}
    train.main(on_disk(tmp_path / "memory", file, **settings))
    assert len(readers) == 1
    assert_same_run(tmp_path / "disk", tmp_path / "memory")


@pytest.mark.parametrize("kind", ["npz", "float32", "float16", "float64"])
def test_batch_of_a_data_set_on_disk_is_that_of_one_in_memory(tmp_path, kind):
    file = write(tmp_path, kind)
    disk, memory = (data.load(data_file=file, data_in=p)[0] for p in ("disk", "memory"))
    found, expected = (each.batch(key_of_seed(5), 9, SIZE) for each in (disk, memory))
    np.testing.assert_allclose(found.images, expected.images, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.images.dtype == expected.images.dtype == np.float32


class Counted:
    """Images on disk that note which of them were read."""

    shape, dtype = IMAGES.shape, IMAGES.dtype

    def __init__(self):
        self.read = []

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, indices):
        self.read += indices.tolist()
        return IMAGES[indices]


def test_each_device_reads_its_own_rows_only():
    key, steps = key_of_seed(0), range(20)
    for parts in ([(1, 4)], [(0, 4), (3, 4)]):
        counted = Counted()
        reader = Reader(Images(counted, "test", ""), [key], steps, SIZE, parts)
        rows = reader.read(0, 20).rows.images
        reader.close()
        assert rows.shape == (len(parts), 20, SIZE // 4, 8, 8, 1)
        assert len(counted.read) == len(parts) * 20 * SIZE // 4
        for own, (index, count) in zip(rows, parts, strict=True):
            for step in steps:
                expected = IMAGES[np.asarray(epoch_indices(key, step, SIZE, 200))][index::count]
                np.testing.assert_array_equal(own[step], expected)


@pytest.mark.parametrize(("members", "devices"), [(None, 4), (4, 2)])
def test_devices_of_a_process_read_nothing_twice(members, devices):
    layout, counted, seeds = make_layout(members, devices, SIZE), Counted(), members or 1
    keys = make_keys(0, layout)
    reader = layout.make_reader(Images(counted, "test", ""), keys, range(25), SIZE)
    placed = layout.place_rows(reader.read(0, 25)).rows.images
    reader.close()
    assert len(counted.read) == seeds * 25 * SIZE
    epochs = np.bincount(counted.read, minlength=200)  # 25 batches of 24 are 3 epochs.
    assert (epochs == 3 * seeds).all()
    assert {shard.device for shard in placed.addressable_shards} == {*layout.devices}
    assert {len(shard.data) for shard in placed.addressable_shards} == {max(1, seeds // devices)}


def test_stopped_run_continues_from_disk(tmp_path, monkeypatch, whole):
    file = write(tmp_path, "npy")
    with monkeypatch.context() as patched:
        stop_at(patched, 10, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match=r"stopped at step 20: the same command"):
            train.main(on_disk(tmp_path / "stopped", file))
    train.main(on_disk(tmp_path / "stopped", file))
    for steps, place in ((10, "memory"), (30, "disk"), (40, "memory")):
        train.main(on_disk(tmp_path / "moved", file, data_in=place, steps=steps))
    assert_same_run(tmp_path / "stopped", whole)
    assert_same_results(tmp_path / "moved", whole)


def assert_same_results(found: Path, expected: Path) -> None:
    """Compares runs that may have pictures of other steps, since they ended at other steps."""
    assert digest(found) == digest(expected)
    assert (found / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()


def stop_at(patched, step: int, act) -> None:
    """Lets a run do something before it writes the chunk that ends at a step."""
    written = Run.write

    def write_chunk(self, chunk):
        if chunk.last == step:
            act()
        return written(self, chunk)

    patched.setattr(Run, "write", write_chunk)


def test_frozen_seed_stays_frozen(tmp_path, monkeypatch):
    """Its rows are no longer read, and other rows must not let it go on."""
    file, built = write(tmp_path, "npy"), build.build_gan
    memory = data.load(data_file=file, data_in="memory")[0]
    batch = jax.jit(memory.batch, static_argnums=2)
    bad = batch(key_of_seed(1), 12, 8).images  # The 13th batch of seed 1.

    def build_diverging(config, dataset, numbers=None):
        model = built(config, dataset, numbers)

        def step(key, state, batch):
            new, metrics = model.step(key, state, batch)
            poison = jnp.where((jnp.abs(batch.images - bad) < 1e-3).all(), jnp.nan, 0)
            return new, metrics._replace(d_loss=metrics.d_loss + poison)

        return model._replace(step=step)

    monkeypatch.setattr(build, "build_gan", build_diverging)
    train.main(on_disk(tmp_path / "disk", file, seeds=3, steps=20))
    for place in ("disk", "memory"):
        train.main(on_disk(tmp_path / place, file, seeds=3, data_in=place))
        last = [row["step"] for row in read_metrics(tmp_path / place) if row["seed"] == 1][-1:]
        assert last == [10]
        about = json.loads((tmp_path / place / "generator" / "1" / "generator.json").read_text())
        assert about["step"] == 12
    assert_same_results(tmp_path / "disk", tmp_path / "memory")


@pytest.mark.parametrize(("kind", "begin"), [("npy", 0), ("npy", 10), ("pictures", 0)], ids=str)
def test_damage_ends_the_run_with_its_state_saved(
    tmp_path, monkeypatch, short_sighted, whole, kind, begin
):
    file, out = write(tmp_path, kind), tmp_path / "run"
    files = [file] if kind == "npy" else sorted(file.rglob("*.png"))
    before = {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in files}

    def damage():
        for each in files:
            each.write_bytes(each.read_bytes()[:-10])

    if begin:
        train.main(on_disk(out, file, steps=begin))
    with monkeypatch.context() as patched:
        stop_at(patched, begin + 10, damage)
        with pytest.raises(RunError, match=r"the state of step (\d+) is saved") as stopped:
            train.main(on_disk(out, file))
    message = str(stopped.value)
    assert "\n" not in message
    assert any(str(each) in message for each in files)
    step = int(re.search(r"the state of step (\d+) is saved", message)[1])
    assert begin + 10 <= step < 40
    assert (out / "checkpoints" / str(step)).is_dir()
    for each, (content, time) in before.items():
        each.write_bytes(content)
        os.utime(each, ns=(time, time))
    train.main(on_disk(out, file))
    if kind == "pictures":
        whole = tmp_path / "whole"
        train.main(on_disk(whole, file, data_in="memory"))
    assert_same_results(out, whole)


def test_auto_reads_from_disk_what_needs_more_than_a_quarter_of_the_memory(tmp_path, monkeypatch):
    file = write(tmp_path, "npy")
    for memory, expected in ((4 * IMAGES.nbytes, False), (4 * IMAGES.nbytes - 4, True)):
        monkeypatch.setattr(source, "memory_of_device", lambda memory=memory: memory)
        assert data.load(data_file=file)[0].on_disk == expected
        assert not data.load(data_file=file, data_in="memory")[0].on_disk
    assert data.load(data_file=file, image_size=9)[0].on_disk  # Padding needs memory, too.
    monkeypatch.setattr(source, "memory_of_device", lambda: IMAGES.nbytes - 1)
    with pytest.raises(UsageError, match="needs 12,800 bytes.*--data-in disk"):
        data.load(data_file=file, data_in="memory")


@pytest.mark.parametrize("name", ["ring", "grid", "stacked_mnist", "digits"])
def test_data_that_are_not_on_disk_are_refused(name, monkeypatch, capsys, tmp_path):
    out = tmp_path / "run"
    assert run_command(monkeypatch, f"--dataset {name} --data-in disk --out {out}".split()) == 2
    assert_one_line(capsys.readouterr().err, "--data-in disk", name)
    assert not out.exists()
