"""Inception-v3 against pytorch-fid, layer by layer, and the loading of its weights."""

import hashlib
import os
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxgan.errors import UsageError
from jaxgan.evaluation import inception, inception_weights
from jaxgan.evaluation.inception import Inception, make_extractor, resize
from jaxgan.evaluation.inception_weights import load

# SHA-256 of the lines `name shape` of pytorch-fid's state dict, sorted, without `fc.bias` and
# `num_batches_tracked`.
LAYOUT = "617532bc86b09aceb9ad387752a48cfc665e05819ef635a07e53b05cdb20a810"
# Outputs of pytorch-fid's network, in float64, for `grey_images` with `random_weights`: the first
# four features of the first image, mean and norm of all features, and the same of the logits.
FEATURES = (0.0, 6.558408, 3.873718, 2.729890, 2.611004, 280.418714)
LOGITS = (5.942628, 2.814378, -3.731612, -6.009049, -0.062076, 271.053522)


@pytest.fixture
def folder(tmp_path):
    """A folder that is deleted after the test, since its files are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def shapes():
    return {name: shape for name, (_, shape) in sorted(inception_weights._expected().items())}


def layout(named_shapes) -> str:
    lines = [f"{name} {tuple(shape)}\n" for name, shape in sorted(named_shapes.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def blank_weights():
    return {name: np.zeros(shape, np.float32) for name, shape in shapes().items()}


def random_weights():
    """Returns random weights with which every layer preserves the scale of its inputs."""
    rng = np.random.RandomState(0)  # Draws the same numbers in every version of NumPy.

    def draw(name, shape):
        if len(shape) > 1:
            limit = np.sqrt(6 / np.prod(shape[1:]))
            return rng.uniform(-limit, limit, shape)
        low, high = (-0.3, 0.3) if name.endswith(("bias", "mean")) else (0.5, 1.5)
        return rng.uniform(low, high, shape)

    return {name: draw(name, shape).astype(np.float32) for name, shape in shapes().items()}


def grey_images():
    return np.random.RandomState(1).uniform(-1, 1, (2, 28, 28, 1)).astype(np.float32)


def summary(x) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return np.array([*x[0, :4], x.mean(), np.linalg.norm(x)])


def error_message(path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_tensors_have_the_names_and_shapes_of_pytorch():
    assert len(shapes()) == 94 * 5 + 1
    # torchvision counts 27,161,264 for 1,000 classes, auxiliary logits included.
    auxiliary = 768 * 128 + 2 * 128 + 25 * 128 * 768 + 2 * 768 + 769 * 1000
    trained = 27_161_264 - auxiliary - 2049 * 1000 + 2048 * 1008
    statistics = sum(shape[0] for name, shape in shapes().items() if "running" in name)
    assert sum(np.prod(shape) for shape in shapes().values()) == trained + statistics
    assert shapes()["Mixed_6b.branch7x7dbl_5.conv.weight"] == (192, 128, 1, 7)
    assert layout(shapes()) == LAYOUT


def test_outputs_match_pytorch_fid_and_digests_depend_on_weights(folder):
    weights, path = random_weights(), folder / "weights.safetensors"
    save_file(weights, path)
    variables, digest = load(path)
    pooled, logits = make_extractor(variables)(grey_images())
    assert (pooled.shape, logits.shape) == ((2, 2048), (2, 1008))
    np.testing.assert_allclose(summary(pooled), FEATURES, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(summary(logits), LOGITS, rtol=1e-5, atol=1e-4)

    unused = {
        "fc.bias": np.ones(1008, np.float32),
        "Mixed_5b.branch1x1.bn.num_batches_tracked": np.array(7),
        "AuxLogits.fc.weight": np.ones((1008, 768), np.float32),
    }
    save_file(weights | unused, path)
    assert load(path)[1] == digest
    weights["Mixed_7c.branch_pool.bn.bias"][3] += 1e-6
    save_file(weights, path)
    assert load(path)[1] != digest
    assert len(digest) == 64


def _lacking(weights):
    del weights["Mixed_6e.branch_pool.conv.weight"]


def _surplus(weights):
    weights["Mixed_6f.branch_pool.conv.weight"] = np.zeros(3, np.float32)


def _of_another_shape(weights):
    weights["fc.weight"] = np.zeros((1000, 2048), np.float32)


def _transposed(weights):
    name = "Mixed_6b.branch7x7_2.conv.weight"
    weights[name] = weights[name].transpose(0, 1, 3, 2).copy()


def _half(weights):
    weights["fc.weight"] = weights["fc.weight"].astype(np.float16)


def _nan(weights):
    weights["Mixed_5b.branch1x1.bn.running_var"][5] = np.nan


def _infinite(weights):
    weights["fc.weight"][7, 9] = -np.inf


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            _lacking,
            ": 1 of 471 .* and 0 .* such as Mixed_6e.branch_pool.conv.weight",
        ),
        (
            _surplus,
            ": 0 of 471 .* and 1 .* such as Mixed_6f.branch_pool.conv.weight",
        ),
        (_of_another_shape, r"fc.weight has shape \(1000, 2048\) and must have \(1008, 2048\)"),
        (_transposed, r"Mixed_6b.branch7x7_2.conv.weight has shape \(128, 128, 7, 1\)"),
        (_half, "fc.weight has type float16 and must be float32"),
        (_nan, "damaged: Mixed_5b.branch1x1.bn.running_var holds NaN"),
        (_infinite, "damaged: fc.weight holds NaN or infinity"),
    ],
)
def test_files_of_other_weights_are_rejected(folder, damage, words):
    weights, path = blank_weights(), folder / "weights.safetensors"
    damage(weights)
    save_file(weights, path)
    with pytest.raises(UsageError, match=words):
        load(path)
    error_message(path)


def test_unreadable_files_are_rejected(tmp_path):
    save_file({"fc.weight": np.zeros(1000, np.float32)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for name, content, words in [
        ("missing.safetensors", None, "is not a file: give the file of"),
        ("noise.safetensors", b"\x80\x04]K" * 100, "cannot be read: it is damaged"),
        ("empty.safetensors", b"", "cannot be read: it is damaged"),
        ("short.safetensors", whole[:-1], "cannot be read: it is damaged"),
        ("weights.pkl", whole, "must be a .safetensors or a .pth file"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert words in error_message(tmp_path / name)
    (tmp_path / "folder.pth").mkdir()
    assert "is not a file: give the file of" in error_message(tmp_path / "folder.pth")


def test_pth_files_need_torch_and_match_the_hash_in_their_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()
    wrong = digits[:7] + ("0" if digits[7] != "0" else "1")
    for name, words in {
        f"inception-2015-12-05-{wrong}.pth": f"damaged.* SHA-256 begins with {digits[:8]}, which",
        f"inception-{digits[:9]}{wrong}.pth": "damaged",
        f"inception-{digits[:8]}.pth": "pip install torch",
        f"inception-{digits}.pth": "pip install torch",
        f"inception-{wrong[1:]}.pth": "pip install torch",
        "inception.pth": "pip install torch.*safetensors",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=words):
            load(tmp_path / name)
        error_message(tmp_path / name)


@pytest.mark.parametrize(
    ("pool", "inside"), [(inception.average, np.mean), (inception.maximum, np.max)]
)
def test_pooling_ignores_padding(pool, inside):
    x = -np.random.RandomState(0).uniform(1, 2, (1, 4, 5, 2)).astype(np.float32)
    expected = np.empty_like(x)
    for i in range(4):
        for j in range(5):
            window = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            expected[:, i, j] = inside(window, axis=(1, 2))
    np.testing.assert_allclose(pool(x), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 20, 3), (598, 400, 3), (299, 299, 3)])
def test_resizing_is_bilinear(shape):
    x = np.random.RandomState(0).uniform(-1.1, 1.1, (1, *shape)).astype(np.float32)
    expected = np.clip(np.round((x + 1) * 127.5), 0, 255) / 127.5 - 1
    for axis, size in enumerate(shape[:2], 1):
        places = (np.arange(299) + 0.5) * size / 299 - 0.5
        along = lambda row, places=places: np.interp(places, np.arange(len(row)), row)
        expected = np.apply_along_axis(along, axis, expected)
    found = resize(jnp.asarray(x))
    assert found.shape == (1, 299, 299, 3)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-4)


def test_images_are_rounded_as_when_saved():
    x = jnp.array([-1.5, -1.0, 0.3, 0.301, 1.0, 1.5]).reshape(6, 1, 1, 1)
    np.testing.assert_allclose(
        resize(x)[:, 150, 150],
        np.repeat([[-1], [-1], [0.30196], [0.30196], [1], [1]], 3, 1),
        atol=1e-5,
    )
    with pytest.raises(UsageError, match="1 or 3 channels, and these have 2"):
        resize(jnp.zeros((4, 28, 28, 2)))


@pytest.fixture
def pytorch_fid(monkeypatch):
    """Returns pytorch-fid's network, in evaluation mode, with `random_weights` and a bias."""
    reason = "compares with pytorch-fid, which is not installed"
    pytest.importorskip("torchvision", reason=reason)
    module = pytest.importorskip("pytorch_fid.inception", reason=reason)
    import torch

    weights = random_weights() | {"fc.bias": np.arange(1008, dtype=np.float32)}
    weights = {name: torch.from_numpy(tensor) for name, tensor in weights.items()}
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: weights)
    return module.fid_inception_v3().eval().requires_grad_(False)


