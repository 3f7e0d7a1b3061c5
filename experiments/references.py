# ruff: noqa: E402
"""Functions of parameters, here and in the files of other packages in PyTorch, set side by side.

Everything is computed in float64, so that differences are those of the formulas.
"""

import re
import sys
import types
from collections.abc import Callable, Mapping
from importlib import import_module, util
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch import nn
from torch.nn import functional

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)
# Also what is computed in float32 on purpose. Before jaxgan, whose functions have it as a default.
jnp.float32, torch.float32 = jnp.float64, torch.float64

from jaxgan import sampling

KEY = jax.random.key(0)
SPREAD = 0.3
"""Deviation of what is added to initial values, relative to theirs, and to constants."""
LEAVES = {"mean": "running_mean", "var": "running_var"}
LEAVES |= dict.fromkeys(("kernel", "embedding", "scale"), "weight")
"""Names of parameters and statistics in PyTorch, where they differ from Flax's."""

Values = dict[str, np.ndarray]


class Check(NamedTuple):
    """A function of parameters and inputs, here and in PyTorch.

    own: from variables, inputs and whether to train, to outputs. init: from a key to variables.
    other: from the module and inputs. module: what has the parameters in PyTorch. names: of its
    modules and parameters, by their paths in Flax. pixels: the path of a layer, and the axis of its
    kernel in which 16 pixels and their channels are joined. trains: whether training differs.
    """

    title: tuple[str, str, str]
    inputs: tuple[np.ndarray, ...]
    own: Callable
    other: Callable = lambda module, *inputs: module(*inputs)
    init: Callable = lambda key: {}
    module: nn.Module = nn.Identity()
    names: Mapping[str, str] = MappingProxyType({})
    pixels: tuple[str, int] = ("", 0)
    trains: bool = False


class Package(types.ModuleType):
    """A package of which only the needed files are imported."""

    def __getattr__(self, name: str):
        for file in sorted(Path(self.__path__[0]).glob("*.py")):
            if re.search(rf"^(def|class) {name}\b", file.read_text(), re.MULTILINE):
                return getattr(import_module(f"{self.__name__}.{file.stem}"), name)
        raise AttributeError(name)


def prepare_references() -> None:
    """Makes the references importable, with mmcv's operations for GPUs in plain PyTorch."""
    add_package("torch_mimicry", find_package("torch_mimicry"))
    root = find_package("mmagic")
    for folder in (root, *(file.parent for file in (root / "models").rglob("__init__.py"))):
        add_package(".".join(("mmagic", *folder.relative_to(root).parts)), folder)
    device = lambda module: next(module.parameters()).device
    add_package("mmagic.models.utils", get_module_device=device)
    activation = {"FusedBiasLeakyReLU": BiasedLeakyReLU, "fused_bias_leakyrelu": leaky_relu}
    add_package("mmcv.ops.fused_bias_leakyrelu", **activation)
    add_package("mmcv.ops.upfirdn2d", upfirdn2d=upfirdn2d)
    convolutions = {name: getattr(functional, name) for name in ("conv2d", "conv_transpose2d")}
    add_package("mmcv.ops", upfirdn2d=upfirdn2d, **convolutions)


def find_package(name: str) -> Path:
    """Returns the directory of an installed package, which is not imported."""
    if (found := util.find_spec(name)) is None:
        sys.exit(f"{name} is missing: install what the first lines of parity.py say")
    return Path(found.submodule_search_locations[0])


def add_package(name: str, folder: Path | None = None, **content: Any) -> None:
    """Adds a package to those that are imported."""
    sys.modules[name] = Package(name)
    sys.modules[name].__dict__.update(content, __path__=[str(folder)])


def leaky_relu(x, bias, negative_slope: float = 0.2, scale: float = 2**0.5):
    """Returns LeakyReLU of a sum, times a factor."""
    bias = bias.reshape(1, -1, *[1] * (x.ndim - 2))
    return functional.leaky_relu(x + bias, negative_slope) * scale


