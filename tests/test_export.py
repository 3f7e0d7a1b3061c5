"""Generators written for other programs: python -m jaxgan.export."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import assert_one_line, small

from jaxgan import export, train
from jaxgan.command import run_command
from jaxgan.outputs import exports
from jaxgan.runs.generators import load_generator

READERS = Path(__file__).resolve().parents[1] / "experiments" / "readers"
ALONE = """
import sys
import numpy as np
from jax import export
with open(sys.argv[1], "rb") as file:
    loaded = export.deserialize(bytearray(file.read()))
inputs = np.load(sys.argv[2])
latents, labels = inputs["latents"], inputs["labels"]
arguments = (latents, labels) if len(loaded.in_avals) == 2 else (latents,)
np.save(sys.argv[3], loaded.call(*arguments))
assert not [name for name in sys.modules if name.startswith(("jaxgan", "flax", "optax"))]
assert set(loaded.platforms) == {"cpu", "cuda"}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, finished):
    """Runs of which each format is written: of an mlp, a dcgan, and a table in its units."""
    root = tmp_path_factory.mktemp("runs")
    train.main(
        small(root / "dcgan", network="dcgan", width=8, conditional=True, batch_size=16, steps=20)
    )
    values = np.random.default_rng(0).normal([5, -3, 100], [1, 10, 0.1], (64, 3))
    np.savez(root / "table.npz", values=values.astype(np.float32), labels=np.arange(64) % 2)
    settings = {"dataset": None, "data_file": root / "table.npz", "conditional": True}
    train.main(small(root / "table", **settings, g_norm="batch", width=8, steps=20))
    return {"mlp": finished, "dcgan": root / "dcgan", "table": root / "table"}


NAMES = ["mlp", "dcgan", "table"]


def draw(run):
    """Returns a generator, latents, labels, and the samples that it makes of them."""
    generator = load_generator(run)
    latents = np.asarray(generator.latents(jax.random.key(0), 7))
    labels = np.arange(7, dtype=np.int32) % (generator.num_classes or 1)
    inputs = (latents,) if generator.num_classes is None else (latents, labels)
    samples = np.asarray(generator.decode(*inputs))
    assert np.ptp(samples, axis=0).max() > 0
    return latents, labels, samples


def read(name: str):
    """Returns a program of `experiments/readers`."""
    spec = importlib.util.spec_from_file_location(name, READERS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_numpy_reads_the_same_samples(runs, name, tmp_path):
    latents, labels, samples = draw(runs[name])
    out = export.main(export.Config(runs[name], out=tmp_path / "a.safetensors"))
    found = read("numpy_reader").generate(out, latents, labels)
    np.testing.assert_allclose(found, samples, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_reads_the_same_samples(runs, name, tmp_path):
    torch = pytest.importorskip("torch")
    latents, labels, samples = draw(runs[name])
    out = export.main(export.Config(runs[name], out=tmp_path / "a.safetensors"))
    inputs = torch.from_numpy(latents), torch.from_numpy(labels)
    found = read("torch_reader").generate(out, *inputs)
    np.testing.assert_allclose(found.numpy(), samples, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_makes_the_same_samples(runs, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    latents, labels, samples = draw(runs[name])
    out = export.main(export.Config(runs[name], format="onnx"))
    assert out == runs[name] / "export.onnx"
    session = onnxruntime.InferenceSession(out)
    inputs = {"latents": latents, "labels": labels.astype(np.int64)}
    wanted = {each.name for each in session.get_inputs()}
    (found,) = session.run(None, {name: inputs[name] for name in wanted})
    np.testing.assert_allclose(found, samples, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_jax_alone_makes_the_same_samples(runs, name, tmp_path):
    latents, labels, samples = draw(runs[name])
    out = export.main(export.Config(runs[name], format="stablehlo", out=tmp_path / "a.stablehlo"))
    np.savez(tmp_path / "inputs.npz", latents=latents, labels=labels)
    arguments = [out, tmp_path / "inputs.npz", tmp_path / "found.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, samples, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["resnet", "r3gan"])
def test_large_networks_are_exported_for_any_number_of_latents(network):
    """They are traced, and not run, which would take a minute."""
    from jax import export as jax_export

    from jaxgan.networks import NETWORKS
    from jaxgan.sampling import Sampler

    generator, _ = NETWORKS[network]((32, 32, 3), width=16, num_classes=4)
    sampler = Sampler(generator, 8, 4)
    latents, labels = np.zeros((1, 8), np.float32), np.zeros(1, np.int32)
    variables = jax.eval_shape(generator.init, jax.random.key(0), latents, labels)
    (count,) = jax_export.symbolic_shape("n")
    shapes = [
        jax.ShapeDtypeStruct((count, 8), np.float32),
        jax.ShapeDtypeStruct((count,), np.int32),
    ]
    decode = jax.jit(sampler.decode)
    found = jax_export.export(decode, platforms=exports.PLATFORMS)(variables, *shapes)
    assert found.out_avals[0].shape == (count, 32, 32, 3)


def test_networks_without_a_list_of_layers(runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    train.main(small(out, g_norm="layer", width=8, steps=1))
    export.main(export.Config(out))
    monkeypatch.setattr(sys, "argv", ["export", str(out), "--format", "onnx"])
    assert run_command(export.Config, export.main, "export") == 2
    assert_one_line(capsys.readouterr().err, "--g-norm layer", "--format stablehlo")
    assert not (out / "export.onnx").exists()


def test_missing_packages_are_named(runs, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kind in ("onnx", "stablehlo"):
        monkeypatch.setattr(sys, "argv", ["export", str(runs["mlp"]), "--format", kind])
        assert run_command(export.Config, export.main, "export") == 2
        assert_one_line(capsys.readouterr().err, "pip install 'jaxgan[export]'")
