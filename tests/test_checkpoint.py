import errno
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.errors import RunError, UsageError
from jaxgan.gan import gan, leaves
from jaxgan.networks import NETWORKS
from jaxgan.runs.checkpoint import KEPT, Checkpoints, load_generator, save_generator, tree_sha256

KEY = jax.random.key(0)


class Pair(NamedTuple):
    a: jax.Array
    b: dict


def a_state(value: float) -> Pair:
    return Pair(jnp.int32(value), {"w": jnp.full((3, 2), value, jnp.float32), "empty": {}})


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def save_all(checkpoints, *steps):
    for step in steps:
        checkpoints.save(step, a_state(step))
    checkpoints.wait()


def damage(directory):
    """Flips a bit in the largest file."""
    files = (path for path in directory.rglob("*") if path.is_file())
    file = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_state_comes_back_exactly(checkpoints):
    assert checkpoints.latest(a_state(0)) is None
    model = gan(*NETWORKS["mlp"]((4, 4, 1)))
    state = model.init(KEY)
    checkpoints.save(5, state)
    checkpoints.wait()
    step, restored, damaged = checkpoints.latest(jax.eval_shape(model.init, KEY))
    assert (step, damaged) == (5, [])
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for path, leaf in leaves(state).items():
        np.testing.assert_array_equal(leaves(restored)[path], leaf)
        assert leaves(restored)[path].dtype == leaf.dtype
    assert tree_sha256(restored) == tree_sha256(state)


def test_only_the_last_few_are_kept(checkpoints):
    save_all(checkpoints, *range(1, KEPT + 4))
    names = sorted(int(path.name) for path in checkpoints.directory.iterdir())
    assert names == list(range(4, KEPT + 4))


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(checkpoints):
    save_all(checkpoints, 1, 2)
    damage(checkpoints.directory / "2")
    step, state, damaged = checkpoints.latest(a_state(0))
    assert (step, damaged, int(state.a)) == (1, [2], 1)
    assert (checkpoints.directory.parent / "damaged" / "2").is_dir()
    save_all(checkpoints, 2)
    assert checkpoints.latest(a_state(0))[0] == 2


def test_a_state_that_is_not_the_one_of_its_digest_is_damaged(checkpoints):
    save_all(checkpoints, 1, 2)
    stored = checkpoints.directory / "2" / "digest" / "metadata"
    digest = tree_sha256(a_state(2))
    assert digest in stored.read_text()
    stored.write_text(stored.read_text().replace(digest, tree_sha256(a_state(3))))
    assert checkpoints.latest(a_state(0))[0] == 1


def test_an_unfinished_checkpoint_is_no_checkpoint(tmp_path, checkpoints):
    save_all(checkpoints, 1)
    half = checkpoints.directory / "2.orbax-checkpoint-tmp"
    shutil.copytree(checkpoints.directory / "1", half)
    checkpoints.close()
    reopened = Checkpoints(checkpoints.directory)
    assert reopened.latest(a_state(0))[0] == 1
    reopened.close()
    assert not half.exists()


def test_when_all_are_damaged_none_is_lost(checkpoints):
    save_all(checkpoints, 1, 2)
    for step in ("1", "2"):
        damage(checkpoints.directory / step)
    with pytest.raises(RunError, match="every checkpoint.*--overwrite"):
        checkpoints.latest(a_state(0))
    assert {path.name for path in checkpoints.directory.iterdir()} == {"1", "2"}


def test_digest_covers_path_dtype_shape_and_bytes():
    base = tree_sha256({"a": np.zeros((2, 3), np.float32)})
    others = (
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.full((2, 3), -0.0, np.float32)},
    )
    assert len({base, *map(sha256, others)}) == 5
    assert tree_sha256({"a": jnp.zeros((2, 3))}) == base


@pytest.mark.parametrize("conditional", [False, True])
def test_a_saved_generator_draws_what_the_gan_draws(tmp_path, conditional):
    shape = (5, 4, 1)
    num_classes = 3 if conditional else None
    networks = NETWORKS["mlp"](shape, width=8, num_classes=num_classes)
    model = gan(*networks, latent_size=7, num_classes=num_classes)
    state = model.init(KEY)
    state = state._replace(ema=jax.tree.map(lambda x: x + 0.1, state.ema))
    description = {
        "config": {"network": "mlp", "latent_size": 7, "width": 8, "conditional": conditional},
        "dataset": {"shape": shape, "bounded": True, "num_classes": 3},
    }
    save_generator(tmp_path / "generator", model.averaged(KEY, state), description)
    sample = load_generator(tmp_path / "generator")
    np.testing.assert_array_equal(sample(KEY, 6), model.sample(KEY, state, 6))
    if conditional:
        np.testing.assert_array_equal(sample(KEY, 6, 2), model.sample(KEY, state, 6, 2))
        for labels in (3, [0, 1, 2, -1, 0, 0]):
            with pytest.raises(UsageError, match="below 3"):
                sample(KEY, 6, labels)
    else:
        with pytest.raises(UsageError, match="not conditional"):
            sample(KEY, 6, 2)
    (tmp_path / "generator" / "weights.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(RunError, match="no generator"):
        load_generator(tmp_path / "generator")
    with pytest.raises(RunError, match="no generator"):
        load_generator(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        # So TensorStore words it.
        ValueError("Error reading: Input/output error [source locations='...' os_error_code='5']"),
    ],
)
def test_a_checkpoint_that_the_system_cannot_read_is_not_damaged(checkpoints, monkeypatch, error):
    save_all(checkpoints, 1, 2)

    def restore(*_, **__):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(checkpoints._manager, "restore", restore)
        with pytest.raises(RunError, match=r"step 2 .* could not be read \(Input/output error\)"):
            checkpoints.latest(a_state(0))
    assert {path.name for path in checkpoints.directory.iterdir()} == {"1", "2"}
    assert not (checkpoints.directory.parent / "damaged").exists()
    assert checkpoints.latest(a_state(0))[0] == 2
