"""The experiments run, and their tables, published lines and digests belong together."""

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.errors import RunError, UsageError
from jaxgan.runs import description
from jaxgan.runs.axes import names_of
from jaxgan.runs.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # At the end: jaxgan itself is the installed one.

from experiments import losses, record, tables, verify  # noqa: E402

NAMES = ("ablation", "limited_data", "losses", "mixtures", "mnist", "stacked_mnist")
LINES = {name: record.read_lines(record.RESULTS / f"{name}.jsonl") for name in tables.NAMES}


def load(name: str):
    return importlib.import_module(f"experiments.{name}")


def run(name: str, folder: Path, data_dir: Path | None = None, **settings) -> Path:
    """Runs an experiment with `--smoke`, and returns the file of its results."""
    options = load(name).Options(smoke=True, data_dir=data_dir, work=folder, **settings)
    getattr(load(name), name)(options)
    return folder / "smoke" / name / "results.jsonl"


@pytest.fixture(scope="module", autouse=True)
def flags_of_xla():
    """Experiments are deterministic, which adds a flag to the environment of this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])
        yield


@pytest.fixture(scope="module")
def ring_results(tmp_path_factory) -> Path:
    return run("mixtures", tmp_path_factory.mktemp("ring"), datasets=("ring",))


def check_results(file: Path, name: str) -> None:
    """Checks that every trained run has a line with scores, and its row in the table."""
    lines = record.read_lines(file)
    trained = [line for line in lines if line["state_sha256"]]
    assert trained
    for line in trained:
        assert len(line["state_sha256"]) == 64
        assert line["settings"]["steps"] <= 5
        assert record.duration_of(line) > line["training_seconds"] > 0
        count = line["settings"].get("seeds", 1)
        for values in line["settings"].get("axes", {}).values():
            count *= len(values)
        assert len(line["scores"]) == count
    rows = {row[-1]: row for row in load(name).make_table(lines).rows if row[-1]}
    shown = [line for line in trained if not str(line.get("part")).startswith("choice of")]
    assert rows.keys() == {record.short_digest(line) for line in shown}
    for line in shown:
        metric = "modes" if "modes" in next(iter(line["scores"].values())) else "fid"
        digits = 1 if metric == "modes" else 3 if name == "mnist" else 2
        cell = record.format_mean(record.scores_of(line, metric), digits)
        assert cell in rows[record.short_digest(line)]


def test_mixtures(ring_results):
    check_results(ring_results, "mixtures")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "mixtures"])
def test_smoke(name, tmp_path, mnist_dir, monkeypatch):
    from jaxgan.evaluation import stacked

    monkeypatch.setattr(stacked, "SAMPLES", stacked.SAMPLES)  # The experiment changes it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    check_results(run(name, tmp_path, mnist_dir), name)


def test_results_are_not_computed_again(ring_results, monkeypatch):
    before, folder = ring_results.read_text(), ring_results.parents[2]
    monkeypatch.setattr(record, "train_and_evaluate", lambda *_: pytest.fail("trained again"))
    run("mixtures", folder, datasets=("ring",))
    assert ring_results.read_text() == before
    (line,) = record.read_lines(ring_results)
    results = record.Record("mixtures", record.Options(smoke=True, work=folder))
    config = description.from_json(record.make_description(line)).config
    names, evaluation = {"data": "ring", "method": line["method"]}, line["evaluation"]
    assert results.find(names, config, evaluation) == line
    assert results.find(names, dataclasses.replace(config, beta1=0.1), evaluation) is None
    assert results.find(names, config, {"samples": 2}) is None
    assert results.find({**names, "data": "grid"}, config, evaluation) is None


def test_runs_share_a_directory_if_only_their_lengths_differ(tmp_path):
    results = record.Record("mixtures", record.Options(work=tmp_path))
    out = lambda **settings: results.place({"method": "1/2 a"}, Config(**settings)).out
    assert out().name.startswith("1_of_2_a-")
    assert out(steps=10, checkpoint_every=5) == out(steps=20)
    assert out(seeds=2) != out() != out(learning_rate=1.0)
    placed = results.place({"method": "1/2 a"}, Config(steps=5))
    assert results.place({"method": "1/2 a"}, placed) == placed


def test_an_interrupted_run_has_no_duration(tmp_path):
    out = tmp_path / "run"
    assert not record.was_interrupted(out)
    (out / "checkpoints" / "5").mkdir(parents=True)
    (out / "config.json").write_text("{}")
    assert record.was_interrupted(out)
    (out / "summary.json").write_text('{"steps": 5}')
    assert not record.was_interrupted(out)
    (out / "checkpoints" / "9").mkdir()
    assert record.was_interrupted(out)


def test_durations_include_a_training_that_went_before():
    cpu = {"platform": "cpu", "kind": "cpu", "cores": 2, "processor": "P"}
    run = {"device": cpu, "versions": {"jax": "1.0"}}
    apart = {"seconds": 10, "training_seconds": 100, "command_seconds": 110, "run": run}
    other = {"seconds": 120, "command_seconds": 120, "run": run}
    unknown = {"seconds": None, "training_seconds": None, "run": run}
    assert [record.duration_of(line) for line in (apart, other, unknown)] == [120, 120, None]
    text = record.describe_machines([apart, other, unknown])
    assert text.endswith(
        "on 2 cores (P), jax 1.0: 3 runs, 4 minutes, not counting 1 interrupted run."
    )


@pytest.mark.parametrize(
    ("name", "setting"),
    [("losses", "choosing_seeds"), ("losses", "epochs"), ("stacked_mnist", "seeds")],
)
def test_numbers_have_limits(name, setting, tmp_path):
    options = load(name).Options(work=tmp_path, **{setting: 0})
    with pytest.raises(UsageError, match=f"--{setting.replace('_', '-')} 0 must be"):
        record.Record(name, options)


def test_smoke_results_are_not_published(tmp_path):
    with pytest.raises(UsageError, match="--smoke and --results"):
        record.Record("mixtures", record.Options(smoke=True, work=tmp_path, results=tmp_path / "x"))


def test_damaged_results_are_named(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}\n{")
    with pytest.raises(RunError, match=r"x\.jsonl is damaged"):
        record.read_lines(tmp_path / "x.jsonl")


def test_tables_are_those_of_the_results(monkeypatch, capsys):
    for path, text in tables.make_texts().items():
        assert path.read_text() == text, f"run python -m experiments.tables: {path}"
    changed = [{**line, "state_sha256": 64 * "0"} for line in LINES["mixtures"]]
    read = lambda path: changed if path.stem == "mixtures" else LINES[path.stem]
    monkeypatch.setattr(record, "read_lines", read)
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    assert tables.main() == 1
    said = capsys.readouterr().out
    assert "mixtures.py differs from its results" in said
    assert "README" not in said  # It has no digests.
    with pytest.raises(SystemExit, match="lacks the lines <!-- results of experiments/mixtures.py"):
        tables.in_readme("# jaxgan\n")


@pytest.mark.parametrize("name", tables.NAMES)
def test_published_lines_describe_their_runs(name):
    assert LINES[name]
    for line in LINES[name]:
        if line["state_sha256"]:
            run = description.from_json(record.make_description(line))
            assert record.settings_of(run.config) == line["settings"]
            assert run.config.deterministic
            members = names_of(run.config) or [run.config.seed]
            found = {*line["scores"], *line["without_scores"], *line["diverged"]}
            assert found == {str(member) for member in members}


def test_published_mixtures_have_the_settings_of_their_methods():
    mixtures = load("mixtures")
    for line in LINES["mixtures"]:
        steps = line["settings"].get("steps", Config.steps)
        own = mixtures.settings_of(line["method"], line["data"], steps)
        config = dataclasses.replace(Config(), **own)
        assert record.settings_of(config).items() <= line["settings"].items()


def test_verify_repeats_a_published_run(ring_results, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(record, "RESULTS", ring_results.parent)
    (line,) = record.read_lines(ring_results)
    digest = record.short_digest(line)
    monkeypatch.setattr(sys, "argv", ["verify", digest])
    assert verify.main() == 0
    assert f"published-{digest}: steps 0 to 5, trained again" in capsys.readouterr().out
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    other = {**line, "settings": {**line["settings"], "learning_rate": 2e-4}}
    (tmp_path / "other.jsonl").write_text(json.dumps(other) + "\n")
    monkeypatch.setattr(sys, "argv", ["verify", digest])
    assert verify.main() == 1
    assert "another state" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no published digest"):
        verify.find_line("0" * 12)
    (tmp_path / "more.jsonl").write_text(json.dumps({**line, "state_sha256": digest + "0" * 52}))
    with pytest.raises(SystemExit, match="several digests"):
        verify.find_line(digest)


def test_a_run_whose_seeds_all_diverge_has_no_scores(tmp_path):
    results = record.Record("mixtures", record.Options(work=tmp_path))
    settings = {"learning_rate": 1e30, "optimizer": "sgd", "loss": "wasserstein"}
    config = Config(dataset="ring", steps=20, seeds=2, **settings)
    line = results.measure({"data": "ring"}, config, samples=100)
    assert line["scores"] == {}
    assert line["state_sha256"] is None
    assert line["diverged"].keys() == {"0", "1"}
    assert record.count_seeds(line, "modes") == "0 of 2"
    assert record.format_mean(record.scores_of(line, "modes"), 1) == "-"


def test_a_row_has_means_and_standard_errors_of_seeds_that_did_not_diverge():
    scores = {"modes": 8, "high_quality": 0.9, "reverse_kl": 0.01, "covariance_ratio": 0.5}
    by_seed = {"0": scores, "1": scores | {"modes": 6}, "2": scores | {"modes": 0}}
    line = {"data": "ring", "method": "GAN", "scores": by_seed, "diverged": {"2": "at step 3"}}
    line |= {"settings": {"steps": 9_000, "seeds": 3}, "state_sha256": "ab" * 32}
    rows = load("mixtures").make_table([line]).rows
    (row,) = [row for row in rows if row[-1]]
    cells = ["7.0 ± 1.0", "90.0 ± 0.0", "0.010 ± 0.000", "0.50 ± 0.00", "abababababab"]
    assert row == ["ring", "GAN", "9,000", "2 of 3", *cells]


def test_seconds_are_those_of_a_run_and_what_it_continues():
    def line(seconds, **settings):
        return {"method": "SAN", "settings": settings, "training_seconds": seconds}

    lines = [line(5, steps=1), line(7, steps=2, sample_every=2), line(50, steps=1, seeds=2)]
    until = load("stacked_mnist").seconds_until
    assert [until(lines, each) for each in lines] == ["5", "12", "50"]
    assert until([line(None, steps=1), lines[1]], lines[1]) == ""


def test_bootstrap_resamples_pairs():
    assert losses.bootstrap(np.full(5, 2.0)) == (2.0, 2.0, 2.0)
    mean, low, high = losses.bootstrap(np.array([-1.0, 0.0, 1.0, 2.0, 3.0]))
    assert mean == 1
    # The deviation of a mean of five drawn values is sqrt(2 / 5), without a correction for n - 1.
    assert high - low == pytest.approx(2 * 1.96 * (2 / 5) ** 0.5, rel=0.15)
    assert low < 0 < high


def test_losses_are_ranked_by_their_fid():
    def line(loss: str, seed: int, fid: float, steps=1_875, **diverged) -> dict:
        scores = {str(seed): {"fid": fid, "precision": 0.5, "recall": 0.5}}
        names = {"network": "mlp", "loss": loss, "part": "test", "state_sha256": f"{loss}{seed}"}
        settings = {"seed": seed, "steps": steps}
        return {**names, "scores": scores, "settings": settings, "diverged": diverged}

    lines = [line("hinge", k, fid) for k, fid in enumerate((3, 4, 5, 4))]
    lines.append(line("hinge", 4, 99, **{"4": "at step 9"}))
    lines += [line("minimax", k, fid) for k, fid in enumerate((2, 3, 4, 3, 3))]
    # Runs of another length are not compared with these.
    lines.append(line("DRAGAN", 0, 1, steps=18_750))
    rows = losses.make_table(lines).rows
    assert [row[1:3] for row in rows] == [["2", "minimax"], ["2", "hinge"], ["20", "DRAGAN"]]
    assert rows[0][4:6] == ["5", "3.00 ± 0.32"]
    assert rows[1][4] == "4 of 5"
    assert [row[8] for row in rows] == ["", "1.00 (1.00 to 1.00)", ""]
    assert [row[-1] for row in rows] == ["minimax0", "hinge0", "DRAGAN0"]


def test_pairs_are_those_of_the_same_seeds():
    line = lambda **fids: {"scores": {k: {"fid": v} for k, v in fids.items()}, "diverged": {}}
    difference = losses.format_difference(line(a=3, b=5, c=9), line(c=8, b=4, d=100))
    assert difference == "1.00 (1.00 to 1.00)"
    assert losses.format_difference(line(a=3), line(b=4)) == ""


def test_the_learning_rate_is_that_of_the_smallest_fid():
    fids = {1e-4: (6, 8), 2e-4: (1, 9), 5e-4: (2, 3), 1e-3: (1, 1), 2e-3: (100, 200)}
    tried = {
        rate: {
            "scores": {str(k): {"fid": fid} for k, fid in enumerate(each)},
            "diverged": {},
            "settings": {"seeds": 2},
        }
        for rate, each in fids.items()
    }
    tried[1e-3]["diverged"] = {"1": "at step 3"}
    assert losses.choose_rate(tried) == 5e-4
    for line in tried.values():
        line["diverged"] = {"0": "at step 1"}
    assert losses.choose_rate(tried) is None


def test_runs_that_differ_in_their_seeds_are_one_row():
    def line(method: str, digest: str, scores: dict, seconds, **settings) -> dict:
        of_run = {"settings": settings, "scores": scores, "diverged": {}, "run": digest}
        return {"method": method, "state_sha256": digest, "training_seconds": seconds, **of_run}

    lines = [
        line("a", "1", {"0": {"fid": 1}}, 2.0, steps=5),
        line("b", "2", {"0": {"fid": 2}}, 2.0, steps=5),
        line("a", "3", {"1": {"fid": 3}}, 3.0, steps=5, seed=1),
        line("a", "4", {"0": {"fid": 4}}, 2.0, steps=6),
        line("b", "5", {"1": {"fid": 5}, "2": {"fid": 6}}, None, steps=5, seed=1, seeds=2),
    ]
    first, second, longer = record.merge_runs(lines)
    assert first["scores"] == {"0": {"fid": 1}, "1": {"fid": 3}}
    assert (first["state_sha256"], first["training_seconds"]) == ("1", 5.0)
    assert record.count_seeds(second, "fid") == "3"
    assert second["training_seconds"] is None
    assert longer["scores"] == {"0": {"fid": 4}}