def test_every_layer_matches_pytorch_fid(folder, pytorch_fid):
    import safetensors.torch
    import torch

    state = pytorch_fid.state_dict()
    used = {
        name: tensor.shape
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked") and name != "fc.bias"
    }
    assert used == shapes()
    assert layout(used) == LAYOUT
    torch.save(state, folder / "weights.pth")
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    (variables, digest), (others, same) = map(load, sorted(folder.iterdir()))
    assert digest == same
    jax.tree.map(np.testing.assert_array_equal, variables, others)

    outputs = {}
    for name, child in pytorch_fid.named_children():
        keep = lambda module, inputs, output, name=name: outputs.update({name: output.numpy()})
        child.register_forward_hook(keep)
    images = np.asarray(resize(grey_images()))
    pytorch_fid(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    pooled = outputs["avgpool"][:, :, 0, 0]
    logits = outputs["fc"] - pytorch_fid.fc.bias.numpy()

    (found_features, found_logits), kept = jax.jit(
        lambda variables, images: Inception().apply(
            variables,
            images,
            capture_intermediates=lambda module, _: len(module.path) == 1,
            mutable=["intermediates"],
        )
    )(variables, images)
    layers = [name for name in outputs if name.startswith(("Conv2d_", "Mixed_"))]
    assert len(layers) == 16
    assert {*layers, "fc"} == kept["intermediates"].keys()
    expected = {name: outputs[name].transpose(0, 2, 3, 1) for name in layers}
    found = {name: kept["intermediates"][name]["__call__"][0] for name in layers}
    expected |= {"features": pooled, "logits": logits}
    found |= {"features": found_features, "logits": found_logits}
    for name, output in expected.items():
        scale = np.abs(output).max()
        np.testing.assert_allclose(found[name] / scale, output / scale, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(summary(pooled), FEATURES, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(summary(logits), LOGITS, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (400, 350, 3)])
def test_resizing_matches_pytorch(shape):
    torch = pytest.importorskip("torch", reason="compares with torch, which is not installed")
    saved = np.random.RandomState(0).randint(0, 256, (2, *shape)).astype(np.float32)
    x = torch.from_numpy(saved.transpose(0, 3, 1, 2) / 255)
    x = torch.nn.functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    expected = (2 * x - 1).numpy().transpose(0, 2, 3, 1)
    found = resize(jnp.asarray(saved / 127.5 - 1))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-4)


class Harm:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pth_files_with_other_objects_are_rejected(tmp_path):
    torch = pytest.importorskip("torch", reason="reads PyTorch's files, and torch is not installed")
    for name, content in {
        "code.pth": {"fc.weight": Harm(tmp_path / "harm")},
        "list.pth": [torch.zeros(3)],
        "nested.pth": {"state_dict": {"fc.weight": torch.zeros(3)}},
    }.items():
        torch.save(content, tmp_path / name)
        assert "other than named tensors" in error_message(tmp_path / name)
    assert not (tmp_path / "harm").exists()
    (tmp_path / "damaged.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:-100])
    assert "is damaged" in error_message(tmp_path / "damaged.pth")
