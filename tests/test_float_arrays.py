"""Data of any domain, from their statistics to the evaluation of a run."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import assert_one_line, read_json, read_metrics, run_command, small
from scipy.stats import wasserstein_distance
from sklearn.datasets import load_wine

from jaxgan import data, evaluate, train
from jaxgan.data import float_arrays as statistics
from jaxgan.data.array_file import open_npy
from jaxgan.data.float_arrays import compute_statistics
from jaxgan.errors import UsageError
from jaxgan.evaluation import float_arrays as evaluation
from jaxgan.evaluation.protocol import Splits
from jaxgan.keys import key_of_seed
from jaxgan.metrics.wasserstein import wasserstein
from jaxgan.runs.config import Config
from jaxgan.runs.generators import load_generator

KEY = key_of_seed(3)
QUICK = {"steps": 40, "sample_every": 40, "checkpoint_every": 40, "width": 32}
WINE, KINDS = load_wine(return_X_y=True)
CONSTANT = 5
"""A column of `WITH_CONSTANT`, whose value is no binary fraction."""
WITH_CONSTANT = np.insert(WINE, CONSTANT, 0.1, axis=1)
NAMES = {
    "fid",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "wasserstein",
    "wasserstein_worst",
}


def on_file(out: Path, file: Path, **settings) -> Config:
    return small(out, **{"dataset": None, "data_file": file, **QUICK, **settings})


def save(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


@pytest.fixture(scope="module")
def wine_run(tmp_path_factory, fast_evaluation) -> Path:
    """A conditional run on wine with its kinds, evaluated at the end, which no test may change."""
    folder = tmp_path_factory.mktemp("wine")
    np.savez(folder / "wine.npz", values=WINE, labels=KINDS)
    settings = {"conditional": True, "evaluate_every": 20}
    train.main(on_file(folder / "run", folder / "wine.npz", **settings))
    return folder / "run"


def test_networks_see_mean_0_and_deviation_1(tmp_path):
    dataset, _ = data.load(data_file=save(tmp_path / "wine.npy", WINE))
    seen = np.asarray(dataset.batch(KEY, 0, len(WINE)).images)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(axis=0), 1, rtol=1e-5)
    assert seen.dtype == np.float32


def test_samples_have_the_units_of_the_data(wine_run):
    sample = load_generator(wine_run / "generator")
    standardized = load_generator(wine_run / "generator", standardized=True)
    found, seen = (np.asarray(each(KEY, 300)) for each in (sample, standardized))
    mean, deviation = WINE.mean(axis=0), WINE.std(axis=0)
    assert np.abs(seen).max() < 20  # The values themselves reach 1,680.
    np.testing.assert_allclose(found, seen * deviation + mean, rtol=1e-4, atol=1e-4)
    middle = found.mean(axis=0)
    assert ((WINE.min(axis=0) <= middle) & (middle <= WINE.max(axis=0))).all()
    assert found.shape == (300, 13)
    one_kind = sample(KEY, 5, labels=2)
    assert one_kind.shape == (5, 13)
    assert not np.array_equal(one_kind, sample(KEY, 5, labels=0))


def test_scores_during_training_are_in_the_log(wine_run):
    rows = {row["step"]: row for row in read_metrics(wine_run)}
    for step in (20, 40):
        assert {"fid", "wasserstein", "wasserstein_worst"} <= rows[step].keys()
    assert (wine_run / "generator-best" / "generator.json").exists()


def test_evaluation_has_metrics_of_tables(wine_run, capsys):
    (found,) = evaluate.main(evaluate.Config((wine_run,), samples=200, repeats=2)).values()
    assert read_json(wine_run / "evaluation.json") == found
    assert set(found["mean"]) == set(found["real"]) == NAMES
    (seed,) = found["seeds"].values()
    by_feature = np.array(seed["wasserstein_of_features_by_key"])
    assert by_feature.shape == (2, 13)
    for name, expected in (
        ("wasserstein", by_feature.mean(axis=1)),
        ("wasserstein_worst", by_feature.max(axis=1)),
    ):
        np.testing.assert_allclose([row[name] for row in seed["by_key"]], expected)
    assert found["protocol"]["features"] == "standardized values"
    assert "a fifth of the training examples" in " ".join(found["remarks"])
    assert "worst W1" in capsys.readouterr().out


def test_real_data_score_better_than_a_new_generator(tmp_path, fast_evaluation):
    """Real data, as samples of a perfect generator, are at a distance near 0."""
    table = np.random.default_rng(0).normal([0, 500, -3], [1e-3, 40, 1], (4000, 3))
    train.main(on_file(tmp_path / "run", save(tmp_path / "table.npy", table), steps=1))
    (found,) = evaluate.main(evaluate.Config((tmp_path / "run",), repeats=1)).values()
    real, mean = found["real"], found["mean"]
    assert real["wasserstein"] <= real["wasserstein_worst"] < 0.15
    assert mean["wasserstein"] > 3 * real["wasserstein"]
    assert mean["fid"] > 10 * real["fid"]
    assert real["coverage"] > 0.8 > mean["coverage"]


def test_wasserstein_is_that_of_scipy():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(70, 4)), rng.gumbel([0, 1, -2, 0.1], size=(70, 4))
    found = wasserstein(real, fake)
    expected = [wasserstein_distance(real[:, i], fake[:, i]) for i in range(4)]
    np.testing.assert_allclose(found.by_feature, expected)
    np.testing.assert_allclose(found.wasserstein, np.mean(expected))
    np.testing.assert_allclose(found.wasserstein_worst, np.max(expected))
    assert wasserstein(real, rng.permutation(real)).wasserstein_worst == 0
    found = wasserstein(real, fake[:43])
    expected = [wasserstein_distance(real[:, i], fake[:43, i]) for i in range(4)]
    np.testing.assert_allclose(found.by_feature, expected)
    np.testing.assert_allclose(wasserstein(fake[:43], real).by_feature, expected)


def test_constant_feature_is_constant_in_samples(tmp_path, capsys):
    file = save(tmp_path / "table.npy", WITH_CONSTANT)
    train.main(on_file(tmp_path / "run", file))
    said = capsys.readouterr().out
    assert f"the values are constant in 1 of 14 features (index {CONSTANT})" in said
    sample = load_generator(tmp_path / "run" / "generator")
    found = np.asarray(jax.jit(sample, static_argnums=1)(KEY, 100))
    assert (found[:, CONSTANT] == np.float32(0.1)).all()
    others = np.delete(found, CONSTANT, axis=1)
    assert (others.std(axis=0) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constants_are_found_in_many_examples(dtype):
    values = np.random.default_rng(0).normal(size=(100_003, 3)).astype(dtype)
    values[:, 1] = 16777.217
    found = compute_statistics(values, "table")
    np.testing.assert_array_equal(found.deviation > 0, [True, False, True])
    assert found.mean[1] == np.float32(values[0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39], ids=str)
def test_values_that_are_not_finite_are_refused(tmp_path, bad):
    values = WINE.copy()
    values[[3, 9], 4], values[177, 12] = bad, bad
    file, out = save(tmp_path / "table.npy", values), tmp_path / "run"
    with pytest.raises(UsageError) as refused:
        train.main(on_file(out, file))
    assert "2 of 13 features (index 4; 12) (3 values)" in str(refused.value)
    assert str(refused.value).startswith("table has values that are not finite")
    assert not out.exists()


def test_refusal_is_one_line_even_if_numpy_would_warn(tmp_path):
    values = WINE.copy()
    values[0, :4], values[1, :4] = (np.inf, np.nan, 1e39, 1e308), (-np.inf, 0, -1e39, 1e308)
    file = save(tmp_path / "table.npy", values)
    command = [sys.executable, "-m", "jaxgan.train", "--data-file", str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 2
    assert_one_line(found.stderr, "4 of 13 features (index 0; 1; 2; 3)", "7 values")
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


@pytest.mark.parametrize("shape", [(50, 16, 4), (50,)])
def test_arrays_of_any_shape_train(tmp_path, shape):
    values = np.random.default_rng(0).normal(100, 3, shape)
    train.main(on_file(tmp_path / "run", save(tmp_path / "mine.npy", values), steps=20))
    found = load_generator(tmp_path / "run" / "generator")(KEY, 7)
    assert found.shape == (7, *(shape[1:] or (1,)))
    assert abs(np.mean(found) - 100) < 10
    assert (tmp_path / "run" / "samples").is_dir()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--network", "dcgan"], ["dcgan", "(13,)"]),
        (["--network", "resnet"], ["resnet", "(13,)"]),
        (["--network", "r3gan"], ["r3gan", "(13,)"]),
        (["--augment", "color"], ["--augment needs images"]),
        (["--image-size", "16"], ["--image-size needs images"]),
        (["--resize", "16"], ["--resize is for pictures"]),
        (["--conditional"], ["--conditional needs labels"]),
    ],
)
def test_what_needs_images_is_refused_for_tables(tmp_path, monkeypatch, capsys, flags, words):
    file = save(tmp_path / "table.npy", WINE)
    monkeypatch.chdir(tmp_path)
    assert run_command(monkeypatch, ["--data-file", str(file), *flags]) == 2
    assert_one_line(capsys.readouterr().err, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


@pytest.mark.parametrize("at_once", [1, 13 * 40, 2**24])
def test_statistics_in_parts_are_those_of_numpy(tmp_path, monkeypatch, at_once):
    """Also of values whose deviation is small beside their mean."""
    monkeypatch.setattr(statistics, "ROWS_AT_ONCE", at_once)
    values = np.random.default_rng(0).normal(1e6, np.arange(1, 14), (101, 13))
    file = open_npy(save(tmp_path / "values.npy", values))
    for examples in (values, file):
        found = compute_statistics(examples, "values")
        np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.deviation, values.std(axis=0), rtol=1e-6)


def make_protocol(values: np.ndarray):
    parts = (data.from_arrays(values, split=split) for split in ("train", "test"))
    return evaluation.make_protocol(None, Splits(*parts))


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [(40, 512, 3), (400, 8, 8), (400, 512, 30)],
    ids=["few samples", "many values", "neither"],
)
def test_many_values_are_projected_at_random(monkeypatch, count, most, size):
    monkeypatch.setattr(evaluation, "MOST_FEATURES", most)
    values = np.random.default_rng(0).normal(size=(count, 5, 6))
    first, again, other = map(make_protocol, (values, values, values + 1))
    samples = np.random.default_rng(1).normal(size=(20, 5, 6)).astype(np.float32)
    found = first.extract_features(samples)
    assert found.features.shape == (20, size)
    np.testing.assert_array_equal(found.features, again.extract_features(samples).features)
    np.testing.assert_array_equal(found.values, samples.reshape(20, 30))
    assert first.about == again.about
    assert first.about["digest"] != other.about["digest"]
    assert ("random projections" in first.about["features"]) == (size < 30)
    if size < 30:
        assert np.linalg.matrix_rank(found.features) == size
    else:
        np.testing.assert_array_equal(found.features, samples.reshape(20, 30))
    assert first.min_samples == max(size + 1, 6)
