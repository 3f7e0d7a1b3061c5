"""What makes scores comparable with published ones: splits, statistics, features, copies."""

import dataclasses
import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import EVALUATED, read_json, small
from PIL import Image

from jaxgan import data, evaluate, train
from jaxgan.errors import UsageError
from jaxgan.evaluation import extractors, images, reference, selection, statistics
from jaxgan.evaluation.extractors import Extractor, load_function
from jaxgan.evaluation.reference import Settings
from jaxgan.evaluation.scores import score_samples
from jaxgan.metrics import compute_metrics
from jaxgan.metrics.fid import fit_gaussian, frechet_distance
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_evaluation")]
MINE = """
import numpy as np


def features(images):
    return images.reshape(len(images), 16, -1).mean(axis=2)[:, :8] / 255 + images[:, 14, 10:18, 0]


def flat(images):
    return images.reshape(-1)


def few(images):
    return np.ones((len(images) - 1, 3))


def bad(images):
    return np.full((len(images), 3), np.nan)


def failing(images):
    raise KeyError("nothing")


number = 3
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A short run on digits, not conditional."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train.main(small(out, width=8, steps=10))
    return out


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of features in the working directory; returns the name of a function in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "my_features", raising=False)
    (tmp_path / "my_features.py").write_text(MINE)
    yield "my_features:features"
    sys.modules.pop("my_features", None)


def evaluate_one(run, **settings) -> dict:
    config = evaluate.Config((run,), **{"samples": 250, "repeats": 1, **settings})
    return evaluate.main(config)[str(run)]


def features_of(name: str, split: str) -> np.ndarray:
    part, _ = data.load("digits", split=split)
    return load_function(name).extract(np.asarray(part.images))[0]


def refused(**settings) -> str:
    with pytest.raises(UsageError) as error:
        evaluate.main(evaluate.Config(**settings))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_own_features_replace_those_of_the_classifier(trained, mine, tmp_path):
    found = evaluate_one(trained, samples=360, features=mine)
    code = (tmp_path / "my_features.py").read_bytes()
    assert found["protocol"]["features"] == mine
    assert found["protocol"]["digest"] == hashlib.sha256(mine.encode() + b"\n" + code).hexdigest()
    real = features_of(mine, "test")
    assert real.shape == (360, 8)
    about = evaluate.read_description(trained)
    known = reference.load_reference(about, Settings(360, extractor=load_function(mine)))
    order = lambda x: x[np.lexsort(x.T)]
    np.testing.assert_allclose(order(known.features.features), order(real), rtol=1e-6)
    assert known.scores["fid"] == pytest.approx(found["real"]["fid"])
    plain = evaluate_one(trained, samples=360)
    assert plain["protocol"]["digest"] != found["protocol"]["digest"]
    for name in ("class_kl", "score"):
        assert found["mean"][name] == plain["mean"][name]
    assert found["mean"]["fid"] != plain["mean"]["fid"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_features", "must be MODULE:FUNCTION"),
        (":features", "must be MODULE:FUNCTION"),
        ("no_such_module:features", r"cannot be imported \(ModuleNotFoundError: No module named"),
        ("my_features:missing", "my_features has no function missing"),
        ("my_features:number", "has no function number"),
        ("sys:exit", "sys has no source file"),
    ],
)
def test_invalid_features_are_refused_at_once(mine, name, words):
    message = refused(runs=(), images=("x",), dataset="digits", features=name)
    assert re.search(words, message)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("flat", r"must return features \[n, d\] .* the shape \(96,\) for images of shape \(6, 4"),
        ("few", r"returned the shape \(5, 3\)"),
        ("bad", "returned NaN or infinity"),
        ("failing", r"failed for images of shape \(6, 4, 4, 1\) \(KeyError: 'nothing'\)"),
    ],
)
def test_invalid_results_of_own_features_are_refused(mine, function, words):
    extract = load_function(f"my_features:{function}").extract
    with pytest.raises(UsageError, match=words):
        extract(np.zeros((6, 4, 4, 1), np.uint8))


def test_own_features_are_computed_in_batches(mine, monkeypatch):
    load_function(mine)
    module, seen = sys.modules["my_features"], []
    monkeypatch.setattr(module, "features", lambda x: (seen.append(len(x)), x[:, 0, :, 0])[1])
    pixels = np.random.default_rng(0).integers(0, 256, (1203, 4, 4, 1), np.uint8)
    found, logits = load_function(mine).extract(pixels)
    np.testing.assert_array_equal(found, pixels[:, 0, :, 0])
    assert (seen, logits) == ([500, 500, 203], None)


def test_module_that_fails_is_named_in_one_line(mine, tmp_path):
    (tmp_path / "my_features.py").write_text("raise ValueError('a\\nb')")
    with pytest.raises(UsageError, match=r"cannot be imported \(ValueError: a\)$"):
        load_function(mine)


def test_features_and_inception_exclude_each_other(mine):
    both = {"features": mine, "inception": "x.pth"}
    assert "exclude each other" in refused(images=("x",), dataset="digits", **both)
    with pytest.raises(UsageError, match="need images, and ring has none"):
        evaluate.main(evaluate.Config(images=("x",), dataset="ring", features=mine))


def test_samples_are_compared_with_the_split_that_is_asked_for(trained, mine, capsys):
    found = {
        split: evaluate_one(trained, samples=2000, against=split, features=mine)
        for split in ("train", "test")
    }
    table = capsys.readouterr().out
    assert "1,437 samples against the training split" in table
    assert "real (test split)" in table
    assert "the first row is of 360 real samples, all of the test split" in table
    assert [found[split]["protocol"]["samples"] for split in found] == [1437, 360]
    assert [found[split]["protocol"]["split"] for split in found] == ["train", "test"]
    train_part, test_part = (fit_gaussian(features_of(mine, part)) for part in ("train", "test"))
    expected = frechet_distance(train_part, test_part)
    np.testing.assert_allclose(found["train"]["real"]["fid"], expected, rtol=1e-4)
    assert found["test"]["real"]["fid"] != found["train"]["real"]["fid"]
    assert found["test"]["mean"]["fid"] != found["train"]["mean"]["fid"]
    assert not any("first row" in remark for remark in found["test"]["remarks"])


def test_stored_results_of_different_splits_are_not_mixed(trained, tmp_path, mine):
    runs = []
    for split in ("train", "test"):
        runs.append(tmp_path / split)
        runs[-1].mkdir()
        for name in ("config.json", "generator"):
            (runs[-1] / name).symlink_to(trained / name)
        evaluate_one(runs[-1], against=split, features=mine)
    evaluate.main(evaluate.Config((runs[0],), stored=True))
    assert "differ in the split of the data" in refused(runs=tuple(runs), stored=True)
    # Results of versions without the entry are those without statistics.
    kept = read_json(runs[1] / "evaluation.json")
    del kept["protocol"]["statistics"]
    evaluate.write_json(runs[1] / "evaluation.json", kept)
    assert evaluate.main(evaluate.Config((runs[1],), stored=True))[str(runs[1])] == kept


def test_statistics_replace_real_samples(trained, mine, tmp_path, capsys):
    file = tmp_path / "new" / "digits.npz"
    written = evaluate_one(
        trained, samples=2000, against="train", features=mine, write_statistics=file
    )
    real = features_of(mine, "train").astype(np.float64)
    with np.load(file) as arrays:
        assert sorted(arrays) == ["mu", "sigma"]
        np.testing.assert_allclose(arrays["mu"], real.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(arrays["sigma"], np.cov(real, rowvar=False), rtol=1e-6)
    settings = {"samples": 1437, "features": mine, "read_statistics": file}
    found = evaluate_one(trained, against="train", **settings)
    np.testing.assert_allclose(found["mean"]["fid"], written["mean"]["fid"], rtol=1e-9)
    np.testing.assert_allclose(found["real"]["fid"], written["real"]["fid"], rtol=1e-9)
    for scores in (found["mean"], found["real"]):
        assert not {"kid", "precision", "coverage", "intra_fid"} & scores.keys()
        assert {"class_kl", "score", "score_of_parts"} <= scores.keys()
    digest = statistics.read_statistics(file).digest
    assert found["protocol"]["statistics"] == digest
    assert f"against the statistics {digest[:12]}" in capsys.readouterr().out
    assert written["protocol"]["statistics"] is None
    altered = {"a": found, "b": {**found, "protocol": {**found["protocol"], "statistics": "x"}}}
    with pytest.raises(UsageError, match="differ in the statistics of real samples"):
        evaluate.check_protocols(altered)
    np.savez(file, mu=np.zeros(5), sigma=np.eye(5))
    message = refused(runs=(trained,), **settings)
    assert "the file is of 5 features, and the samples have 8" in message


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(3)}, "sigma is missing, and it has mu"),
        ({"x": np.zeros(3)}, "mu is missing, and it has x"),
        ({}, "it has no arrays"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"they have \(3,\) and \(4, 4\)"),
        ({"mu": np.zeros((3, 1)), "sigma": np.eye(3)}, r"they have \(3, 1\) and \(3, 3\)"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "mu must be finite"),
        ({"mu": np.zeros(3), "sigma": np.eye(3, dtype=int)}, "sigma must be finite floating"),
        ({"mu": np.array([None]), "sigma": np.eye(1)}, "Python objects"),
        (b"PK", "is not a .npz file, or is damaged"),
        (None, "does not exist: give an .npz file with the arrays mu and sigma"),
    ],
)
def test_files_of_statistics_that_cannot_be_used(tmp_path, arrays, words):
    file = tmp_path / "statistics.npz"
    if isinstance(arrays, bytes):
        file.write_bytes(arrays)
    elif arrays is not None:
        np.savez(file, **arrays)
    message = refused(images=("x",), dataset="digits", read_statistics=file)
    assert re.search(words, message)
    assert str(file) in message


def test_statistics_are_written_without_samples(mine, tmp_path):
    file = tmp_path / "digits.npz"
    settings = {"dataset": "digits", "features": mine, "write_statistics": file}
    assert evaluate.main(evaluate.Config(**settings)) == {}
    expected = fit_gaussian(features_of(mine, "test"))
    found = statistics.read_statistics(file).gaussian
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-6)
    assert "must end in .npz" in refused(**{**settings, "write_statistics": "digits"})
    assert "exclude each other" in refused(**settings, read_statistics=file)
    ring = {"dataset": "ring", "write_statistics": file}
    assert "ring has none" in refused(**ring)


def test_copies_of_training_images_are_found(trained, mine, monkeypatch):
    """A generator that returns training images, and one that returns noise."""
    about = evaluate.read_description(trained)
    settings = Settings(200, extractor=load_function(mine), nearest=True)
    known = reference.load_reference(about, settings)
    assert known.scores["copies"] == pytest.approx(0.01, abs=0.003)
    assert known.scores["train_distance"] == 1
    train_part = known.splits.train
    real = np.asarray(train_part.convert(train_part.take(np.arange(300))).images)
    noise = np.random.default_rng(0).uniform(-1, 1, (300, 28, 28, 1)).astype(np.float32)
    copied = score_samples(known, real, known.protocol.extract_features(real))
    assert copied.metrics["copies"] == 1
    assert copied.metrics["train_distance"] == 0
    # Where features are equal, the images may differ in what the features do not show.
    own, train_features = features_of(mine, "train")[:200], features_of(mine, "train")
    np.testing.assert_array_equal(
        train_features[copied.closest.indices], own[: len(copied.closest.indices)]
    )
    drawn = score_samples(known, noise, known.protocol.extract_features(noise))
    assert drawn.metrics["copies"] == 0
    assert drawn.metrics["train_distance"] > 1
    fake = known.protocol.extract_features(noise).features[:200]
    distances = np.linalg.norm(fake[:, None] - train_features, axis=2)
    first = np.argsort(distances.min(axis=1))[:10]
    np.testing.assert_array_equal(drawn.closest.samples, noise[first])
    np.testing.assert_array_equal(drawn.closest.indices, distances[first].argmin(axis=1))


def test_copies_are_of_examples_that_the_run_was_trained_on(mine):
    """With `--train-examples`, a training image that was not used is no copy."""
    trained_on, _ = data.load("digits", train_examples=200)
    about = describe_run(Config(dataset="digits", train_examples=200), trained_on)
    settings = Settings(300, extractor=load_function(mine), nearest=True)
    known = reference.load_reference(about, settings)
    digest = lambda part: [hash(np.asarray(image).tobytes()) for image in part.images]
    used, train = digest(known.neighbors.examples), digest(known.splits.train)
    # Every fifth digit is for testing, also of those that were used.
    assert 130 < len(used) < 190
    assert set(used) == set(digest(trained_on)) & set(train)
    images = known.splits.train.convert(known.splits.train.take(np.arange(len(train)))).images
    copied = np.isin(train, used)
    own, others = (np.asarray(images)[which] for which in (copied, ~copied))
    scores = [
        score_samples(known, part, known.protocol.extract_features(part)).metrics
        for part in (own, others)
    ]
    assert (scores[0]["copies"], scores[0]["train_distance"]) == (1, 0)
    assert scores[1]["copies"] < 0.1
    assert scores[1]["train_distance"] > 0.5


def test_closest_samples_are_drawn(trained, mine, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "generator"):
        (run / name).symlink_to(trained / name)
    found = evaluate_one(run, features=mine, nearest=True)
    assert {"copies", "train_distance"} <= found["mean"].keys()
    picture = np.asarray(Image.open(run / "nearest.png"))
    assert picture.shape == (2 * 30 + 2, 10 * 30 + 2)
    train_part, _ = data.load("digits", split="train")
    known = {image.tobytes() for image in np.asarray(train_part.images)}
    below = [picture[32:60, 2 + 30 * i : 30 + 30 * i] for i in range(10)]
    above = [picture[2:30, 2 + 30 * i : 30 + 30 * i] for i in range(10)]
    assert all(np.ascontiguousarray(image).tobytes() in known for image in below)
    assert not any(np.ascontiguousarray(image).tobytes() in known for image in above)
    assert "which ring does not have" in refused(dataset="ring", images=("x",), nearest=True)


def test_fid_within_classes_uses_requested_and_real_classes(mine, monkeypatch):
    """Of images of the test split, requested as what they are."""
    without_cas = lambda *of: images.make_protocol(*of)._replace(classification_accuracy=None)
    monkeypatch.setitem(reference.PROTOCOLS, data.Images, without_cas)
    about = describe_run(Config(dataset="digits"), data.load("digits")[0])
    settings = Settings(360, extractor=load_function(mine), conditional=True)
    known = reference.load_reference(about, settings)
    part = known.splits.test
    shown = np.asarray(part.convert(part.take(np.arange(360))).images)
    fake, labels = known.protocol.extract_features(shown), np.asarray(part.labels)
    right = reference.compare(known, fake, 0, labels)
    wrong = reference.compare(known, fake, 0, (labels + 1) % 10)
    assert right.real_labels.shape == (360,)
    assert abs(compute_metrics(right)["intra_fid"]) < 1e-6 * compute_metrics(wrong)["intra_fid"]
    assert known.scores["intra_fid"] > compute_metrics(right)["intra_fid"]


def fake_inception(path) -> Extractor:
    """Returns quick features in place of Inception's."""
    assert path.name == "weights.pth"
    extract = lambda shown: (shown.reshape(len(shown), -1)[:, 300:306].astype(np.float32), None)
    return Extractor(extract, "Inception-v3", "0" * 64)


