"""What `config.json` says, and what makes two runs the same."""

import json
import platform

import pytest
from run_helpers import begin, history_of, opened

from jaxgan.errors import RunError, UsageError
from jaxgan.runs.config import Config
from jaxgan.runs.description import describe_run
from jaxgan.runs.directory import open_run


def test_config_json_says_what_the_run_depends_on(tmp_path, ring):
    with opened(tmp_path / "r", ring, seed=3) as directory:
        assert directory.messages == []
    content = json.loads((tmp_path / "r" / "config.json").read_text())
    assert content["config"]["seed"] == 3
    assert content["dataset"]["fingerprint"] == ring.fingerprint
    assert {"jax", "flax", "optax", "jaxgan"} <= content["versions"].keys()
    assert content["device"]["platform"] == "cpu"


def test_changed_versions_are_remarked(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["environments"][-1]["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        directory.begin(1)
        (remark,) = directory.take_messages()
    assert remark.startswith("no longer exactly repeatable: jax was 0.0.1 and is ")


def test_the_number_of_seeds_makes_another_run_and_that_of_devices_does_not(tmp_path, ring):
    with opened(tmp_path, ring, seeds=2):
        begin(tmp_path)
    with (
        pytest.raises(UsageError, match="seeds is 2 there"),
        opened(tmp_path, ring, seeds=3),
    ):
        pass
    description = describe_run(Config(seeds=2, devices=2), ring, devices=2)
    with open_run(tmp_path, description, overwrite=False) as directory:
        directory.begin(1)
        assert directory.take_messages() == ["no longer exactly repeatable: devices was 1 and is 2"]


def test_a_run_from_before_a_setting_existed_has_its_default(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["config"]["seeds"], content["environments"], content["environment"]
    del content["versions"]["python"], content["parameters"]
    path.write_text(json.dumps(content))
    with opened(tmp_path, ring) as directory:
        directory.begin(1)
        assert directory.take_messages() == []
    with (
        pytest.raises(UsageError, match="seeds is 1 there"),
        opened(tmp_path, ring, seeds=2),
    ):
        pass


def test_every_environment_that_a_run_went_on_in_is_recorded_by_step(tmp_path, ring, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")

    def goes_on_from(step, version, **settings):
        monkeypatch.setattr(platform, "python_version", lambda: version)
        with opened(tmp_path, ring, **settings) as directory:
            if step == 0:
                begin(tmp_path)
            directory.begin(step)
            return directory.take_messages()

    assert goes_on_from(0, "3.11.7") == []
    assert goes_on_from(10, "3.11.7") == []
    (remark,) = goes_on_from(20, "3.13.0")
    assert "python was 3.11.7 and is 3.13.0" in remark
    assert goes_on_from(30, "3.13.0") == []  # What a run was last computed in is compared.
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    (remark,) = goes_on_from(40, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert "XLA_FLAGS was not set and is --xla_cpu_enable_fast_math=true" in remark
    assert goes_on_from(50, "3.11.7", log_every=5) == []
    found = [
        (entry["step"], entry["versions"]["python"], entry["log_every"])
        for entry in history_of(tmp_path)
    ]
    expected = [(0, "3.11.7", 10), (20, "3.13.0", 10), (40, "3.11.7", 10), (50, "3.11.7", 5)]
    assert found == expected
    assert history_of(tmp_path)[2]["environment"] == {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"
    }
    assert json.loads((tmp_path / "config.json").read_text())["versions"]["python"] == "3.11.7"
    # Of a checkpoint of step 30 nothing is left of what came after it.
    (remark,) = goes_on_from(30, "3.11.7")
    assert "python was 3.13.0 and is 3.11.7" in remark
    assert [entry["step"] for entry in history_of(tmp_path)] == [0, 20, 30]


def test_networks_of_another_version_are_no_damage(tmp_path, ring):
    def with_parameters(generator):
        parameters = {"generator": generator, "discriminator": 7} if generator else None
        about = describe_run(Config(), ring, parameters=parameters)
        return open_run(tmp_path, about, overwrite=False)

    with with_parameters(5):
        begin(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with (
        pytest.raises(
            UsageError, match=r"networks \(generator\) have other .* continue it with jaxgan \d"
        ),
        with_parameters(6),
    ):
        pass
    assert (tmp_path / "config.json").read_bytes() == before
    with with_parameters(5):
        pass


def test_a_history_that_says_nothing_is_a_damaged_config(tmp_path, ring):
    with opened(tmp_path, ring):
        begin(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    for entry in (3, {}, {"step": 0}):
        path.write_text(json.dumps(content | {"environments": [entry]}))
        with pytest.raises(RunError, match="damaged .*: restore it"), opened(tmp_path, ring):
            pass
