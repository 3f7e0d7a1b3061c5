"""Storage of arrays on disk."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import store
from jaxgan.data.array_file import fingerprint
from jaxgan.trees import tree_sha256

ARRAYS = {
    "images": np.arange(2 * 4, dtype=np.uint8).reshape(2, 2, 2, 1).transpose(0, 2, 1, 3),
    "params": {"Dense_0": {"bias": np.float32([1.5, -0.0]), "scale": np.float64(2.5)}},
}


def test_loaded_arrays_are_identical_and_replace_earlier_ones(tmp_path):
    path = tmp_path / "deep" / "arrays.safetensors"
    store.save(path, {"other": np.zeros(3)})
    store.save(path, ARRAYS, {"accuracy": 0.5, "shape": [2, 3]})
    found = store.load(path)
    assert tree_sha256(found.arrays) == tree_sha256(ARRAYS) == found.digest
    assert found.arrays["params"]["Dense_0"]["scale"].shape == ()
    assert found.about == {"accuracy": 0.5, "shape": [2, 3]}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:40],
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content.replace(b"sha256", b"sha255"),
    ],
)
def test_damaged_files_are_detected(tmp_path, damage):
    path = tmp_path / "arrays.safetensors"
    store.save(path, ARRAYS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError):  # noqa: PT011
        store.load(path)


def test_missing_and_unwritable_files_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        store.load(tmp_path / "none.safetensors")
    with pytest.raises(OSError, match="No such file|Permission denied|Not a directory"):
        store.save(Path("/proc/nothing/x.safetensors"), ARRAYS)


def test_digest_covers_path_dtype_shape_and_bytes():
    base = tree_sha256({"a": np.zeros((2, 3), np.float32)})
    others = (
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.full((2, 3), -0.0, np.float32)},
    )
    assert len({base, *map(tree_sha256, others)}) == 5
    assert tree_sha256({"a": jnp.zeros((2, 3))}) == base


def test_fingerprint_covers_types_and_shapes():
    images, labels = ARRAYS["images"], np.array([3, 5], np.uint8)
    known = fingerprint(images, labels)
    others = (
        (images.reshape(2, 4, 1, 1), labels),
        (images, labels.astype(np.int32)),
        (images, None),
        (images, labels[::-1]),
    )
    assert len({known, *(fingerprint(*other) for other in others)}) == 5
    assert fingerprint(images.copy(), labels) == known
