"""The evaluate command, and evaluation during training."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan import data, evaluate, train
from jaxgan.data import Images
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation import classifier, classifier_files, reference, samples, selection, stacked
from jaxgan.evaluation.classifier_files import MNIST, load
from jaxgan.evaluation.images import crop
from jaxgan.evaluation.protocol import Features, Protocol, remark_on_few_samples
from jaxgan.evaluation.scores import score_generator
from jaxgan.metrics import Comparison
from jaxgan.metrics.classes import kl_divergence
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.generators import load_generator

SMALL = Config(
    dataset="digits",
    batch_size=16,
    latent_size=8,
    width=8,
    steps=60,
    steps_per_call=10,
    sample_every=30,
    checkpoint_every=30,
    evaluate_every=20,
    conditional=True,
)


@pytest.fixture(scope="module", autouse=True)
def fast_settings():
    """Few samples and a classifier trained for few steps: only their combination is tested."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(selection, "SAMPLES", 200)
        patched.setattr(samples, "CHUNK", 100)
        patched.setattr(classifier, "MIN_STEPS", 1)
        patched.setattr(classifier, "EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    train.main(dataclasses.replace(SMALL, out=out))
    return out


@pytest.fixture(scope="module")
def results(finished):
    return evaluate.main(evaluate.Config((finished,), samples=250, repeats=2))[str(finished)]


def read(path):
    return json.loads(path.read_text())


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


NAMES = {
    "fid",
    "kid",
    "score",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_kl",
    "asked_accuracy",
    "cas",
}


def test_evaluation_json_is_complete(finished, results):
    assert read(finished / "evaluation.json") == results
    protocol = results["protocol"]
    assert (protocol["samples"], protocol["split"], protocol["keys"]) == (250, "test", [0, 1])
    assert protocol["features"] == "classifier of digits"
    assert len(protocol["digest"]) == 64
    assert protocol["data"] == read(finished / "config.json")["dataset"]["fingerprint"]
    (seed,) = results["seeds"].values()
    assert seed["step"] == 60
    assert set(results["mean"]) == set(results["real"]) == NAMES
    for name in NAMES - {"cas"}:
        values = [row[name] for row in seed["by_key"]]
        np.testing.assert_allclose(results["mean"][name], np.mean(values))
        np.testing.assert_allclose(results["std"][name], np.std(values, ddof=1))
    assert seed["by_key"][0]["fid"] != seed["by_key"][1]["fid"]
    assert [len(counts) for counts in seed["class_histogram_by_key"]] == [10, 10]
    assert [sum(counts) for counts in seed["class_histogram_by_key"]] == [250, 250]


def test_real_digits_score_better_than_generated_ones(results):
    real, mean = results["real"], results["mean"]
    assert real["fid"] < mean["fid"] / 10
    assert real["asked_accuracy"] > 0.8 > mean["asked_accuracy"]
    assert real["coverage"] > 0.8 > mean["coverage"]
    assert real["cas"] > mean["cas"]


def test_table_starts_with_real_data(finished, results, capsys):
    evaluate.main(evaluate.Config((finished,), stored=True))
    title, real, run, protocol, *remarks = capsys.readouterr().out.splitlines()
    assert remarks == results["remarks"]
    assert title.split()[:6] == ["FID", "↓", "KID", "x", "1000", "↓"]
    assert real.startswith("real (training split)")
    assert f"{results['real']['fid']:.2f}" in real
    assert run.startswith(str(finished))
    assert f"{results['mean']['fid']:.2f} ± {results['std']['fid']:.2f}" in run
    assert "250 samples against the test split" in protocol
    assert results["protocol"]["digest"][:12] in protocol


def test_evaluation_is_reproducible(finished, results, tmp_path, monkeypatch):
    other = shutil.copytree(finished, tmp_path / "other")
    config = evaluate.Config((finished, other), samples=250, repeats=1, seed=1)
    first, second = evaluate.main(config).values()
    assert first["mean"] == second["mean"]
    (seed,) = results["seeds"].values()
    found = {name: v for name, v in first["mean"].items() if name != "cas"}
    assert found == seed["by_key"][1]
    # The same without cached results of the real data.
    nowhere = lambda name: tmp_path / f"{name.split()[2]}.safetensors"
    monkeypatch.setattr(reference, "cache_path", nowhere)
    again = evaluate.main(config)
    assert again[str(finished)]["real"] == first["real"]
    names = {file.stem for file in tmp_path.glob("*.safetensors")}
    assert len(names) == 3


def test_incomparable_evaluations_are_rejected(finished, results, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    changed = read(other / "evaluation.json")
    both = evaluate.Config((finished, other), stored=True)
    for name, value, words in (
        ("digest", "0" * 64, "the features"),
        ("samples", 99, "the number of samples"),
    ):
        altered = {**changed, "protocol": {**changed["protocol"], name: value}}
        (other / "evaluation.json").write_text(json.dumps(altered))
        with pytest.raises(UsageError, match=f"cannot be compared: they differ in {words}"):
            evaluate.main(both)
    train.main(Config(dataset="ring", width=8, steps=2, batch_size=8, out=tmp_path / "ring"))
    with pytest.raises(UsageError, match="differ in their data"):
        evaluate.main(evaluate.Config((finished, tmp_path / "ring")))


def test_invalid_evaluations_are_rejected(finished, results, tmp_path):
    (tmp_path / "empty").mkdir()
    for config, words in (
        (evaluate.Config(()), "name the run directories"),
        (evaluate.Config((tmp_path / "empty",)), "is not a run directory"),
        (evaluate.Config((finished,), samples=1), "--samples 1 must be at least 2"),
        (evaluate.Config((finished,), repeats=0), "--repeats 0 must be at least 1"),
        (evaluate.Config((finished, finished / ".")), "is given twice"),
        (evaluate.Config((finished / "config.json",)), "is not a run directory"),
        (
            evaluate.Config((finished,), samples=60),
            "60 samples of digits are too few: at least 129",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate.main(config)
    copy = shutil.copytree(finished, tmp_path / "copy")
    config = evaluate.Config((copy,), stored=True)
    about = read(copy / "generator" / "generator.json")
    (copy / "generator" / "generator.json").write_text(json.dumps({**about, "step": 61}))
    with pytest.raises(RunError, match="is of step 60 and the generator of step 61: evaluate"):
        evaluate.main(config)
    (copy / "evaluation.json").unlink()
    with pytest.raises(RunError, match="missing, damaged, or of another version: evaluate"):
        evaluate.main(config)
    (copy / "generator" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="no generator can be loaded"):
        evaluate.main(evaluate.Config((copy,), samples=250))
    known = read(copy / "config.json")
    known["dataset"]["fingerprint"] = "other"
    (copy / "config.json").write_text(json.dumps(known))
    with pytest.raises(UsageError, match="digits differs from the data that the run was"):
        evaluate.main(evaluate.Config((copy,)))


@pytest.mark.parametrize(
    ("file", "content", "stored", "words"),
    [
        ("config.json", '{"config": {}, "dataset": {}}', False, "config.json is damaged"),
        ("config.json", '{"config": [], "dataset": 3}', False, "config.json is damaged"),
        ("config.json", "{", False, "config.json is damaged"),
        ("evaluation.json", '{"seeds": []}', True, "missing, damaged, or of another version"),
        ("evaluation.json", "[1]", True, "missing, damaged, or of another version"),
        ("generator/generator.json", "{}", False, "it lacks 'config'"),
        ("generator/generator.json", None, False, "the run has no checkpoint yet"),
        ("generator/weights.safetensors", "PK", False, "no generator can be loaded"),
    ],
)
def test_damaged_files_are_named(finished, results, tmp_path, file, content, stored, words):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(content)
    with pytest.raises((UsageError, RunError), match=words) as refused:
        evaluate.main(evaluate.Config((copy,), samples=250, repeats=1, stored=stored))
    assert "\n" not in str(refused.value)


def test_mismatched_weights_are_rejected(finished, results, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    about = read(copy / "generator" / "generator.json")
    about["config"]["width"] = 16
    (copy / "generator" / "generator.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match="no generator can be loaded") as refused:
        load_generator(copy / "generator")
    assert "\n" not in str(refused.value)


def test_runs_of_earlier_versions_are_evaluated(finished, results, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    for file in (copy / "config.json", copy / "generator" / "generator.json"):
        about = read(file)
        for name in ("evaluate_every", "stacked_images", "pack", "seeds"):
            del about["config"][name]
        file.write_text(json.dumps(about))
    found = evaluate.main(evaluate.Config((copy,), samples=250, repeats=1))[str(copy)]
    assert found["mean"] == results["seeds"]["0"]["by_key"][0]


def test_failed_evaluation_does_not_hide_other_results(
    finished, results, tmp_path, capsys, monkeypatch
):
    other = shutil.copytree(finished, tmp_path / "other")
    (other / "generator" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="other: no generator can be loaded"):
        evaluate.main(evaluate.Config((other, finished), samples=250, repeats=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out

    def full(*args):
        raise OSError(28, "No space left on device", str(finished))

    monkeypatch.setattr(evaluate, "write_json", full)
    with pytest.raises(RunError, match="No space left on device .* space"):
        evaluate.main(evaluate.Config((finished,), samples=250, repeats=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out


def test_damaged_cache_of_real_data_is_recomputed(finished, tmp_path, monkeypatch):
    nowhere = lambda name: tmp_path / f"{hashlib.sha256(name.encode()).hexdigest()}.safetensors"
    monkeypatch.setattr(reference, "cache_path", nowhere)
    about = evaluate.read_description(finished)
    first = reference.load_reference(about, 250).scores
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 3  # Features of two splits, and the scores of one.
    for damage in (lambda b: b"", lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1])):
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        assert reference.load_reference(about, 250).scores == first


def test_classifier_of_other_data_is_rejected(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(classifier_files, "classifier_path", lambda data: MNIST)
    with pytest.raises(RunError, match="is the classifier of mnist, not of digits"):
        evaluate.main(evaluate.Config((finished,), samples=250))


def test_failed_evaluation_does_not_stop_training(tmp_path, monkeypatch, capsys):
    def refuse(*args, **settings):
        raise UsageError("the features of all generated samples are the same")

    monkeypatch.setattr(selection, "compute_metrics", refuse)
    out = tmp_path / "run"
    assert train.main(dataclasses.replace(SMALL, out=out, steps=20))["steps"] == 20
    assert "the samples at step 20 have no scores: the features" in capsys.readouterr().out
    assert not any("fid" in row for row in rows(out))
    small = dataclasses.replace(SMALL, out=tmp_path / "other")
    monkeypatch.setattr(selection, "SAMPLES", 50)
    with pytest.raises(UsageError, match="remove --evaluate-every: 50 samples of digits"):
        train.main(small)


def test_errors_are_one_line_and_an_exit_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path / "none")])
    assert evaluate.command() == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path), "--samples", "many"])
    assert evaluate.command() == 2
    assert "see --help" in capsys.readouterr().err


def test_evaluation_during_training_keeps_the_best_generator(finished):
    found = {row["step"]: row for row in rows(finished) if "fid" in row}
    assert list(found) == [20, 40, 60]
    assert all({"precision", "recall", "d_loss"} <= row.keys() for row in found.values())
    best = min(found.values(), key=lambda row: row["fid"])
    about = read(finished / "generator-best" / "generator.json")
    assert (about["step"], about["fid"]) == (best["step"], best["fid"])
    images = load_generator(finished / "generator-best")(jax.random.key(0), 4)
    assert images.shape == (4, 28, 28, 1)
    again = evaluate.main(evaluate.Config((finished,), samples=250, repeats=1, best=True))
    assert read(finished / "evaluation-best.json") == again[str(finished)]
    assert again[str(finished)]["protocol"]["generator"] == "best"


def test_run_with_evaluation_resumes_exactly(finished, tmp_path):
    out = tmp_path / "run"
    # Interrupted twice, each time between two evaluations.
    for steps in (30, 50, 60):
        train.main(dataclasses.replace(SMALL, out=out, steps=steps))
    assert rows(out) == rows(finished)
    best = "generator-best/generator.json"
    assert read(out / best)["fid"] == read(finished / best)["fid"]
    digest = lambda run: read(run / "summary.json")["state_sha256"]
    assert digest(out) == digest(finished)
    unjudged = tmp_path / "unjudged"
    train.main(dataclasses.replace(SMALL, out=unjudged, evaluate_every=None))
    assert digest(unjudged) == digest(finished)
    assert not (unjudged / "generator-best").exists()


def test_evaluated_steps_are_logged(tmp_path):
    out = tmp_path / "run"
    train.main(dataclasses.replace(SMALL, out=out, steps=8, log_every=5, evaluate_every=4))
    assert [row["step"] for row in rows(out)] == [4, 5, 8]
    assert ["fid" in row for row in rows(out)] == [True, False, True]


def test_each_of_several_seeds_is_evaluated(tmp_path):
    out = tmp_path / "run"
    several = {"steps": 20, "seeds": 2, "seed": 5, "conditional": False}
    train.main(dataclasses.replace(SMALL, out=out, evaluate_every=10, **several))
    assert [(r["step"], r["seed"]) for r in rows(out) if "fid" in r] == [
        (10, 5),
        (10, 6),
        (20, 5),
        (20, 6),
    ]
    for seed in (5, 6):
        own = [row["fid"] for row in rows(out) if "fid" in row and row["seed"] == seed]
        assert read(out / "generator-best" / str(seed) / "generator.json")["fid"] == min(own)
    (result,) = evaluate.main(evaluate.Config((out,), samples=250, repeats=1)).values()
    assert result["deviation_over"] == "seeds"
    fids = [result["seeds"][seed]["mean"]["fid"] for seed in ("5", "6")]
    np.testing.assert_allclose(result["std"]["fid"], np.std(fids, ddof=1))


def test_mixtures_are_evaluated_by_modes(tmp_path):
    out = tmp_path / "run"
    config = Config(dataset="grid", width=8, steps=10, batch_size=8, evaluate_every=5, out=out)
    train.main(config)
    assert [row["step"] for row in rows(out) if {"modes", "high_quality"} <= row.keys()] == [5, 10]
    (result,) = evaluate.main(evaluate.Config((out,), samples=2500, repeats=2)).values()
    real = result["real"]
    assert (real["modes"], result["protocol"]["samples"]) == (25, 2500)
    np.testing.assert_allclose(real["high_quality"], 0.989, atol=0.01)
    np.testing.assert_allclose(real["covariance_ratio"], 1, atol=0.1)
    assert result["mean"]["modes"] < 25


def test_stacked_digits_are_evaluated_by_channel(tmp_path, mnist_dir, monkeypatch):
    monkeypatch.setattr(stacked, "SAMPLES", 3_000)
    out = tmp_path / "run"
    train.main(
        Config(
            dataset="stacked_mnist",
            data_dir=mnist_dir,
            image_size=32,
            width=8,
            steps=2,
            batch_size=8,
            out=out,
        )
    )
    (result,) = evaluate.main(evaluate.Config((out,), samples=500, repeats=1)).values()
    assert result["protocol"]["digest"] == load(MNIST).digest
    real = result["real"]
    # About 1,000 exp(-3) modes do not occur among 3,000 triples.
    assert 930 < real["modes"] < 970
    np.testing.assert_allclose(real["floor"], 999 / 6_000 + 0.0043, atol=1e-3)
    np.testing.assert_allclose(real["kl_data"], 999 / 6_000, atol=0.03)
    assert abs(real["kl_corrected"]) < 0.05
    assert result["mean"]["modes"] < 100
    assert result["mean"]["fid"] > 100 * real["fid"]


def test_crop_removes_the_border():
    images = np.arange(2 * 6 * 6).reshape(2, 6, 6, 1)
    np.testing.assert_array_equal(crop(images, (4, 2, 1)), images[:, 1:5, 2:4])
    with pytest.raises(UsageError, match="cannot be compared"):
        crop(images, (8, 8, 1))
    with pytest.raises(UsageError, match="cannot be compared"):
        crop(images, (4, 4, 3))


def write_image_folder(path, counts):
    """Writes a folder of digits with `counts[k]` images of class k, and returns it."""
    digits, _ = data.load("digits")
    labels = np.asarray(digits.labels)
    for label, count in enumerate(counts):
        (path / str(label)).mkdir(parents=True)
        for i, image in enumerate(np.asarray(digits.images)[labels == label][:count]):
            Image.fromarray(image[..., 0]).save(path / str(label) / f"{i}.png")
    return path


def test_requested_classes_follow_the_data(tmp_path):
    """A generator that always returns the requested class has almost no class divergence."""
    train, _ = data.load(
        None, data_file=write_image_folder(tmp_path / "unequal", (162, 18)), split=None
    )
    run = describe_run(Config(conditional=True), train)
    asked = samples.request_classes(run, train, jax.random.key(0), 4000)
    assert kl_divergence(np.bincount(asked, minlength=2), np.bincount(train.labels)) < 0.002


def test_samples_have_the_requested_classes():
    asked = np.arange(230) % 10
    drawn = samples.draw_samples(
        lambda key, count, labels: np.asarray(labels, float), jax.random.key(0), 230, asked
    )
    np.testing.assert_array_equal(drawn, asked)
    run = describe_run(Config(), data.load("ring")[0])
    assert samples.request_classes(run, None, jax.random.key(0), 3) is None


def make_protocol(looked) -> Protocol:
    """Returns a protocol whose features are extracted by `looked`."""
    compare = lambda real, fake, count: Comparison(real.features[:count], fake.features[:count])
    return Protocol({"features": "first pixels", "digest": "x"}, looked, compare)


class Looked(list):
    """Records the images it is called with, and returns their first pixels as features."""

    def __call__(self, images) -> Features:
        self.append(to_uint8(np.asarray(images)))
        return Features(self[-1].reshape(len(images), -1)[:, :4].astype(float))


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
    monkeypatch.setattr(reference, "cache_path", lambda *_: Path("/proc/nothing/x"))
    draw = load_generator(tmp_path / "run" / "generator")
    variables = jax.tree.map(jnp.asarray, draw.args[0])
    assert {"fid", "precision"} <= selection.make_score(about)(variables).keys()
    real = reference.load_reference(about, 130)
    for key in range(2):
        score_generator(jax.jit(draw, static_argnums=1), about, real, key, False)
    rows = lambda arrays: {row.tobytes() for array in arrays for row in array}
    train_rows, test_rows = (
        rows([np.asarray(reference.load_split(about, split).images)]) for split in ("train", "test")
    )
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
    assert evaluate.locate_data(evaluate.Config(()), str(tmp_path / "run"), about) == about
    mine.rename(tmp_path / "moved.npy")
    with pytest.raises(UsageError, match="does not exist: give its --data-file"):
        evaluate.main(evaluate.Config(**settings))
    monkeypatch.setitem(reference.PROTOCOLS, Images, lambda *_: make_protocol(Looked()))
    (found,) = evaluate.main(evaluate.Config(**settings, data_file="../moved.npy")).values()
    assert found["mean"]["fid"] >= 0
    np.save(mine, images[::-1])
    with pytest.raises(UsageError, match="that the run was trained on: .* by --data-file"):
        evaluate.main(evaluate.Config(**settings, data_file=mine))


def test_few_samples_are_reported():
    """Depending on the number of features and on the size of KID's subsets."""
    assert remark_on_few_samples(10_000, 32) == []
    (kid,) = remark_on_few_samples(999, 32)
    assert kid.startswith("KID of 999 samples is a single estimate, not a mean over subsets")
    fid, kid = remark_on_few_samples(33, 32)
    assert fid.startswith("FID of 33 samples with 32 features is biased upwards")
    (fid,) = remark_on_few_samples(10_000, 2048)
    assert fid.startswith("FID of 10,000 samples with 2,048 features")