def test_training_is_evaluated_by_inception(tmp_path, monkeypatch):
    monkeypatch.setattr(extractors, "load_inception", fake_inception)
    monkeypatch.setattr(selection, "SAMPLES_OF_INCEPTION", 300)
    counts = []
    draw = selection.draw_samples
    monkeypatch.setattr(
        selection, "draw_samples", lambda *args: (counts.append(args[2]), draw(*args))[1]
    )
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    config = dataclasses.replace(EVALUATED, steps=20, out=run, inception="weights.pth")
    train.main(config)
    assert counts == [300]
    kept = read_json(run / "config.json")["config"]["inception"]
    assert kept == str(tmp_path / "weights.pth")
    assert evaluate.read_description(run).config.inception == tmp_path / "weights.pth"
    moved = tmp_path / "elsewhere" / "weights.pth"
    train.main(dataclasses.replace(config, inception=moved))
    # Scores of other features would be compared with those that were logged.
    with pytest.raises(UsageError, match="inception is given there and not given now"):
        train.main(dataclasses.replace(config, inception=None))
    train.main(dataclasses.replace(config, inception=None, evaluate_every=None))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"evaluate_every": None}, "--inception needs --evaluate-every"),
        ({"inception": "missing.pth"}, "missing.pth is not a file"),
        ({"dataset": "ring", "conditional": False}, "--inception and --features need images"),
    ],
)
def test_training_with_unusable_inception_is_refused(tmp_path, monkeypatch, settings, words):
    if "inception" not in settings:
        monkeypatch.setattr(extractors, "load_inception", fake_inception)
    settings = {"inception": "weights.pth", "out": tmp_path / "run", **settings}
    with pytest.raises(UsageError, match=words):
        train.main(dataclasses.replace(EVALUATED, **settings))
    assert not (tmp_path / "run").exists()
