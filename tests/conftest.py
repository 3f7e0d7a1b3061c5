import contextlib
import functools
import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:  # Workers inherit the folder of their parent.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jaxgan-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["XDG_CACHE_HOME"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# A low optimization level of LLVM halves XLA's compile time. XLA's own passes, which determine the
# order of floating-point additions, are not affected.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=1"
os.environ.pop("TFDS_DATA_DIR", None)
with contextlib.suppress(AttributeError, ValueError):  # Windows; not the main thread.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup, the commands would ignore it.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

SLOW = (
    "regression",
    "combinations",
    "disk_processes",
    "published_scores",
    "prefetch",
    "distributed",
    "evaluate",
    "recipes",
    "networks",
    "contracts",
    "train",
)
"""Files of tests that take minutes, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the slow files, so that no worker is left alone with one at the end."""
    order = {f"test_{name}": i for i, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.stem, len(SLOW)))


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tfds"


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST as TFDS prepared it."""
    if not (SHARED / "mnist").is_dir():
        pytest.skip("TFDS's prepared MNIST is not beside the checkout")
    return SHARED


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No prepared data on disk and no reachable host."""
    from jaxgan.data import tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tensorflow_datasets"))
    monkeypatch.setattr(tfds, "_reachable", lambda url: False)


@pytest.fixture(scope="session", autouse=True)
def undrawn_curves():
    """Runs in this process plot their curves and do not draw them, which takes a second each.

    `test_plots.py` draws them, and so do the commands in processes of their own.
    """
    from jaxgan.runs.pictures import Pictures

    draw = Pictures.draw_curves

    def plot(*arguments):
        from matplotlib.figure import Figure

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Figure, "savefig", lambda self, file, format: file.write(b"curves"))
            return draw(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Pictures, "draw_curves", plot)
        yield


@pytest.fixture(scope="session", autouse=True)
def digits_are_read_once():
    """Runs in this process share the digits, which take a third of a second to read."""
    from jaxgan import data

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data, "digits", functools.cache(data.digits))
        yield


@pytest.fixture(scope="module")
def rough_code():
    """Programs of this module are compiled quickly to slow machine code that rounds differently.

    For tests that compare to a tolerance only. Those that compare bits need the usual code: its
    fused operations round in other ways from program to program, if a program is not careful.
    """
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # Nothing compiled here is left to other modules.


@pytest.fixture(scope="session")
def ring():
    """The mixture of 8 Gaussians."""
    from jaxgan.data import load

    return load("ring")[0]


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A run of `helpers.SMALL`, never interrupted, which no test may change."""
    from helpers import small

    from jaxgan import train

    out = tmp_path_factory.mktemp("finished") / "run"
    train.main(small(out))
    return out


@pytest.fixture(scope="session")
def long(tmp_path_factory) -> Path:
    """A run with the settings of `helpers.LONG`, never interrupted, which no test may change."""
    from helpers import LONG, small

    from jaxgan import train

    out = tmp_path_factory.mktemp("long") / "run"
    train.main(small(out, **LONG))
    return out


@pytest.fixture(scope="session")
def grid(tmp_path_factory) -> Path:
    """A run of four combinations and two seeds, which no test may change."""
    from helpers import GRID, TINY, small

    from jaxgan import train

    out = tmp_path_factory.mktemp("grid") / "run"
    train.main(small(out, axes=GRID, seeds=2, **TINY))
    return out


@pytest.fixture(scope="module")
def fast_evaluation():
    """Few samples and a classifier trained for few steps: only their combination is tested."""
    from jaxgan.evaluation import classifier, samples, selection

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(selection, "SAMPLES", 200)
        patched.setattr(samples, "CHUNK", 100)
        patched.setattr(classifier, "MIN_STEPS", 1)
        patched.setattr(classifier, "EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, fast_evaluation) -> Path:
    """A run of `helpers.EVALUATED`, never interrupted, which no test may change."""
    import dataclasses

    from helpers import EVALUATED

    from jaxgan import train

    out = tmp_path_factory.mktemp("evaluated") / "run"
    train.main(dataclasses.replace(EVALUATED, out=out))
    return out
