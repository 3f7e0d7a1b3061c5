import errno
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.errors import RunError
from jaxgan.gan import gan
from jaxgan.networks import NETWORKS
from jaxgan.runs.checkpoint import KEPT, Checkpoints
from jaxgan.trees import leaves_by_path, tree_sha256

KEY = jax.random.key(0)


class Pair(NamedTuple):
    a: jax.Array
    b: dict


def make_state(value: float) -> Pair:
    return Pair(jnp.int32(value), {"w": jnp.full((3, 2), value, jnp.float32), "empty": {}})


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def save_all(checkpoints, *steps):
    for step in steps:
        checkpoints.save(step, make_state(step))
    checkpoints.wait()


def damage(directory):
    """Flips a bit in the largest file."""
    files = (path for path in directory.rglob("*") if path.is_file())
    file = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_restored_state_is_identical(checkpoints):
    assert checkpoints.latest(make_state(0)) is None
    model = gan(*NETWORKS["mlp"]((4, 4, 1)))
    state = model.init(KEY)
    checkpoints.save(5, state)
    checkpoints.wait()
    step, restored, damaged = checkpoints.latest(jax.eval_shape(model.init, KEY))
    assert (step, damaged) == (5, [])
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for path, leaf in leaves_by_path(state).items():
        np.testing.assert_array_equal(leaves_by_path(restored)[path], leaf)
        assert leaves_by_path(restored)[path].dtype == leaf.dtype
    assert tree_sha256(restored) == tree_sha256(state)


def test_only_the_newest_checkpoints_are_retained(checkpoints):
    save_all(checkpoints, *range(1, KEPT + 4))
    names = sorted(int(path.name) for path in checkpoints.directory.iterdir())
    assert names == list(range(4, KEPT + 4))


def test_damaged_newest_checkpoint_falls_back_to_the_previous(checkpoints):
    save_all(checkpoints, 1, 2)
    damage(checkpoints.directory / "2")
    step, state, damaged = checkpoints.latest(make_state(0))
    assert (step, damaged, int(state.a)) == (1, [2], 1)
    assert (checkpoints.directory.parent / "damaged" / "2").is_dir()
    save_all(checkpoints, 2)
    assert checkpoints.latest(make_state(0))[0] == 2


def test_digest_mismatch_is_damage(checkpoints):
    save_all(checkpoints, 1, 2)
    stored = checkpoints.directory / "2" / "digest" / "metadata"
    digest = tree_sha256(make_state(2))
    assert digest in stored.read_text()
    stored.write_text(stored.read_text().replace(digest, tree_sha256(make_state(3))))
    assert checkpoints.latest(make_state(0))[0] == 1


def test_unfinished_checkpoint_is_ignored_and_deleted(tmp_path, checkpoints):
    save_all(checkpoints, 1)
    half = checkpoints.directory / "2.orbax-checkpoint-tmp"
    shutil.copytree(checkpoints.directory / "1", half)
    checkpoints.close()
    reopened = Checkpoints(checkpoints.directory)
    assert reopened.latest(make_state(0))[0] == 1
    reopened.close()
    assert not half.exists()


def test_no_checkpoint_is_moved_if_all_are_damaged(checkpoints):
    save_all(checkpoints, 1, 2)
    for step in ("1", "2"):
        damage(checkpoints.directory / step)
    with pytest.raises(RunError, match="every checkpoint.*--overwrite"):
        checkpoints.latest(make_state(0))
    assert {path.name for path in checkpoints.directory.iterdir()} == {"1", "2"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        # TensorStore's wording.
        ValueError("Error reading: Input/output error [source locations='...' os_error_code='5']"),
    ],
)
def test_read_errors_are_not_damage(checkpoints, monkeypatch, error):
    save_all(checkpoints, 1, 2)

    def restore(*_, **__):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(checkpoints._manager, "restore", restore)
        with pytest.raises(RunError, match=r"step 2 .* could not be read \(Input/output error\)"):
            checkpoints.latest(make_state(0))
    assert {path.name for path in checkpoints.directory.iterdir()} == {"1", "2"}
    assert not (checkpoints.directory.parent / "damaged").exists()
    assert checkpoints.latest(make_state(0))[0] == 2
