import json
import threading

import pytest

from jaxgan import run
from jaxgan.config import Config
from jaxgan.data import load
from jaxgan.errors import RunError, UsageError


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


def test_another_configuration_is_refused_with_what_differs(tmp_path, ring):
    with opened(tmp_path, ring):
        pass
    with opened(tmp_path, ring, steps=7, steps_per_call=3, sample_every=9):
        pass
    with (
        pytest.raises(UsageError, match="seed 0 there, 4 now; loss non_saturating there, minimax"),
        opened(tmp_path, ring, loss="minimax", seed=4),
    ):
        pass
    with pytest.raises(UsageError, match="ring there, grid now"), opened(tmp_path, load("grid")[0]):
        pass


def test_changed_versions_are_remarked(tmp_path, ring):
    with opened(tmp_path, ring):
        pass
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
        (tmp_path / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n{"ste')
        assert [row["step"] for row in directory.rows()] == [10, 20]


def test_damaged_config_is_one_clear_line(tmp_path, ring):
    for content in ("{", "[]", '{"config": {}}', "null"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(RunError, match="damaged.*--overwrite"), opened(tmp_path, ring):
            pass
