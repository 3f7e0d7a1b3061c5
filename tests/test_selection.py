"""Evaluation during training, and the choice of the best generator."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import EVALUATED, read_json, read_metrics

from jaxgan import evaluate, train
from jaxgan.errors import UsageError
from jaxgan.evaluation import selection
from jaxgan.runs.generators import load_generator

pytestmark = pytest.mark.usefixtures("fast_evaluation")


def test_failed_evaluation_does_not_stop_training(tmp_path, monkeypatch, capsys):
    def refuse(*args, **settings):
        raise UsageError("the features of all generated samples are the same")

    monkeypatch.setattr(selection, "compute_metrics", refuse)
    out = tmp_path / "run"
    assert train.main(dataclasses.replace(EVALUATED, out=out, steps=20))["steps"] == 20
    assert "the samples at step 20 have no scores: the features" in capsys.readouterr().out
    assert not any("fid" in row for row in read_metrics(out))
    small = dataclasses.replace(EVALUATED, out=tmp_path / "other")
    monkeypatch.setattr(selection, "SAMPLES", 50)
    with pytest.raises(UsageError, match="remove --evaluate-every: 50 samples of digits"):
        train.main(small)


def test_evaluation_during_training_keeps_the_best_generator(evaluated):
    found = {row["step"]: row for row in read_metrics(evaluated) if "fid" in row}
    assert list(found) == [20, 40, 60]
    assert all({"precision", "recall", "d_loss"} <= row.keys() for row in found.values())
    best = min(found.values(), key=lambda row: row["fid"])
    about = read_json(evaluated / "generator-best" / "generator.json")
    assert (about["step"], about["fid"]) == (best["step"], best["fid"])
    images = load_generator(evaluated / "generator-best")(jax.random.key(0), 4)
    assert images.shape == (4, 28, 28, 1)
    again = evaluate.main(evaluate.Config((evaluated,), samples=250, repeats=1, best=True))
    assert read_json(evaluated / "evaluation-best.json") == again[str(evaluated)]
    assert again[str(evaluated)]["protocol"]["generator"] == "best"


def test_run_with_evaluation_resumes_exactly(evaluated, tmp_path):
    out = tmp_path / "run"
    # Interrupted twice, each time between two evaluations.
    for steps in (30, 50, 60):
        train.main(dataclasses.replace(EVALUATED, out=out, steps=steps))
    assert read_metrics(out) == read_metrics(evaluated)
    best = "generator-best/generator.json"
    assert read_json(out / best)["fid"] == read_json(evaluated / best)["fid"]
    digest = lambda run: read_json(run / "summary.json")["state_sha256"]
    assert digest(out) == digest(evaluated)
    unjudged = tmp_path / "unjudged"
    train.main(dataclasses.replace(EVALUATED, out=unjudged, evaluate_every=None))
    assert digest(unjudged) == digest(evaluated)
    assert not (unjudged / "generator-best").exists()


def test_evaluated_steps_are_logged(tmp_path):
    out = tmp_path / "run"
    train.main(dataclasses.replace(EVALUATED, out=out, steps=8, log_every=5, evaluate_every=4))
    assert [row["step"] for row in read_metrics(out)] == [4, 5, 8]
    assert ["fid" in row for row in read_metrics(out)] == [True, False, True]


def test_each_of_several_seeds_is_evaluated(tmp_path):
    out = tmp_path / "run"
    several = {"steps": 20, "seeds": 2, "seed": 5, "conditional": False}
    train.main(dataclasses.replace(EVALUATED, out=out, evaluate_every=10, **several))
    assert [(r["step"], r["seed"]) for r in read_metrics(out) if "fid" in r] == [
        (10, 5),
        (10, 6),
        (20, 5),
        (20, 6),
    ]
    for seed in (5, 6):
        own = [row["fid"] for row in read_metrics(out) if "fid" in row and row["seed"] == seed]
        assert read_json(out / "generator-best" / str(seed) / "generator.json")["fid"] == min(own)
    (result,) = evaluate.main(evaluate.Config((out,), samples=250, repeats=1)).values()
    assert result["deviation_over"] == "seeds"
    fids = [result["seeds"][seed]["mean"]["fid"] for seed in ("5", "6")]
    np.testing.assert_allclose(result["std"]["fid"], np.std(fids, ddof=1))