class BiasedLeakyReLU(nn.Module):
    """What `leaky_relu` reads."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.negative_slope, self.scale = 0.2, 2**0.5


def upfirdn2d(x, kernel, up=1, down=1, padding=(0, 0)):
    """Returns images with zeros between pixels and around them, convolved and thinned out."""
    (up_x, up_y), (down_x, down_y) = ((f, f) if isinstance(f, int) else f for f in (up, down))
    n, channels, height, width = x.shape
    spaced = x.new_zeros(n, channels, height * up_y, width * up_x)
    spaced[:, :, ::up_y, ::up_x] = x
    padded = functional.pad(spaced, [*padding] * (4 // len(padding)))
    weights = kernel.flip((0, 1)).expand(channels, 1, *kernel.shape)
    return functional.conv2d(padded, weights, groups=channels)[:, :, ::down_y, ::down_x]


def draw_variables(variables: dict, rng: np.random.Generator) -> Values:
    """Returns random values by path, near the initial ones, without names of collections.

    Singular vectors of embeddings are exact, because the references keep those of the other side.
    """
    found = {}
    for (_, *path), value in flatten_dict(variables).items():
        value = np.asarray(value, np.float64)
        noise = SPREAD * rng.normal(size=value.shape) * (value.std() or 1)
        value = value * np.exp(noise) if path[-1] == "var" else value + noise
        found["/".join(path)] = np.asarray(value)
    for path in found:
        if path.endswith("embedding/u"):
            table = found[re.sub(r"SpectralNorm_\d+/|/u$", "", path)]
            found[path] = np.linalg.svd(table)[2][:1]
    return found


def rename(check: Check, values: Values) -> dict[str, torch.Tensor]:
    """Returns values by their names in PyTorch, with the axes that they have there."""
    known, found = check.module.state_dict(), {}
    for path, value in values.items():
        short = re.sub(r"SpectralNorm_\d+/|(kernel|embedding)/(?=[us])", "", path)
        place, leaf = short.rsplit("/", 1)
        if leaf == "sigma" or path == "mapping/mean":
            continue
        if path.endswith("embedding/u"):
            value = values[f"{place}/embedding"] @ value[0]
            value = value / np.linalg.norm(value)
        if place == check.pixels[0] and (leaf == "kernel" or check.pixels[1] == 1):
            value = channels_before_pixels(value, min(check.pixels[1], value.ndim - 1))
        if value.ndim > 2 or leaf == "kernel":
            value = np.moveaxis(value, -1, 0) if value.ndim < 4 else value.transpose(3, 2, 0, 1)
        name = check.names.get(short) or f"{check.names[place]}.{LEAVES.get(leaf, leaf)}"
        name = next(n for n in (name, f"{name}_orig", re.sub("u$", "weight_u", name)) if n in known)
        found[name] = np.concatenate([found[name], value], -1) if name in found else value
    return {name: torch.tensor(value).reshape(known[name].shape) for name, value in found.items()}


def channels_before_pixels(value: np.ndarray, axis: int) -> np.ndarray:
    """Returns an array with an axis of 16 pixels and their channels in the other order."""
    split = value.reshape(*value.shape[:axis], 16, -1, *value.shape[axis + 1 :])
    return split.swapaxes(axis, axis + 1).reshape(value.shape)


def to_torch(array: Any) -> torch.Tensor:
    """Returns an array, or images with their channels first."""
    return torch.tensor(np.moveaxis(array, -1, 1) if np.ndim(array) == 4 else np.asarray(array))


def compare(check: Check) -> list[str]:
    """Returns the row of a check in the table."""
    rng, initial = np.random.default_rng(0), check.init(KEY)
    values = draw_variables(initial, rng)
    paths = flatten_dict(initial)
    variables = unflatten_dict({path: values["/".join(path[1:])] for path in paths})
    params, weights = variables.get("params", {}), rename(check, values)
    (x, *labels), others = check.inputs, [to_torch(each) for each in check.inputs]
    outputs = []
    load(check.module.train(), weights)
    if check.trains:
        own = jax.jit(lambda variables: check.own(variables, x, *labels, train=True))(variables)
        outputs.append(distance(to_torch(own), check.other(check.module, *others)))
        # In inference, Flax improves singular vectors, and PyTorch keeps those of training.
        load(check.module, {k: v for k, v in weights.items() if not k.endswith("weight_u")})
    check.module.eval()
    run = lambda params, x: check.own({**variables, "params": params}, x, *labels)
    own, pullback = jax.vjp(jax.jit(run), params, x)
    weighting = rng.normal(size=own.shape)
    of_params, of_x = pullback(jnp.asarray(weighting))
    expected = check.other(check.module, others[0].requires_grad_(), *others[1:])
    expected.backward(to_torch(weighting).reshape(expected.shape))
    outputs.append(distance(to_torch(own), expected))
    grads = [distance(to_torch(of_x), others[0].grad)]
    of_params = {"/".join(path): np.asarray(leaf) for path, leaf in flatten_dict(of_params).items()}
    for name, own_grad in rename(check, of_params).items():
        if (grad := check.module.get_parameter(name).grad) is not None:
            grads.append(distance(own_grad, grad))
    own_count = sum(leaf.size for leaf in jax.tree.leaves(params))
    counts = own_count, sum(each.numel() for each in check.module.parameters())
    family, name, reference = check.title
    found = [f"{np.max(each):.0e}" for each in (outputs, grads)]
    return [family, name, *(f"{count:,}" if count else "" for count in counts), reference, *found]


def load(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Sets all parameters of a module, and its buffers for which there are values."""
    if missing := dict(module.named_parameters()).keys() - weights.keys():
        raise ValueError(f"there are no values for {sorted(missing)}")
    module.load_state_dict(weights, strict=False)


def distance(own: torch.Tensor, expected: torch.Tensor) -> float:
    """Returns the largest difference, relative to the largest absolute value if that is not 0."""
    expected = expected.detach()
    largest = float(expected.abs().max())
    return float((own.reshape(expected.shape) - expected).abs().max()) / (largest or 1)


def draw(*shape: int) -> np.ndarray:
    """Returns random numbers, the same for each shape."""
    return np.random.default_rng(1).normal(size=shape)


def check_network(title: tuple[str, str, str], flax: Any, *inputs: np.ndarray, **more) -> Check:
    """Returns the check of a Flax module. more: the other fields of the check."""

    def own(variables: dict, *inputs, train: bool = False) -> jax.Array:
        if train:
            return sampling.apply_in_training(flax, variables, *inputs)[0]
        return sampling.apply(flax, variables, *inputs)

    return Check(title, inputs, **{"own": own, "init": lambda key: flax.init(key, *inputs)} | more)
