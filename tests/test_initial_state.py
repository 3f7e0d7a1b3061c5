"""Runs that start from another run (--init-from), and frozen layers (--freeze-d)."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from helpers import assert_same_run, digest, read_files, read_json, read_metrics, small

from jaxgan import data, train, verify
from jaxgan.errors import RunError, UsageError
from jaxgan.runs import build, description
from jaxgan.runs.config import Config
from jaxgan.runs.states import kept_steps, read_state
from jaxgan.trees import leaves_by_path


def state_of(run, step=None):
    return read_state(run, description.read(run / "config.json"), step)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    out = tmp_path_factory.mktemp("conditional") / "run"
    train.main(small(out, conditional=True, width=8, batch_size=16, steps=20))
    return out


def test_a_fork_of_the_whole_state_is_the_run_that_went_on(finished, tmp_path):
    """With the same settings, forking at step 20 gives what training on gave."""
    fork = tmp_path / "fork"
    settings = {"init_from": finished, "init_with": "state", "init_step": 20}
    train.main(small(fork, **settings, steps=40))
    assert [row["step"] for row in read_metrics(fork)] == [30, 40]
    train.main(small(fork, **settings))
    assert digest(fork) == digest(finished)
    assert read_metrics(fork) == read_metrics(finished)[2:]
    about = read_json(fork / "config.json")
    assert about["source"]["step"] == 20
    assert verify.main(verify.Config(fork, from_scratch=True)).begin == 20
    assert verify.main(verify.Config(fork, from_scratch=True)).same


def test_parameters_start_where_the_other_run_was(finished, tmp_path):
    out = tmp_path / "run"
    train.main(small(out, init_from=finished, steps=1, learning_rate=1e-12, seed=3))
    found, source = state_of(out), state_of(finished)
    for name in ("generator", "discriminator"):
        params = (getattr(each, name).params for each in (found, source))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), *params)
    assert int(found.step) == 1
    moments = leaves_by_path(found.generator.opt_state)
    assert [int(leaf) for path, leaf in moments.items() if path.endswith("count")] == [1]


def test_a_run_goes_on_although_its_source_has_changed_or_is_gone(finished, tmp_path):
    source = shutil.copytree(finished, tmp_path / "source")
    whole, out = tmp_path / "whole", tmp_path / "run"
    train.main(small(whole, init_from=source, steps=40))
    train.main(small(out, init_from=source, steps=20))
    assert_same_run_until(out, whole, 20)
    shutil.rmtree(source)
    train.main(small(out, init_from=source, steps=40))
    assert_same_run(out, whole)
    with pytest.raises(UsageError, match=r"init_from \(state\)"):
        train.main(small(out, steps=60))
    with pytest.raises(UsageError, match="not a run directory"):
        train.main(small(tmp_path / "other", init_from=source))
    with pytest.raises(RunError, match=r"began with step 60 of .*source, which cannot be read"):
        verify.main(verify.Config(out, from_scratch=True))


def assert_same_run_until(out, whole, step):
    rows = [row for row in read_metrics(whole) if row["step"] <= step]
    assert read_metrics(out) == rows


def test_other_state_in_the_source_is_refused(finished, tmp_path):
    source = shutil.copytree(finished, tmp_path / "source")
    out = tmp_path / "run"
    train.main(small(out, init_from=source, steps=20))
    train.main(small(source, steps=120))
    assert kept_steps(source) == [80, 100, 120]
    with pytest.raises(RunError, match="no checkpoint of step 60"):
        verify.main(verify.Config(out))


def test_each_seed_starts_from_its_own_or_from_the_single_one(finished, tmp_path):
    many, more = tmp_path / "many", tmp_path / "more"
    small_rate = {"learning_rate": 1e-12, "steps": 1}
    train.main(small(many, seeds=2, seed=5, init_from=finished, **small_rate))
    found, source = state_of(many).generator.params, state_of(finished).generator.params
    for k in range(2):
        each = jax.tree.map(lambda leaf, k=k: leaf[k], found)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), each, source)
    train.main(small(tmp_path / "apart", seeds=2, seed=5, steps=2))
    apart = state_of(tmp_path / "apart").generator.params
    train.main(small(more, seed=6, init_from=tmp_path / "apart", **small_rate))
    second = jax.tree.map(lambda leaf: leaf[1], apart)
    found = state_of(more).generator.params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), found, second)
    with pytest.raises(UsageError, match="no seed 9"):
        train.main(small(tmp_path / "ninth", seed=9, init_from=tmp_path / "apart"))


def test_classes_that_the_source_lacks_start_anew(conditional, tmp_path):
    """Of four named classes, two are those of the source, in another order."""
    source = description.read(conditional / "config.json")
    names = tuple("abcdefghij")
    named = source._replace(dataset=source.dataset._replace(class_names=names))
    copy = shutil.copytree(conditional, tmp_path / "source")
    named.write(copy / "config.json")
    images, labels = np.zeros((64, 28, 28, 1), np.uint8), np.array([*"xcya"] * 16)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    out = tmp_path / "run"
    settings = {"dataset": None, "data_file": tmp_path / "few.npz", "conditional": True, "width": 8}
    config = small(out, **settings, steps=1, learning_rate=1e-12, init_from=copy)
    train.main(config)
    new = build.build_gan(config, data.open_data(config).load(None)).init(jax.random.key(0))
    compared = 0
    for player in ("generator", "discriminator"):
        found, old, fresh = (
            leaves_by_path(getattr(each, player).params)
            for each in (state_of(out), state_of(copy), new)
        )
        for path, leaf in found.items():
            if leaf.shape == old[path].shape:
                np.testing.assert_allclose(leaf, old[path], atol=1e-9)
                continue
            compared += 1
            # The classes of the run are a, c, x, y.
            np.testing.assert_allclose(leaf[:2], old[path][[0, 2]], atol=1e-6)
            np.testing.assert_allclose(leaf[2:], fresh[path][2:], atol=1e-6)
    assert compared == 2


def test_a_source_without_classes_gives_the_rest(finished, tmp_path, capsys):
    out = tmp_path / "run"
    train.main(small(out, init_from=finished, conditional=True, steps=1))
    said = capsys.readouterr().out
    assert "new, because the classes differ: generator/params/" in said
    assert "starting from step 60" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 16}, "width is None there and 16 here"),
        ({"network": "dcgan", "conditional": True}, "differ from those of this run"),
        ({"init_with": "state", "optimizer": "sgd", "steps": 80}, "--init-with parameters"),
        ({"init_step": 30}, "no checkpoint of step 30"),
    ],
)
def test_sources_that_do_not_fit_are_refused(finished, tmp_path, settings, message):
    with pytest.raises((UsageError, RunError), match=message):
        train.main(small(tmp_path / "run", init_from=finished, **settings))


def test_a_fork_to_no_more_steps_is_refused_before_anything_is_deleted(finished, tmp_path):
    out = tmp_path / "run"
    train.main(small(out, steps=1, seed=3))
    before = read_files(out)
    settings = {"init_from": finished, "init_with": "state", "overwrite": True}
    for steps in (60, 20):
        with pytest.raises(UsageError, match="set --steps to more than 60"):
            train.main(small(out, steps=steps, **settings))
    assert read_files(out) == before
    train.main(small(out, steps=61, **settings))
    assert read_json(out / "summary.json")["steps"] == 61


def test_the_source_is_not_overwritten(finished, tmp_path):
    with pytest.raises(UsageError, match="choose another --out"):
        train.main(small(finished, init_from=finished, overwrite=True))
    assert (finished / "summary.json").exists()
    with pytest.raises(UsageError, match="need --init-from"):
        train.main(small(tmp_path / "run", init_step=20))


@pytest.mark.parametrize(
    ("settings", "frozen"),
    [
        ({"freeze_d": 1}, {"Dense_0"}),
        ({"freeze_d": 2}, {"Dense_0", "Dense_1"}),
        ({"freeze_d": 1, "d_norm": "spectral"}, {"Dense_0"}),
        ({"freeze_d": 2, "network": "dcgan", "width": 8}, {"Conv_0", "Conv_1", "BatchNorm_0"}),
        ({"freeze_d": 1, "clip_weights": 1e-3, "weight_decay": 0.1}, {"Dense_0"}),
    ],
)
def test_frozen_layers_do_not_change(settings, frozen):
    config = dataclasses.replace(Config(dataset="digits", batch_size=8, steps=1), **settings)
    dataset = data.open_data(config).load(None)
    model, key = build.build_gan(config, dataset), jax.random.key(0)
    state = model.init(key)
    after, _ = jax.jit(model.step)(key, state, dataset.batch(key, 0, 8))
    before, after = (each.discriminator.params for each in (state, after))
    same = {
        name
        for name in before
        if jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), before[name], after[name]))
    }
    assert same == frozen


def test_one_layer_must_be_left_to_train():
    config = Config(dataset="digits", freeze_d=3)
    with pytest.raises(UsageError, match="below 3"):
        build.build_gan(config, data.open_data(config).load(None))
