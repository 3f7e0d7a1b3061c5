"""The contents of `config.json`, and which settings identify a run."""

import json
import platform

import pytest
from helpers import open_directory, read_environments, write_first_row

from jaxgan.errors import RunError, UsageError
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.directory import open_run


def test_config_json_records_what_the_run_depends_on(tmp_path, ring):
    with open_directory(tmp_path / "r", ring, seed=3) as directory:
        assert directory.messages == []
    content = json.loads((tmp_path / "r" / "config.json").read_text())
    assert content["config"]["seed"] == 3
    assert content["dataset"]["fingerprint"] == ring.fingerprint
    assert {"jax", "flax", "optax", "jaxgan"} <= content["versions"].keys()
    assert content["device"]["platform"] == "cpu"


def test_changed_versions_are_reported(tmp_path, ring):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["environments"][-1]["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(content))
    with open_directory(tmp_path, ring) as directory:
        directory.begin(1)
        (remark,) = directory.take_messages()
    assert remark.startswith("the run is no longer exactly repeatable: jax was 0.0.1 and is ")


def test_seeds_but_not_devices_identify_a_run(tmp_path, ring):
    with open_directory(tmp_path, ring, seeds=2):
        write_first_row(tmp_path)
    with (
        pytest.raises(UsageError, match="seeds is 2 there"),
        open_directory(tmp_path, ring, seeds=3),
    ):
        pass
    description = describe_run(Config(seeds=2, devices=2), ring, devices=2)
    with open_run(tmp_path, description, overwrite=False) as directory:
        directory.begin(1)
        assert directory.take_messages() == [
            "the run is no longer exactly repeatable: devices was 1 and is 2"
        ]


def test_settings_missing_in_older_runs_have_defaults(tmp_path, ring):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["config"]["seeds"], content["environments"], content["environment"]
    del content["versions"]["python"], content["parameters"]
    path.write_text(json.dumps(content))
    with open_directory(tmp_path, ring) as directory:
        directory.begin(1)
        assert directory.take_messages() == []
    with (
        pytest.raises(UsageError, match="seeds is 1 there"),
        open_directory(tmp_path, ring, seeds=2),
    ):
        pass


def test_environments_are_recorded_by_step(tmp_path, ring, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")

    def resume_at(step, version, **settings):
        monkeypatch.setattr(platform, "python_version", lambda: version)
        with open_directory(tmp_path, ring, **settings) as directory:
            if step == 0:
                write_first_row(tmp_path)
            directory.begin(step)
            return directory.take_messages()

    assert resume_at(0, "3.11.7") == []
    assert resume_at(10, "3.11.7") == []
    (remark,) = resume_at(20, "3.13.0")
    assert "python was 3.11.7 and is 3.13.0" in remark
    assert resume_at(30, "3.13.0") == []  # Compared with the latest environment.
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    (remark,) = resume_at(40, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert "XLA_FLAGS was not set and is --xla_cpu_enable_fast_math=true" in remark
    assert resume_at(50, "3.11.7", log_every=5) == []
    found = [
        (entry["step"], entry["versions"]["python"], entry["log_every"])
        for entry in read_environments(tmp_path)
    ]
    expected = [(0, "3.11.7", 10), (20, "3.13.0", 10), (40, "3.11.7", 10), (50, "3.11.7", 5)]
    assert found == expected
    assert read_environments(tmp_path)[2]["environment"] == {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"
    }
    assert json.loads((tmp_path / "config.json").read_text())["versions"]["python"] == "3.11.7"
    # Resuming at step 30 discards the entries of later steps.
    (remark,) = resume_at(30, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert [entry["step"] for entry in read_environments(tmp_path)] == [0, 20, 30]


def test_networks_of_another_version_are_rejected(tmp_path, ring):
    def with_parameters(generator):
        parameters = {"generator": generator, "discriminator": 7} if generator else None
        about = describe_run(Config(), ring, parameters=parameters)
        return open_run(tmp_path, about, overwrite=False)

    with with_parameters(5):
        write_first_row(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with (
        pytest.raises(
            UsageError, match=r"the generator of the run .* differ in .* continue it with jaxgan \d"
        ),
        with_parameters(6),
    ):
        pass
    assert (tmp_path / "config.json").read_bytes() == before
    with with_parameters(5):
        pass


def test_invalid_environment_entries_are_a_damaged_config(tmp_path, ring):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    for entry in (3, {}, {"step": 0}):
        path.write_text(json.dumps(content | {"environments": [entry]}))
        with (
            pytest.raises(RunError, match="damaged .*: restore it"),
            open_directory(tmp_path, ring),
        ):
            pass


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": "8"}, "a value has another type"),
        ({"batch_size": -8}, "--batch-size -8 must be at least 1"),
        ({"network": 3}, "unknown value 3 of --network"),
        ({"hidden_layers": 3}, "has no setting hidden_layers"),
    ],
)
def test_invalid_settings_in_config_json_are_reported(tmp_path, ring, settings, words):
    with open_directory(tmp_path, ring):
        write_first_row(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["config"] |= settings
    path.write_text(json.dumps(content))
    with (
        pytest.raises(RunError, match=f"config.json is damaged .*{words}.*: restore it"),
        open_directory(tmp_path, ring),
    ):
        pass
