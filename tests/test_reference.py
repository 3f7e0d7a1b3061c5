"""The real data that samples are compared with."""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import evaluate, metrics, train
from jaxgan.data import Images
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import UsageError
from jaxgan.evaluation import real_features, reference, selection
from jaxgan.evaluation.location import locate_data
from jaxgan.evaluation.protocol import Features, Protocol
from jaxgan.evaluation.reference import Settings
from jaxgan.evaluation.scores import score_generator
from jaxgan.metrics import Comparison
from jaxgan.runs.config import Config
from jaxgan.runs.generators import load_generator

pytestmark = pytest.mark.usefixtures("fast_evaluation")


class Looked(list):
    """Records the images it is called with, and returns their first pixels as features."""

    def __call__(self, images) -> Features:
        self.append(to_uint8(np.asarray(images)))
        return Features(self[-1].reshape(len(images), -1)[:, :4].astype(float))


def make_protocol(looked) -> Protocol:
    """Returns a protocol whose features are extracted by `looked`."""
    compare = lambda real, fake, count: Comparison(real.features[:count], fake.features[:count])
    return Protocol({"features": "first pixels", "digest": "x"}, looked, compare)


def test_selection_and_evaluation_use_different_data(tmp_path, monkeypatch):
    """Different real images and different latents."""
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8), np.uint8)
    np.save(tmp_path / "mine.npy", images)
    own = {"data_file": tmp_path / "mine.npy", "out": tmp_path / "run"}
    train.main(Config(**own, width=8, latent_size=4, batch_size=8, steps=2))
    about = evaluate.read_description(tmp_path / "run")
    choosing, judging = Looked(), Looked()
    looking = iter((choosing, judging))
    monkeypatch.setitem(reference.PROTOCOLS, Images, lambda *_: make_protocol(next(looking)))
    monkeypatch.setattr(real_features, "cache_path", lambda *_: Path("/proc/nothing/x"))
    draw = load_generator(tmp_path / "run" / "generator")
    variables = jax.tree.map(jnp.asarray, draw.variables)
    assert {"fid", "precision"} <= selection.make_score(about)(variables).keys()
    real = reference.load_reference(about, Settings(130))
    for key in range(2):
        score_generator(jax.jit(draw, static_argnums=1), about, real, key, False)
    rows = lambda arrays: {row.tobytes() for array in arrays for row in array}
    splits = reference.load_splits(about)
    train_rows, test_rows = (
        rows([np.asarray(each.images)]) for each in (splits.train, splits.test)
    )
    assert len(train_rows) == 4 * len(test_rows) == 560
    assert not splits.own_test
    assert not train_rows & test_rows
    assert rows(choosing[:1]) <= train_rows
    assert rows(judging[:1]) <= test_rows
    assert len(rows(choosing[1:]) & rows(judging[2:])) == 0
    assert len(rows(judging[2:])) > 200  # The generator draws different images.


def test_moved_data_files_are_reported(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8), np.uint8)
    mine = tmp_path / "mine.npy"
    np.save(mine, images)
    monkeypatch.chdir(tmp_path)
    train.main(Config(data_file="mine.npy", width=8, batch_size=8, steps=2, out="run"))
    about = evaluate.read_description(tmp_path / "run")
    assert about.config.data_file == mine
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = {"runs": (tmp_path / "run",), "samples": 130, "repeats": 1}
    assert locate_data(tmp_path / "run", about) == about
    mine.rename(tmp_path / "moved.npy")
    with pytest.raises(UsageError, match="does not exist: give its --data-file"):
        evaluate.main(evaluate.Config(**settings))
    monkeypatch.setitem(reference.PROTOCOLS, Images, lambda *_: make_protocol(Looked()))
    (found,) = evaluate.main(evaluate.Config(**settings, data_file="../moved.npy")).values()
    assert found["mean"]["fid"] >= 0
    np.save(mine, images[::-1])
    with pytest.raises(UsageError, match="that the run was trained on: .* by --data-file"):
        evaluate.main(evaluate.Config(**settings, data_file=mine))


def test_damaged_cache_of_real_data_is_recomputed(evaluated, tmp_path, monkeypatch):
    nowhere = lambda name: tmp_path / f"{hashlib.sha256(name.encode()).hexdigest()}.safetensors"
    monkeypatch.setattr(real_features, "cache_path", nowhere)
    about = evaluate.read_description(evaluated)
    first = reference.load_reference(about, Settings(250)).scores
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 3  # Features of two splits, and the scores of one.
    for damage in (lambda b: b"", lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1])):
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        assert reference.load_reference(about, Settings(250)).scores == first


def test_added_metric_is_computed_of_cached_real_data(evaluated, monkeypatch):
    about = evaluate.read_description(evaluated)
    before = reference.load_reference(about, Settings(250)).scores
    added = metrics.Metric("two", "two", 1, "", lambda real, fake: 2.0, ("real", "fake"))
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, added))
    monkeypatch.setitem(metrics.BY_NAME, "two", added)
    assert reference.load_reference(about, Settings(250)).scores == before | {"two": 2.0}
