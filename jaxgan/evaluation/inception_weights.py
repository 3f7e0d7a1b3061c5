"""The weights of FID's Inception-v3, from a file that the user provides.

The file is pt_inception-2015-12-05-6726825d.pth from
https://github.com/mseitzer/pytorch-fid/releases, or a .safetensors file with the same tensors.
"""

import functools
import hashlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxgan.errors import UsageError
from jaxgan.evaluation.inception import SIZE, Inception
from jaxgan.keys import key_of_seed
from jaxgan.trees import tree_sha256

FILE = "pt_inception-2015-12-05-6726825d.pth"
NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""PyTorch's names of tensors, by Flax's names."""


def load(path: str | Path) -> tuple[dict, str]:
    """Returns the Flax variables of a file of weights, and the SHA-256 of its tensors.

    path: `.safetensors`, or `.pth` if torch is installed, with PyTorch's names and layouts. The
        bias of the last layer and the auxiliary logits may be in the file. They are not used, and
        are not part of the digest, which is the same for both file formats.
    Raises `UsageError` for a file that is missing, damaged or of another network.
    """
    path = Path(path)
    tensors = {
        name: tensor
        for name, tensor in _read(path).items()
        if not name.startswith("AuxLogits.")
        and not name.endswith(".num_batches_tracked")
        and name != "fc.bias"
    }
    expected = _expected()
    another = f"{path} is not FID's Inception-v3, {FILE} of pytorch-fid"
    missing = sorted(expected.keys() - tensors.keys())
    surplus = sorted(tensors.keys() - expected.keys())
    if missing or surplus:
        raise UsageError(
            f"{another}: {len(missing)} of {len(expected)} tensors are missing and "
            f"{len(surplus)} are unexpected, such as {(missing + surplus)[0]}"
        )
    variables = {}
    for name, (place, shape) in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise UsageError(f"{another}: {name} has shape {tensor.shape} and must have {shape}")
        if tensor.dtype != np.float32:
            raise UsageError(f"{path}: {name} has type {tensor.dtype} and must be float32")
        if not np.isfinite(tensor).all():
            raise UsageError(f"{path} is damaged: {name} holds NaN or infinity")
        variables[place] = tensor if tensor.ndim == 1 else np.moveaxis(tensor, (1, 0), (-2, -1))
    return traverse_util.unflatten_dict(variables), tree_sha256(tensors)


@functools.cache
def _expected() -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Returns by PyTorch's names each tensor's path in Flax's variables and its PyTorch shape."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    variables = jax.eval_shape(Inception().init, key_of_seed(0), images)
    expected = {}
    for place, leaf in traverse_util.flatten_dict(variables).items():
        *size, last = leaf.shape
        shape = (last, size[-1], *size[:-1]) if size else (last,)
        expected[".".join((*place[1:-1], NAMES[place[-1]]))] = place, shape
    return expected


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors in a file, by name."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file: give the file of Inception's weights")
    if path.suffix not in (".safetensors", ".pth"):
        raise UsageError(f"{path}: Inception's weights must be a .safetensors or a .pth file")
    try:
        _check_name(path)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        torch = _torch(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    except (UsageError, ImportError):
        raise
    except Exception as error:  # A damaged file raises errors of many types.
        raise UsageError(
            f"{path} cannot be read: it is damaged, or holds something other than named tensors "
            f"({type(error).__name__})"
        ) from error


def _check_name(path: Path) -> None:
    """Raises `UsageError` if the name ends in hash digits, as in PyTorch Hub, that are wrong."""
    digits = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if digits:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(digits[1]):
            raise UsageError(
                f"{path} is damaged, download it again: its SHA-256 begins with "
                f"{found[: len(digits[1])]}, which differs from its name"
            )


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{path} needs torch: pip install torch, or convert it on a machine that has torch, "
            "by safetensors.torch.save_file(torch.load('x.pth'), 'x.safetensors')"
        ) from error
    return torch
