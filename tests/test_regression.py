"""The commands reproduce the numbers recorded in `regression.json`."""

import json

import pytest
import regression

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return regression.measure(tmp_path_factory.mktemp("regression"))


@pytest.fixture(scope="module")
def recorded():
    return json.loads(regression.RECORDED.read_text())


@pytest.mark.parametrize("name", regression.TRAINING)
def test_metrics_and_files_match_the_record(found, recorded, name):
    expected = recorded["runs"][name]
    assert found[name]["fixed"] == expected["fixed"]
    metrics = found[name]["metrics"]
    assert metrics.keys() == expected["metrics"].keys()
    for metric, value in expected["metrics"].items():
        # With another processor or other versions, rounding differences grow with every step.
        assert metrics[metric] == pytest.approx(value, rel=0.02, abs=0.02), metric


@pytest.mark.parametrize("name", regression.TRAINING)
def test_digests_match_the_record(found, recorded, name):
    if recorded["machine"] != regression.machine():
        pytest.skip("the digests were recorded with another processor or other versions")
    assert found[name]["digests"] == recorded["digests"][name]
