"""Generators written for other programs: python -m jaxgan.export."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from helpers import assert_one_line, small

from jaxgan import export, store, train
from jaxgan.command import run_command
from jaxgan.errors import UsageError
from jaxgan.networks import NETWORKS, NetworkOptions
from jaxgan.outputs import exports
from jaxgan.outputs.layers import list_layers
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
    assert_one_line(capsys.readouterr().err, "--g-norm", "layer", "--format stablehlo")
    assert not (out / "export.onnx").exists()


def test_layers_that_cannot_be_listed_are_named():
    """A stub for the generator: only its networks and its settings decide."""

    def refused(network, **settings):
        module, _ = NETWORKS[network]((8, 8, 1), width=8, num_classes=2, **settings)
        sampler = SimpleNamespace(module=module)
        of_run = SimpleNamespace(config=SimpleNamespace(network=network))
        with pytest.raises(UsageError) as caught:
            list_layers(SimpleNamespace(sampler=sampler, of_run=of_run))
        return str(caught.value)

    assert "only mlp and dcgan" in refused("resnet")
    message = refused("mlp", options=NetworkOptions("layer"))
    assert "--g-norm none and batch" in message
    assert message.endswith("not layer")
    message = refused("mlp", options=NetworkOptions("batch", g_conditioning="norm"))
    assert "--g-conditioning embedding" in message
    assert "--g-norm" not in message


def test_weights_are_described(runs, tmp_path):
    described = {}
    for name in NAMES:
        out = export.main(export.Config(runs[name], out=tmp_path / f"{name}.safetensors"))
        described[name] = store.load(out).about
    keys = ("network", "shape", "latent_size", "num_classes", "activation", "norm", "conditioning")
    found = {name: tuple(about[key] for key in keys) for name, about in described.items()}
    assert found == {
        "mlp": ("mlp", [28, 28, 1], 8, None, "tanh", "none", None),
        "dcgan": ("dcgan", [28, 28, 1], 8, 10, "tanh", "batch", "embedding"),
        "table": ("mlp", [3], 8, 2, "identity", "batch", "embedding"),
    }


def test_the_seed_is_chosen(tmp_path):
    run = tmp_path / "run"
    settings = {"width": 8, "steps": 1, "seed": 5, "seeds": 2, "conditional": True}
    train.main(small(run, **settings))
    files = {}
    for seed in (None, 5, 6):
        files[seed] = tmp_path / f"{seed}.safetensors"
        export.main(export.Config(run, run_seed=seed, out=files[seed]))
    digests = {seed: store.load(path).digest for seed, path in files.items()}
    assert digests[None] == digests[5] != digests[6]
    generator = load_generator(run, seed=6)
    latents, labels = np.asarray(generator.latents(jax.random.key(0), 4)), np.arange(4)
    samples = generator.decode(latents, labels)
    found = {seed: read("numpy_reader").generate(files[seed], latents, labels) for seed in (5, 6)}
    np.testing.assert_allclose(found[6], samples, rtol=1e-5, atol=1e-5)
    assert np.abs(found[5] - found[6]).max() > 1e-2


def test_a_damaged_run_leaves_the_earlier_file(finished, tmp_path, monkeypatch, capsys):
    run, out = tmp_path / "run", tmp_path / "a.safetensors"
    shutil.copytree(finished, run)
    out.write_bytes(b"earlier")
    (run / "generator" / "weights.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(sys, "argv", ["export", str(run), "--out", str(out)])
    assert run_command(export.Config, export.main, "export") == 1
    assert_one_line(capsys.readouterr().err, "no generator can be loaded")
    assert out.read_bytes() == b"earlier"


def test_missing_packages_are_named(runs, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kind in ("onnx", "stablehlo"):
        monkeypatch.setattr(sys, "argv", ["export", str(runs["mlp"]), "--format", kind])
        assert run_command(export.Config, export.main, "export") == 1
        assert_one_line(capsys.readouterr().err, "pip install 'jaxgan[export]'")


def test_names_of_another_format_are_refused(finished, tmp_path):
    out = tmp_path / "weights.safetensors"
    with pytest.raises(UsageError, match="named as a file of --format safetensors"):
        export.main(export.Config(finished, format="onnx", out=out))
    assert not out.exists()
