"""The experiments run, and their tables, published lines and digests belong together."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.runs import description

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # At the end: jaxgan itself is the installed one.

from experiments import losses, record, tables, verify  # noqa: E402

LINES = {name: record.read_lines(record.RESULTS / f"{name}.jsonl") for name in tables.NAMES}


def load(name: str):
    return importlib.import_module(f"experiments.{name}")


def run(name: str, folder: Path, data_dir: Path | None = None, **settings) -> Path:
    """Runs an experiment as `--smoke` does, and returns the file of its results."""
    module, file = load(name), folder / "results.jsonl"
    options = module.Options(smoke=True, data_dir=data_dir, work=folder, results=file, **settings)
    getattr(module, name)(options)
    return file


@pytest.fixture(scope="module")
def ring_results(tmp_path_factory) -> Path:
    return run("mixtures", tmp_path_factory.mktemp("ring"), datasets=("ring",))


def check_results(file: Path, name: str) -> None:
    lines = record.read_lines(file)
    assert lines
    for line in lines:
        assert len(line["state_sha256"]) == 64
        assert line["scores"]
        assert line["settings"]["steps"] <= 5
    rows = load(name).make_table(lines).rows
    assert {record.short_digest(line) for line in lines} >= {row[-1] for row in rows if row[-1]}
    assert any(row[-1] for row in rows)


def test_mixtures(ring_results):
    check_results(ring_results, "mixtures")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ablation", "losses", "mnist", "stacked_mnist"])
def test_smoke(name, tmp_path, mnist_dir, monkeypatch):
    from jaxgan.evaluation import stacked

    monkeypatch.setattr(stacked, "SAMPLES", stacked.SAMPLES)  # The experiment changes it.
    check_results(run(name, tmp_path, mnist_dir), name)


def test_results_are_not_computed_again(ring_results, monkeypatch):
    before = ring_results.read_text()
    monkeypatch.setattr(record, "train_and_evaluate", lambda *_: pytest.fail("trained again"))
    run("mixtures", ring_results.parent, datasets=("ring",))
    assert ring_results.read_text() == before


def test_tables_are_those_of_the_results(monkeypatch, capsys):
    for path, text in tables.make_texts().items():
        assert path.read_text() == text, f"run python -m experiments.tables: {path}"
    changed = [{**line, "state_sha256": 64 * "0"} for line in LINES["mixtures"]]
    monkeypatch.setattr(record, "read_lines", lambda path: changed if "mix" in path.stem else [])
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    assert tables.main() == 1
    assert "mixtures.py differs from its results" in capsys.readouterr().out


@pytest.mark.parametrize("name", tables.NAMES)
def test_published_lines_describe_their_runs(name):
    assert LINES[name]
    for line in LINES[name]:
        run = description.from_json(record.make_description(line))
        assert record.settings_of(run.config) == line["settings"]
        assert run.config.deterministic
        assert len(line["scores"]) <= run.config.seeds * len(run.config.axes or [1]) * 4


def test_verify_repeats_a_published_run(ring_results, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(record, "RESULTS", ring_results.parent)
    (line,) = record.read_lines(ring_results)
    digest = record.short_digest(line)
    monkeypatch.setattr(sys, "argv", ["verify", digest])
    assert verify.main() == 0
    assert "the same state, bit for bit" in capsys.readouterr().out
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    line["settings"]["learning_rate"] = 2e-4
    (tmp_path / "other.jsonl").write_text(json.dumps(line) + "\n")
    monkeypatch.setattr(sys, "argv", ["verify", digest])
    assert verify.main() == 1
    assert "another state" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no published digest"):
        verify.find_line("0" * 12)


def test_a_run_whose_seeds_all_diverge_has_no_scores(tmp_path):
    results = record.Record("mixtures", record.Options(work=tmp_path))
    settings = {"learning_rate": 1e30, "optimizer": "sgd", "loss": "wasserstein"}
    config = dataclasses.replace(load("ablation").Config(dataset="ring"), steps=20, **settings)
    line = results.measure({"data": "ring"}, config, samples=100)
    assert line["scores"] == {}
    assert line["state_sha256"] is None
    assert "diverged" in line["diverged"]


def test_bootstrap_resamples_pairs():
    assert losses.bootstrap(np.full(5, 2.0)) == (2.0, 2.0, 2.0)
    mean, low, high = losses.bootstrap(np.array([-1.0, 0.0, 1.0, 2.0, 3.0]))
    assert mean == 1
    # The standard error is sqrt(2 / 5); an interval of 95 % is some 2 * 1.96 of it wide.
    assert high - low == pytest.approx(2 * 1.96 * (2 / 5) ** 0.5, rel=0.15)
    assert low < 0 < high


def test_losses_are_ranked_by_their_fid():
    def line(loss: str, *fids: float) -> dict:
        scores = {str(k): {"fid": f, "precision": 0.5, "recall": 0.5} for k, f in enumerate(fids)}
        names = {"network": "mlp", "loss": loss, "part": "test"}
        return {**names, "scores": scores, "settings": {}, "state_sha256": loss}

    lines = [line("hinge", 3, 4, 5, 4, 4), line("minimax", 2, 3, 4, 3, 3), line("hinge", 1)]
    rows = losses.make_table(lines).rows
    assert [row[1] for row in rows] == ["minimax", "hinge"]
    assert rows[0][3] == "3.00 ± 0.32"
    assert rows[1][6] == "1.00 (1.00 to 1.00)"
