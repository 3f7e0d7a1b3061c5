"""The user's own arrays: what files may hold, and how they are read."""

import os
import pickle
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import data, store
from jaxgan.data import source, user_files
from jaxgan.data.array_file import ArrayFile, open_npy, open_npz, open_safetensors
from jaxgan.data_settings import DataSettings
from jaxgan.errors import RunError, UsageError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 4, 5, 3), np.uint8)
LABELS = np.array([3, 0, 1, 1, 0, 3, 3, 0, 1, 1, 0, 3])
VALUES = RNG.normal([3, -100], [1, 30], (12, 2)).astype(np.float32)
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Makes reading arrays fail, once it is called."""

    def fail(*args):
        raise AssertionError("it was read")

    return lambda: monkeypatch.setattr(ArrayFile, "_read", fail)


def load(file: Path, **settings):
    return data.load(data_file=file, **settings)


def refused(file: Path, **settings) -> str:
    """Returns the one line that says why a file is refused, and that names it."""
    with pytest.raises(UsageError) as error:
        load(file, **settings)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("data_in", ["memory", "disk"])
@pytest.mark.parametrize(("name", "examples"), [("images", IMAGES), ("values", VALUES)])
def test_archive_with_labels_is_a_data_set_with_classes(tmp_path, data_in, name, examples):
    np.savez(tmp_path / "mine.npz", labels=LABELS, **{name: examples})
    dataset, remarks = load(tmp_path / "mine.npz", data_in=data_in)
    assert (dataset.name, dataset.num_classes, remarks) == ("mine", 4, ())
    assert dataset.on_disk == (data_in == "disk")
    assert dataset.fingerprint == data.from_arrays(examples, LABELS).fingerprint
    rows = dataset.take(np.arange(12))
    np.testing.assert_array_equal(rows.images, examples)
    np.testing.assert_array_equal(rows.labels, LABELS)
    expected = data.from_arrays(examples, LABELS).batch(KEY, 2, 5)
    batch = dataset.batch(KEY, 2, 5)
    np.testing.assert_array_equal(batch.labels, expected.labels)
    np.testing.assert_allclose(batch.images, expected.images, atol=1e-6)


def test_labels_may_be_names(tmp_path):
    names = np.array(["class 10", "dog", "none", "class 2"])[LABELS]
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=names)
    dataset, _ = load(tmp_path / "mine.npz")
    assert dataset.class_names == ("class 2", "class 10", "dog")
    assert dataset.num_classes == 3
    assert [dataset.class_names[k] for k in np.asarray(dataset.labels)] == names.tolist()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS[:11], r"must be 12 labels .*one for each example, and their shape is \(11,\)"),
        (LABELS[:, None], r"their shape is \(12, 1\)"),
        (LABELS - 1, "labels .* must be integers from 0 on, or names"),
        (LABELS * 1.0, "must be integers"),
        (LABELS == 1, "must be integers"),
        (LABELS + 2**32, "must be integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, words):
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=labels)
    assert re.search(words, refused(tmp_path / "mine.npz"))


def test_labels_of_python_objects_are_refused_by_name(tmp_path):
    names = np.array(["cat", "dog"], object)[LABELS % 2]
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=names)
    message = refused(tmp_path / "mine.npz").replace(str(tmp_path), "")
    assert "labels" in message
    assert "Python objects" in message


def test_archive_must_have_images_or_values(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x=IMAGES, y=LABELS)
    assert "must have an array named images or one named values, and it has x, y" in refused(file)
    np.savez(file, images=IMAGES, values=VALUES)
    assert "it has images, values" in refused(file)
    np.savez(file)
    assert "it has no arrays" in refused(file)


@pytest.mark.parametrize(
    "further", [VALUES, np.float32(3), np.array(["a", None], object), np.zeros(2, "i4,f4")]
)
def test_further_arrays_are_remarked(tmp_path, further):
    file = tmp_path / "mine.npz"
    np.savez(file, images=IMAGES, further=further, seeds=np.arange(3))
    dataset, remarks = load(file)
    assert remarks == (f"passed over the arrays further, seeds in {file}",)
    np.testing.assert_array_equal(dataset.images, IMAGES)


def test_compressed_archive_is_read_into_memory(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez_compressed(file, images=IMAGES, labels=LABELS)
    dataset, _ = load(file)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    message = refused(file, data_in="disk")
    assert "cannot be read from disk row by row: remove --data-in disk, or " in message
    assert "np.save, in C order and not compressed" in message


def test_array_in_fortran_order_is_read_into_memory(tmp_path):
    file = tmp_path / "mine.npy"
    np.save(file, np.asfortranarray(IMAGES))
    dataset, _ = load(file)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    np.save(tmp_path / "other.npy", IMAGES)
    assert dataset.fingerprint == load(tmp_path / "other.npy")[0].fingerprint
    assert "np.save, in C order" in refused(file, data_in="disk")


def test_arrays_of_other_types_are_refused_with_advice(tmp_path):
    file = tmp_path / "mine.npy"
    for array in (IMAGES.astype(np.int64), IMAGES > 99, VALUES.astype(complex)):
        np.save(file, array)
        words = "images must be uint8, 0 to 255, and other data floating-point numbers"
        assert f"has type {array.dtype}: {words}" in refused(file)


def test_damaged_arrays_are_refused(tmp_path):
    file = tmp_path / "mine.npy"
    np.save(file, IMAGES)
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    assert "its header promises 720 bytes, and 620 are there" in refused(file)
    for part in (0, 5, 20):
        file.write_bytes(content[:part])
        assert "is not a .npy file, or is damaged" in refused(file)
    np.save(file, np.array([{}, 3], object), allow_pickle=True)
    assert "it holds Python objects" in refused(file)
    np.save(file, np.zeros(3, "i4,f4"))
    assert "has type" in refused(file)
    np.savez(tmp_path / "mine.npz", images=IMAGES)
    content = (tmp_path / "mine.npz").read_bytes()
    (tmp_path / "mine.npz").write_bytes(content[: len(content) // 2])
    assert "is not a .npz file, or is damaged" in refused(tmp_path / "mine.npz")
    assert "does not exist: give a folder of pictures, or " in refused(tmp_path / "missing.npy")


@pytest.fixture
def huge(tmp_path) -> Path:
    """An array of 20 GB, which needs no space."""
    with open(tmp_path / "huge.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (2 * 10**7, 10, 100, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2 * 10**10)
    return tmp_path / "huge.npy"


def test_array_larger_than_the_memory_is_refused_unread(huge, monkeypatch, nothing_is_read):
    monkeypatch.setattr(source, "memory_of_device", lambda: 10**9)
    nothing_is_read()
    message = refused(huge, data_in="memory")
    assert "20.0 GB" in message
    assert "1.0 GB" in message
    assert "--data-in disk" in message


@pytest.mark.parametrize(("memory", "on_disk"), [(10**9, False), (2000, True)])
def test_size_decides_where_data_lie(tmp_path, monkeypatch, memory, on_disk):
    np.save(tmp_path / "mine.npy", IMAGES)
    monkeypatch.setattr(source, "memory_of_device", lambda: memory)
    dataset, _ = load(tmp_path / "mine.npy")
    assert dataset.on_disk == on_disk
    assert not load(tmp_path / "mine.npy", data_in="memory")[0].on_disk
    assert load(tmp_path / "mine.npy", data_in="disk")[0].on_disk


@pytest.mark.parametrize("examples", [IMAGES, VALUES])
def test_large_arrays_are_read_once(tmp_path, monkeypatch, nothing_is_read, examples):
    monkeypatch.setattr(user_files, "LARGE", 1)
    file = tmp_path / "mine.npy"
    np.save(file, examples)
    first, _ = load(file, data_in="disk")
    expected = first.batch(KEY, 0, 5).images
    np.save(file, examples + 1)
    os.utime(file, ns=(0, 10**18))
    changed, _ = load(file, data_in="disk")
    assert changed.fingerprint != first.fingerprint
    assert changed.fingerprint == data.from_arrays(examples + 1).fingerprint
    np.save(file, examples)
    os.utime(file, ns=(0, 2 * 10**18))
    again, _ = load(file, data_in="disk")
    np.testing.assert_array_equal(again.batch(KEY, 0, 5).images, expected)
    nothing_is_read()
    opened = data.open_data(DataSettings(data_file=file, data_in="disk"))
    dataset = opened.load(None)
    assert opened.fingerprint == dataset.fingerprint == first.fingerprint
    if examples is VALUES:
        np.testing.assert_array_equal(dataset.mean, first.mean)
        np.testing.assert_array_equal(dataset.deviation, first.deviation)
    os.utime(file, ns=(0, 3 * 10**18))
    with pytest.raises(AssertionError, match="it was read"):
        load(file, data_in="disk")


def written(folder: Path, kind: str, array: np.ndarray) -> ArrayFile:
    if kind == "npy":
        np.save(folder / "a.npy", array)
        return open_npy(folder / "a.npy")
    if kind == "npz":
        np.savez(folder / "a.npz", before=np.arange(5), a=array, after=np.arange(7))
        return open_npz(folder / "a.npz", {"a"})[0]["a"]
    store.save(folder / "a.safetensors", {"before": np.arange(5, dtype=np.int32), "a": array})
    return open_safetensors(folder / "a.safetensors")["a"]


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("array", [IMAGES, VALUES, LABELS.astype(np.int32)])
def test_rows_equal_those_of_numpy(tmp_path, monkeypatch, kind, array):
    found = written(tmp_path, kind, array)
    assert isinstance(found, ArrayFile)
    assert (found.shape, found.dtype, found.nbytes) == (array.shape, array.dtype, array.nbytes)
    assert (len(found), found.ndim) == (12, array.ndim)
    rows = np.array([11, 0, 3, 3])
    monkeypatch.setattr("jaxgan.data.array_file.BLOCK", 7)  # Blocks end within rows.
    for each in (found, pickle.loads(pickle.dumps(found)), found.reshape((12, array[0].size, 1))):
        np.testing.assert_array_equal(each[rows].reshape(4, -1), array[rows].reshape(4, -1))
        np.testing.assert_array_equal(each[rows[:0]].size, 0)
        np.testing.assert_array_equal(each.read().ravel(), array.ravel())
        assert b"".join(each.blocks()) == array.tobytes()


def test_copy_in_another_process_opens_the_file_itself(tmp_path):
    found = written(tmp_path, "npy", IMAGES)
    found[np.array([3])]
    copied = pickle.loads(pickle.dumps(found))
    del found  # It closes its file.
    np.testing.assert_array_equal(copied.read(), IMAGES)


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("change", ["shorter", "other", "gone"])
def test_file_that_changes_while_in_use_stops_the_run(tmp_path, kind, opened, change):
    found = written(tmp_path, kind, IMAGES)
    if opened:
        found[np.array([3])]
    if change == "gone":
        found.path.rename(tmp_path / "moved")
        if opened:  # The rows of an open file are still there.
            np.testing.assert_array_equal(found.read(), IMAGES)
            return
    elif change == "shorter":
        os.truncate(found.path, found.offset + 100)
    else:
        with open(found.path, "r+b") as file:
            file.seek(found.offset)
            file.write(IMAGES[::-1].tobytes())
        os.utime(found.path, ns=(0, found.stamp[1] + 10**9))
    for read in (lambda: found[np.array([0, 11])], found.read, lambda: list(found.blocks())):
        with pytest.raises(RunError, match=f"{found.path} (has|cannot be read)") as error:
            read()
        assert "has become shorter" in str(error.value) or change != "shorter"
