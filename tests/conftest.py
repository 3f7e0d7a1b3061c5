import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:  # Workers share the folder of who started them.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jaxgan-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["XDG_CACHE_HOME"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# With little of LLVM's optimisation XLA compiles in half the time; its own passes, which decide in
# what order numbers are added, are the same.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=1"
os.environ.pop("TFDS_DATA_DIR", None)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tfds"


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder of TFDS's own prepared MNIST."""
    if not (SHARED / "mnist").is_dir():
        pytest.skip("TFDS's prepared MNIST is not beside the checkout")
    return SHARED


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No data on disk and no host that answers."""
    from jaxgan.data import tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tensorflow_datasets"))
    monkeypatch.setattr(tfds, "_reachable", lambda url: False)


@pytest.fixture(scope="session")
def ring():
    """The mixture of 8 Gaussians."""
    from jaxgan.data import load

    return load("ring")[0]
