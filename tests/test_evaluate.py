"""The command that judges runs, and judging on the way."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgan.judge import Features, Judge, cropped, remarks
from PIL import Image

from jaxgan import data, evaluate, protocol, train
from jaxgan.data.arrays import to_uint8
from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation import classifier
from jaxgan.evaluation.classifier import MNIST, load
from jaxgan.metrics.inception_score import kl_divergence
from jaxgan.runs.checkpoint import load_generator
from jaxgan.runs.config import Config

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
def quickly():
    """Few samples, and a classifier of few steps: what is asked is how they are put together."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocol, "QUICK_SAMPLES", 200)
        patched.setattr(protocol, "CHUNK", 100)
        patched.setattr(classifier, "LEAST_STEPS", 1)
        patched.setattr(classifier, "EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    train.main(dataclasses.replace(SMALL, out=out))
    return out


@pytest.fixture(scope="module")
def results(finished):
    return evaluate.main(evaluate.Config((finished,), samples=250, keys=2))[str(finished)]


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


def test_an_evaluation_says_all_that_it_is_of(finished, results):
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


def test_real_digits_score_better_than_an_untrained_generators(results):
    real, mean = results["real"], results["mean"]
    assert real["fid"] < mean["fid"] / 10
    assert real["asked_accuracy"] > 0.8 > mean["asked_accuracy"]
    assert real["coverage"] > 0.8 > mean["coverage"]
    assert real["cas"] > mean["cas"]


def test_the_table_begins_with_real_data(finished, results, capsys):
    evaluate.main(evaluate.Config((finished,), stored=True))
    title, real, run, protocol, *remarks = capsys.readouterr().out.splitlines()
    assert remarks == results["remarks"]
    assert title.split()[:4] == ["FID", "KID", "x", "1000"]
    assert real.startswith("real (training split)")
    assert f"{results['real']['fid']:.2f}" in real
    assert run.startswith(str(finished))
    assert f"{results['mean']['fid']:.2f} ± {results['std']['fid']:.2f}" in run
    assert "250 samples against the test split" in protocol
    assert results["protocol"]["digest"][:12] in protocol


def test_the_same_evaluation_gives_the_same_numbers(finished, results, tmp_path, monkeypatch):
    other = shutil.copytree(finished, tmp_path / "other")
    config = evaluate.Config((finished, other), samples=250, keys=1, seed=1)
    first, second = evaluate.main(config).values()
    assert first["mean"] == second["mean"]
    (seed,) = results["seeds"].values()
    found = {name: v for name, v in first["mean"].items() if name != "cas"}
    assert found == seed["by_key"][1]
    # And where nothing was kept of the real data yet.
    nowhere = lambda what, judge, suffix: tmp_path / f"{what.replace('/', '')[-40:]}{suffix}"
    monkeypatch.setattr(protocol, "kept", nowhere)
    again = evaluate.main(config)
    assert again[str(finished)]["real"] == first["real"]
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_evaluations_that_do_not_compare_are_refused(finished, results, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    changed = read(other / "evaluation.json")
    both = evaluate.Config((finished, other), stored=True)
    for name, value in (("digest", "0" * 64), ("samples", 99)):
        altered = {**changed, "protocol": {**changed["protocol"], name: value}}
        (other / "evaluation.json").write_text(json.dumps(altered))
        with pytest.raises(UsageError, match=f"do not go into one table: they differ in .* {name}"):
            evaluate.main(both)
    train.main(Config(dataset="ring", width=8, steps=2, batch_size=8, out=tmp_path / "ring"))
    with pytest.raises(UsageError, match="differ in their data"):
        evaluate.main(evaluate.Config((finished, tmp_path / "ring")))


def test_what_cannot_be_evaluated_is_refused(finished, results, tmp_path):
    (tmp_path / "empty").mkdir()
    for config, words in (
        (evaluate.Config(()), "name the run directories"),
        (evaluate.Config((tmp_path / "empty",)), "is not a run directory"),
        (evaluate.Config((finished,), samples=1), "--samples 1 must be at least 2"),
        (evaluate.Config((finished,), keys=0), "--keys 0 must be at least 1"),
        (evaluate.Config((finished, finished / ".")), "named twice"),
        (evaluate.Config((finished / "config.json",)), "is not a run directory"),
        (evaluate.Config((finished,), samples=60), "60 samples of digits are too few: 129"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate.main(config)
    copy = shutil.copytree(finished, tmp_path / "copy")
    config = evaluate.Config((copy,), stored=True)
    about = read(copy / "generator" / "generator.json")
    (copy / "generator" / "generator.json").write_text(json.dumps({**about, "step": 61}))
    with pytest.raises(RunError, match="is not of step 61: evaluate without --stored"):
        evaluate.main(config)
    (copy / "evaluation.json").unlink()
    with pytest.raises(RunError, match="missing, damaged, or of another version: evaluate"):
        evaluate.main(config)
    (copy / "generator" / "weights.npz").write_bytes(b"")
    with pytest.raises(RunError, match="no generator can be loaded"):
        evaluate.main(evaluate.Config((copy,), samples=250))
    known = read(copy / "config.json")
    known["dataset"]["fingerprint"] = "other"
    (copy / "config.json").write_text(json.dumps(known))
    with pytest.raises(UsageError, match="digits is not what the run was trained on"):
        evaluate.main(evaluate.Config((copy,)))


@pytest.mark.parametrize(
    ("file", "content", "stored", "words"),
    [
        ("config.json", '{"config": {}, "dataset": {}}', False, "config.json is damaged"),
        ("config.json", '{"config": [], "dataset": 3}', False, "config.json is damaged"),
        ("config.json", "{", False, "is not a run directory"),
        ("evaluation.json", '{"seeds": []}', True, "missing, damaged, or of another version"),
        ("evaluation.json", "[1]", True, "missing, damaged, or of another version"),
        ("generator/generator.json", "{}", False, "generator.json lacks 'config'"),
        ("generator/generator.json", None, False, "train it up to a checkpoint"),
        ("generator/weights.npz", "PK", False, "no generator can be loaded"),
    ],
)
def test_damaged_files_are_named(finished, results, tmp_path, file, content, stored, words):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(content)
    with pytest.raises((UsageError, RunError), match=words) as refused:
        evaluate.main(evaluate.Config((copy,), samples=250, keys=1, stored=stored))
    assert "\n" not in str(refused.value)


def test_other_weights_than_the_generators_are_refused(finished, results, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    about = read(copy / "generator" / "generator.json")
    about["config"]["width"] = 16
    (copy / "generator" / "generator.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match="no generator can be loaded") as refused:
        load_generator(copy / "generator")
    assert "\n" not in str(refused.value)


def test_a_run_of_an_earlier_version_is_judged(finished, results, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    for file in (copy / "config.json", copy / "generator" / "generator.json"):
        about = read(file)
        for name in ("evaluate_every", "stacked_images", "pack", "seeds"):
            del about["config"][name]
        file.write_text(json.dumps(about))
    found = evaluate.main(evaluate.Config((copy,), samples=250, keys=1))[str(copy)]
    assert found["mean"] == results["seeds"]["0"]["by_key"][0]


def test_a_run_that_cannot_be_judged_does_not_hide_the_others(
    finished, results, tmp_path, capsys, monkeypatch
):
    other = shutil.copytree(finished, tmp_path / "other")
    (other / "generator" / "weights.npz").write_bytes(b"")
    with pytest.raises(RunError, match="other: no generator can be loaded"):
        evaluate.main(evaluate.Config((other, finished), samples=250, keys=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out

    def full(*args):
        raise OSError(28, "No space left on device", str(finished))

    monkeypatch.setattr(evaluate, "write_json", full)
    with pytest.raises(RunError, match="No space left on device .* room"):
        evaluate.main(evaluate.Config((finished,), samples=250, keys=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out


def test_what_was_kept_of_real_data_is_not_believed_when_it_is_damaged(
    finished, tmp_path, monkeypatch
):
    nowhere = lambda what, judge, suffix: tmp_path / f"{what.replace('/', '')[-40:]}{suffix}"
    monkeypatch.setattr(protocol, "kept", nowhere)
    about = read(finished / "config.json")
    first = protocol.real_data(about, 250).floor
    (floor,) = tmp_path.glob("*.json")
    for content in ('{"fid": "a"}', '{"sha256": "0", "floor": {"fid": 0.0}}', "{"):
        floor.write_text(content)
        for file in tmp_path.glob("*.npz"):
            np.savez(file, features=np.zeros((250, 128)), sha256=np.array("0"))
        assert protocol.real_data(about, 250).floor == first


def test_a_classifier_of_other_data_is_refused(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(protocol.classifier, "place", lambda data: MNIST)
    with pytest.raises(RunError, match="is the classifier of mnist, and not of these digits"):
        evaluate.main(evaluate.Config((finished,), samples=250))


def test_samples_that_cannot_be_judged_do_not_stop_a_training(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise UsageError("the features of all generated samples are the same")

    monkeypatch.setattr(protocol, "quick_scores", refuse)
    out = tmp_path / "run"
    assert train.main(dataclasses.replace(SMALL, out=out, steps=20))["steps"] == 20
    assert "the samples at step 20 have no scores: the features" in capsys.readouterr().out
    assert not any("fid" in row for row in rows(out))
    small = dataclasses.replace(SMALL, out=tmp_path / "other")
    monkeypatch.setattr(protocol, "QUICK_SAMPLES", 50)
    with pytest.raises(UsageError, match="leave out --evaluate-every: 50 samples of digits"):
        train.main(small)


def test_errors_are_one_line_and_a_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path / "none")])
    assert evaluate.command() == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path), "--samples", "many"])
    assert evaluate.command() == 2
    assert "see --help" in capsys.readouterr().err


def test_a_run_is_judged_on_the_way_and_its_best_generator_kept(finished):
    found = {row["step"]: row for row in rows(finished) if "fid" in row}
    assert list(found) == [20, 40, 60]
    assert all({"precision", "recall", "d_loss"} <= row.keys() for row in found.values())
    best = min(found.values(), key=lambda row: row["fid"])
    about = read(finished / "generator-best" / "generator.json")
    assert (about["step"], about["fid"]) == (best["step"], best["fid"])
    images = load_generator(finished / "generator-best")(jax.random.key(0), 4)
    assert images.shape == (4, 28, 28, 1)
    again = evaluate.main(evaluate.Config((finished,), samples=250, keys=1, best=True))
    assert read(finished / "evaluation-best.json") == again[str(finished)]
    assert again[str(finished)]["protocol"]["generator"] == "best"


def test_a_run_that_is_judged_continues_exactly(finished, tmp_path):
    out = tmp_path / "run"
    # A step between the evaluations, and one that is logged only because of one.
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


def test_steps_that_are_judged_are_logged(tmp_path):
    out = tmp_path / "run"
    train.main(dataclasses.replace(SMALL, out=out, steps=8, log_every=5, evaluate_every=4))
    assert [row["step"] for row in rows(out)] == [4, 5, 8]
    assert ["fid" in row for row in rows(out)] == [True, False, True]


def test_each_of_several_seeds_is_judged(tmp_path):
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
    (result,) = evaluate.main(evaluate.Config((out,), samples=250, keys=1)).values()
    assert result["deviation_over"] == "seeds"
    fids = [result["seeds"][seed]["mean"]["fid"] for seed in ("5", "6")]
    np.testing.assert_allclose(result["std"]["fid"], np.std(fids, ddof=1))


def test_mixtures_are_judged_by_their_modes(tmp_path):
    out = tmp_path / "run"
    config = Config(dataset="grid", width=8, steps=10, batch_size=8, evaluate_every=5, out=out)
    train.main(config)
    assert [row["step"] for row in rows(out) if {"modes", "high_quality"} <= row.keys()] == [5, 10]
    (result,) = evaluate.main(evaluate.Config((out,), samples=2500, keys=2)).values()
    real = result["real"]
    assert (real["modes"], result["protocol"]["samples"]) == (25, 2500)
    np.testing.assert_allclose(real["high_quality"], 0.989, atol=0.01)
    np.testing.assert_allclose(real["covariance_ratio"], 1, atol=0.1)
    assert result["mean"]["modes"] < 25


def test_stacked_digits_are_judged_by_channel(tmp_path, mnist_dir, monkeypatch):
    monkeypatch.setattr(protocol, "STACKED_SAMPLES", 3_000)
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
    (result,) = evaluate.main(evaluate.Config((out,), samples=500, keys=1)).values()
    assert result["protocol"]["digest"] == load(MNIST).digest
    real = result["real"]
    # Of 3,000 triples a few modes are never drawn: 1,000 exp(-3).
    assert 930 < real["modes"] < 970
    np.testing.assert_allclose(real["floor"], 999 / 6_000 + 0.0043, atol=1e-3)
    np.testing.assert_allclose(real["kl_data"], 999 / 6_000, atol=0.03)
    assert abs(real["kl_corrected"]) < 0.05
    assert result["mean"]["modes"] < 100
    assert result["mean"]["fid"] > 100 * real["fid"]


def test_images_are_compared_without_their_border():
    images = np.arange(2 * 6 * 6).reshape(2, 6, 6, 1)
    np.testing.assert_array_equal(cropped(images, (4, 2, 1)), images[:, 1:5, 2:4])
    with pytest.raises(UsageError, match="cannot be compared"):
        cropped(images, (8, 8, 1))
    with pytest.raises(UsageError, match="cannot be compared"):
        cropped(images, (4, 4, 3))


def folder_of(path, counts):
    """Writes digits as a folder with so many pictures of each class, and returns it."""
    digits, _ = data.load("digits")
    labels = np.asarray(digits.labels)
    for label, count in enumerate(counts):
        (path / str(label)).mkdir(parents=True)
        for i, image in enumerate(np.asarray(digits.images)[labels == label][:count]):
            Image.fromarray(image[..., 0]).save(path / str(label) / f"{i}.png")
    return path


def test_a_perfect_generator_of_unequal_classes_has_no_class_divergence(tmp_path):
    """It draws real images of the class that it is asked for, nine of ten times the first."""
    train, _ = data.load(None, data_file=folder_of(tmp_path / "unequal", (162, 18)), split=None)
    about = {"config": {"conditional": True}}
    asked = protocol.asked_for(about, train, jax.random.key(0), 4000)
    assert kl_divergence(np.bincount(asked, minlength=2), np.bincount(train.labels)) < 0.002


def test_samples_are_drawn_with_the_classes_asked_for():
    asked = np.arange(230) % 10
    drawn = protocol.samples(
        lambda key, count, labels: np.asarray(labels, float), jax.random.key(0), 230, asked
    )
    np.testing.assert_array_equal(drawn, asked)
    assert protocol.asked_for({"config": {}}, None, jax.random.key(0), 3) is None


FIRST_PIXELS = {"features": "first pixels", "digest": "x"}


class Looked(list):
    """Keeps the images that it is shown, and sees their first pixels."""

    def __call__(self, images) -> Features:
        self.append(to_uint8(np.asarray(images)))
        return Features(self[-1].reshape(len(images), -1)[:, :4].astype(float))


def test_what_chooses_the_best_generator_is_not_what_judges_it(tmp_path, monkeypatch):
    """Other real images, and other latents."""
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8), np.uint8)
    np.save(tmp_path / "mine.npy", images)
    own = {"data_file": tmp_path / "mine.npy", "out": tmp_path / "run"}
    train.main(Config(**own, width=8, latent_size=4, batch_size=8, steps=2))
    about = read(tmp_path / "run" / "config.json")
    choosing, judging = Looked(), Looked()
    judges = iter((choosing, judging))
    monkeypatch.setattr(protocol, "judge_for", lambda *_: Judge(FIRST_PIXELS, next(judges)))
    monkeypatch.setattr(protocol, "kept", lambda *_: tmp_path / "nowhere" / "x")
    draw = load_generator(tmp_path / "run" / "generator")
    variables = jax.tree.map(jnp.asarray, draw.args[0])
    assert {"fid", "precision"} <= protocol.scorer(about)(variables).keys()
    real = protocol.real_data(about, 130)
    for key in range(2):
        protocol.scores_of(jax.jit(draw, static_argnums=1), about, real, key, training=False)
    rows = lambda arrays: {row.tobytes() for array in arrays for row in array}
    train_rows, test_rows = (
        rows([np.asarray(protocol.load(about, split).images)]) for split in ("train", "test")
    )
    assert not train_rows & test_rows
    assert rows(choosing[:1]) <= train_rows
    assert rows(judging[:1]) <= test_rows
    assert len(rows(choosing[1:]) & rows(judging[2:])) == 0
    assert len(rows(judging[2:])) > 200  # The generator draws different images.


def test_data_that_have_moved_are_named(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8), np.uint8)
    mine = tmp_path / "mine.npy"
    np.save(mine, images)
    monkeypatch.chdir(tmp_path)
    train.main(Config(data_file="mine.npy", width=8, batch_size=8, steps=2, out="run"))
    about = read(tmp_path / "run" / "config.json")
    assert about["config"]["data_file"] == str(mine)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = {"runs": (tmp_path / "run",), "samples": 130, "keys": 1}
    assert evaluate.located(evaluate.Config(()), str(tmp_path / "run"), about) == about
    mine.rename(tmp_path / "moved.npy")
    with pytest.raises(UsageError, match="is gone: name its --data-file"):
        evaluate.main(evaluate.Config(**settings))
    monkeypatch.setattr(protocol, "judge_for", lambda *_: Judge(FIRST_PIXELS, Looked()))
    (found,) = evaluate.main(evaluate.Config(**settings, data_file="../moved.npy")).values()
    assert found["mean"]["fid"] >= 0
    np.save(mine, images[::-1])
    with pytest.raises(UsageError, match="not what the run was trained on: name its --data-file"):
        evaluate.main(evaluate.Config(**settings, data_file=mine))


def test_few_samples_are_remarked():
    """By the number of features, and by the size of KID's subsets."""
    of = lambda features: Features(np.zeros((5, features)))
    assert remarks(of(32), 10_000) == []
    (kid,) = remarks(of(32), 999)
    assert kid.startswith("KID is one estimate of 999 samples, fewer than the 1,000 of a subset")
    fid, kid = remarks(of(32), 33)
    assert fid.startswith("FID of 33 samples of 32 features is biased upwards")
    (fid,) = remarks(of(2048), 10_000)
    assert fid.startswith("FID of 10,000 samples of 2,048 features")
