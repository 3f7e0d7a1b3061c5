"""The evaluate command."""

import json
import shutil

import numpy as np
import pytest
from helpers import read_json

from jaxgan import evaluate, train
from jaxgan.errors import RunError, UsageError
from jaxgan.evaluation import classifier_files, real_features
from jaxgan.evaluation.classifier_files import MNIST
from jaxgan.runs.config import Config
from jaxgan.runs.generators import load_generator

pytestmark = pytest.mark.usefixtures("fast_evaluation")


@pytest.fixture(scope="module")
def results(evaluated):
    return evaluate.main(evaluate.Config((evaluated,), samples=250, repeats=2))[str(evaluated)]


NAMES = {
    "fid",
    "kid",
    "score",
    "score_of_parts",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_kl",
    "asked_accuracy",
    "cas",
}


def test_evaluation_json_is_complete(evaluated, results):
    assert read_json(evaluated / "evaluation.json") == results
    protocol = results["protocol"]
    assert (protocol["samples"], protocol["split"], protocol["keys"]) == (250, "test", [0, 1])
    assert protocol["features"] == "classifier of digits"
    assert len(protocol["digest"]) == 64
    assert protocol["data"] == read_json(evaluated / "config.json")["dataset"]["fingerprint"]
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


def test_table_starts_with_real_data(evaluated, results, capsys):
    evaluate.main(evaluate.Config((evaluated,), stored=True))
    title, real, run, protocol, *remarks = capsys.readouterr().out.splitlines()
    assert remarks == results["remarks"]
    assert title.split()[:6] == ["FID", "↓", "KID", "x", "1000", "↓"]
    assert real.startswith("real (training split)")
    assert f"{results['real']['fid']:.2f}" in real
    assert run.startswith(str(evaluated))
    assert f"{results['mean']['fid']:.2f} ± {results['std']['fid']:.2f}" in run
    assert "250 samples against the test split" in protocol
    assert results["protocol"]["digest"][:12] in protocol


def test_evaluation_is_reproducible(evaluated, results, tmp_path, monkeypatch):
    other = shutil.copytree(evaluated, tmp_path / "other")
    config = evaluate.Config((evaluated, other), samples=250, repeats=1, seed=1, cas=False)
    first, second = evaluate.main(config).values()
    assert first["mean"] == second["mean"]
    assert "cas" not in first["mean"] | first["real"]
    (seed,) = results["seeds"].values()
    found = {name: v for name, v in first["mean"].items() if name != "cas"}
    assert found == seed["by_key"][1]
    # The same without cached results of the real data.
    nowhere = lambda name: tmp_path / f"{name.split()[2]}.safetensors"
    monkeypatch.setattr(real_features, "cache_path", nowhere)
    again = evaluate.main(config)
    assert again[str(evaluated)]["real"] == first["real"]
    names = {file.stem for file in tmp_path.glob("*.safetensors")}
    assert len(names) == 3


def test_incomparable_evaluations_are_rejected(evaluated, results, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(evaluated, other)
    changed = read_json(other / "evaluation.json")
    both = evaluate.Config((evaluated, other), stored=True)
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
        evaluate.main(evaluate.Config((evaluated, tmp_path / "ring")))


def test_invalid_evaluations_are_rejected(evaluated, results, tmp_path):
    (tmp_path / "empty").mkdir()
    for config, words in (
        (evaluate.Config(()), "name the run directories"),
        (evaluate.Config((tmp_path / "empty",)), "is not a run directory"),
        (evaluate.Config((evaluated,), samples=1), "--samples 1 must be at least 2"),
        (evaluate.Config((evaluated,), repeats=0), "--repeats 0 must be at least 1"),
        (evaluate.Config((evaluated,), stored=True, samples=50), "remove --samples"),
        (evaluate.Config((evaluated,), stored=True, against="train"), "remove --against"),
        (evaluate.Config((evaluated, evaluated / ".")), "is given twice"),
        (evaluate.Config((evaluated / "config.json",)), "is not a run directory"),
        (
            evaluate.Config((evaluated,), samples=60),
            "60 samples of digits are too few: at least 129",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate.main(config)
    copy = shutil.copytree(evaluated, tmp_path / "copy")
    config = evaluate.Config((copy,), stored=True)
    about = read_json(copy / "generator" / "generator.json")
    (copy / "generator" / "generator.json").write_text(json.dumps({**about, "step": 61}))
    with pytest.raises(RunError, match="is of step 60 and the generator of step 61: evaluate"):
        evaluate.main(config)
    (copy / "evaluation.json").unlink()
    with pytest.raises(RunError, match="missing, damaged, or of another version: evaluate"):
        evaluate.main(config)
    (copy / "generator" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="no generator can be loaded"):
        evaluate.main(evaluate.Config((copy,), samples=250))
    known = read_json(copy / "config.json")
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
def test_damaged_files_are_named(evaluated, results, tmp_path, file, content, stored, words):
    copy = shutil.copytree(evaluated, tmp_path / "copy")
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(content)
    with pytest.raises((UsageError, RunError), match=words) as refused:
        settings = {"stored": True} if stored else {"samples": 250, "repeats": 1}
        evaluate.main(evaluate.Config((copy,), **settings))
    assert "\n" not in str(refused.value)


def test_mismatched_weights_are_rejected(evaluated, results, tmp_path):
    copy = shutil.copytree(evaluated, tmp_path / "copy")
    about = read_json(copy / "generator" / "generator.json")
    about["config"]["width"] = 16
    (copy / "generator" / "generator.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match="no generator can be loaded") as refused:
        load_generator(copy / "generator")
    assert "\n" not in str(refused.value)


def test_runs_of_earlier_versions_are_evaluated(evaluated, results, tmp_path):
    copy = shutil.copytree(evaluated, tmp_path / "copy")
    for file in (copy / "config.json", copy / "generator" / "generator.json"):
        about = read_json(file)
        for name in ("evaluate_every", "stacked_images", "pack", "seeds"):
            del about["config"][name]
        file.write_text(json.dumps(about))
    found = evaluate.main(evaluate.Config((copy,), samples=250, repeats=1))[str(copy)]
    assert found["mean"] == results["seeds"]["0"]["by_key"][0]


def test_failed_evaluation_does_not_hide_other_results(
    evaluated, results, tmp_path, capsys, monkeypatch
):
    other = shutil.copytree(evaluated, tmp_path / "other")
    (other / "generator" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="other: no generator can be loaded"):
        evaluate.main(evaluate.Config((other, evaluated), samples=250, repeats=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out

    def full(*args):
        raise OSError(28, "No space left on device", str(evaluated))

    monkeypatch.setattr(evaluate, "write_json", full)
    with pytest.raises(RunError, match="No space left on device .* space"):
        evaluate.main(evaluate.Config((evaluated,), samples=250, repeats=1))
    assert f"{results['real']['fid']:.2f}" in capsys.readouterr().out


def test_classifier_of_other_data_is_rejected(evaluated, monkeypatch, tmp_path):
    monkeypatch.setattr(classifier_files, "classifier_path", lambda data: MNIST)
    with pytest.raises(RunError, match="is the classifier of mnist, not of digits"):
        evaluate.main(evaluate.Config((evaluated,), samples=250))


def test_errors_are_one_line_and_an_exit_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path / "none")])
    assert evaluate.command() == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path), "--samples", "many"])
    assert evaluate.command() == 2
    assert "see --help" in capsys.readouterr().err
