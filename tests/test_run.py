import json
import threading

import pytest

from jaxgan import run
from jaxgan.config import Config
from jaxgan.data import load
from jaxgan.errors import RunError, UsageError
from jaxgan.gan import Metrics


@pytest.fixture(scope="module")
def ring():
    return load("ring")[0]


def opened(path, dataset, overwrite=False, **settings):
    return run.opened(path, run.describe(Config(**settings), dataset, ""), overwrite)


def test_config_json_says_what_the_run_depends_on(tmp_path, ring):
    with opened(tmp_path / "r", ring, seed=3) as directory:
        assert directory.remarks == []
    content = json.loads((tmp_path / "r" / "config.json").read_text())
    assert content["config"]["seed"] == 3
    assert content["dataset"]["fingerprint"] == ring.fingerprint
    assert {"jax", "flax", "optax", "jaxgan"} <= content["versions"].keys()
    assert content["device"]["platform"] == "cpu"


def begin(path):
    """Leaves the trace of a first step."""
    row = dict.fromkeys(("step", *Metrics._fields), 1)
    (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")


def test_another_configuration_is_refused_with_what_differs(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    with opened(tmp_path, ring, steps=7, steps_per_call=3, sample_every=9):
        pass
    with (
        pytest.raises(UsageError, match="seed 0 there, 4 now; loss non_saturating there, minimax"),
        opened(tmp_path, ring, loss="minimax", seed=4),
    ):
        pass
    with pytest.raises(UsageError, match="ring there, grid now"), opened(tmp_path, load("grid")[0]):
        pass


def test_a_run_without_a_step_takes_another_configuration(tmp_path, ring):
    with opened(tmp_path, ring, latent_size=1_000_000):
        pass
    with opened(tmp_path, ring, latent_size=10):
        pass
    assert json.loads((tmp_path / "config.json").read_text())["config"]["latent_size"] == 10


def test_changed_versions_are_remarked(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        assert "jax was 0.0.1" in directory.remarks[0]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, ring, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"), opened(tmp_path, ring, overwrite):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"), opened(tmp_path / "thesis.tex", ring):
        pass


def test_overwrite_deletes_the_run_and_nothing_else(tmp_path, ring):
    with opened(tmp_path, ring):
        (tmp_path / "samples" / "000000000.png").write_bytes(b"")
        (tmp_path / "notes.txt").write_text("keep")
    with opened(tmp_path, ring, overwrite=True, seed=8):
        assert not list((tmp_path / "samples").iterdir())
    assert (tmp_path / "notes.txt").read_text() == "keep"
    assert json.loads((tmp_path / "config.json").read_text())["config"]["seed"] == 8


def test_one_process_at_a_time(tmp_path, ring):
    errors = []

    def second():
        try:
            with opened(tmp_path, ring):
                pass
        except RunError as error:
            errors.append(str(error))

    with opened(tmp_path, ring):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process" in errors[0]


def test_a_half_written_line_is_not_a_line(tmp_path, ring):
    with opened(tmp_path, ring) as directory:
        begin(tmp_path)
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write('{"step": 2')
        assert [row["step"] for row in directory.rows()] == [1]


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[]", b"{}", b'{"step": "a"}', b'{"step": 10}'])
def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path, ring, line):
    with opened(tmp_path, ring) as directory:
        begin(tmp_path)
        path = tmp_path / "metrics.jsonl"
        content = line + b"\n" + path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(RunError, match="line 1 of .* is damaged"):
            directory.rows()
        assert path.read_bytes() == content


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert"}', "null"])
def test_a_folder_with_another_config_json_is_foreign(tmp_path, ring, content, overwrite):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="name another --out"), opened(tmp_path, ring, overwrite):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "checkpoints"}
    assert (tmp_path / "config.json").read_text() == content


def test_a_damaged_config_of_a_run_is_one_clear_line(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 3)))
    with pytest.raises(RunError, match="damaged: restore it"), opened(tmp_path, ring):
        pass


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"steps": 1}'])
def test_a_summary_that_says_nothing_is_none(tmp_path, ring, content):
    with opened(tmp_path, ring) as directory:
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
        assert directory.summary() is None
