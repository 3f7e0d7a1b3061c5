"""Inception-v3 as FID is defined with it: TensorFlow's weights of 2015-12-05, converted to PyTorch.

The weights are a file that the user names: pytorch-fid's pt_inception-2015-12-05-6726825d.pth, of
https://github.com/mseitzer/pytorch-fid/releases, or the same tensors as .safetensors. The network
is the one that pytorch-fid runs them in, and its layers have PyTorch's names.
"""

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxgan.checkpoint import sha256
from jaxgan.errors import UsageError
from jaxgan.keys import key_of_seed

FILE = "pt_inception-2015-12-05-6726825d.pth"
SIZE = 299
CLASSES = 1008
PRECISION = "highest"
"""An accelerator's own choice is of fewer bits, and the features would depend on the device."""

POINT, ROW, COLUMN = (1, 1), (1, 7), (7, 1)
FORK = (384, 1, 3), (384, 3, 1)
"""Two layers of the same inputs, side by side."""

HALVED = 3, 3, 2, "VALID"


def average(x: jax.Array) -> jax.Array:
    """Returns the 3x3 averages of images `[n, h, w, c]`; padding counts for nothing."""
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def maximum(x: jax.Array) -> jax.Array:
    """Returns the 3x3 maxima of images `[n, h, w, c]`."""
    return nn.max_pool(x, (3, 3), padding="SAME")


def halved(x: jax.Array) -> jax.Array:
    """Returns every other 3x3 maximum, without padding: `[n, (h - 1) // 2, (w - 1) // 2, c]`."""
    return nn.max_pool(x, (3, 3), (2, 2))


# Each block: its branches, by name and with their layers; how the last branch pools, and the
# features of its convolution, if it has one.


def _a(pooled: int) -> tuple:
    branches = (
        ("branch1x1", (64, *POINT)),
        ("branch5x5", (48, *POINT), (64, 5, 5)),
        ("branch3x3dbl", (64, *POINT), (96, 3, 3), (96, 3, 3)),
    )
    return branches, average, pooled


def _c(c: int) -> tuple:
    double = (c, *POINT), (c, *COLUMN), (c, *ROW), (c, *COLUMN), (192, *ROW)
    branches = (
        ("branch1x1", (192, *POINT)),
        ("branch7x7", (c, *POINT), (c, *ROW), (192, *COLUMN)),
        ("branch7x7dbl", *double),
    )
    return branches, average, 192


def _e(pool: Callable) -> tuple:
    branches = (
        ("branch1x1", (320, *POINT)),
        ("branch3x3", (384, *POINT), FORK),
        ("branch3x3dbl", (448, *POINT), (384, 3, 3), FORK),
    )
    return branches, pool, 192


B = (
    (
        ("branch3x3", (384, *HALVED)),
        ("branch3x3dbl", (64, *POINT), (96, 3, 3), (96, *HALVED)),
    ),
    halved,
)
D = (
    (
        ("branch3x3", (192, *POINT), (320, *HALVED)),
        ("branch7x7x3", (192, *POINT), (192, *ROW), (192, *COLUMN), (192, *HALVED)),
    ),
    halved,
)
BLOCKS = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": B,
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": D,
    "Mixed_7b": _e(average),
    "Mixed_7c": _e(maximum),
}


class Layer(nn.Module):
    """A convolution, batch norm with the statistics of the weights' training, and a ReLU."""

    features: int
    height: int
    width: int
    strides: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h', w', features]`."""
        x = nn.Conv(
            self.features,
            (self.height, self.width),
            self.strides,
            self.padding,
            use_bias=False,
            precision=PRECISION,
            name="conv",
        )(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


class Block(nn.Module):
    """Branches of the same images, one after the other in the channels, the pooled ones last.

    pooled: features of the convolution after pooling, 0 where there is none.
    """

    branches: tuple
    pool: Callable
    pooled: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h', w', features of all]`."""
        parts = [self._branch(x, *branch) for branch in self.branches]
        pool = self.pool(x)
        parts.append(Layer(self.pooled, *POINT, name="branch_pool")(pool) if self.pooled else pool)
        return jnp.concatenate(parts, axis=-1)

    def _branch(self, x: jax.Array, name: str, *layers: tuple) -> jax.Array:
        for i, layer in enumerate(layers, 1):
            numbered = f"{name}_{i}" if len(layers) > 1 else name
            if layer == FORK:
                sides = zip("ab", FORK, strict=True)
                sides = [Layer(*side, name=numbered + letter)(x) for letter, side in sides]
                x = jnp.concatenate(sides, axis=-1)
            else:
                x = Layer(*layer, name=numbered)(x)
        return x


class Inception(nn.Module):
    """Inception-v3 (Szegedy et al. 2015) with what TensorFlow's of 2015-12-05 has of its own.

    That is: 1008 classes, and maxima, not averages, in the last block.
    """

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns features `[n, 2048]` and logits `[n, 1008]` of images `[n, 299, 299, 3]`.

        images: in [-1, 1]. The logits are without the bias of the last layer, as the Inception
        score is defined with them (Salimans et al. 2016, their code).
        """
        x = Layer(32, *HALVED, name="Conv2d_1a_3x3")(images)
        x = Layer(32, 3, 3, padding="VALID", name="Conv2d_2a_3x3")(x)
        x = halved(Layer(64, 3, 3, name="Conv2d_2b_3x3")(x))
        x = Layer(80, *POINT, name="Conv2d_3b_1x1")(x)
        x = halved(Layer(192, 3, 3, padding="VALID", name="Conv2d_4a_3x3")(x))
        for name, block in BLOCKS.items():
            x = Block(*block, name=name)(x)
        features = x.mean(axis=(1, 2))
        return features, nn.Dense(CLASSES, use_bias=False, precision=PRECISION, name="fc")(features)


def resized(images: jax.Array) -> jax.Array:
    """Returns images `[n, 299, 299, 3]` of images `[n, h, w, 1 or 3]`, both in [-1, 1].

    Bilinear, and without antialiasing where they are larger, as in pytorch-fid. They are rounded
    to 256 values before, as if they had been saved. Greys become equal channels.
    Raises `UsageError` for other numbers of channels.
    """
    n, _, _, channels = images.shape
    if channels not in (1, 3):
        raise UsageError(f"Inception sees images of 1 or 3 channels, and these have {channels}")
    x = jnp.clip(jnp.round((images.astype(jnp.float32) + 1) * 127.5), 0, 255) / 127.5 - 1
    x = jax.image.resize(x, (n, SIZE, SIZE, channels), "bilinear", antialias=False)
    return jnp.broadcast_to(x, (n, SIZE, SIZE, 3))


def features(variables: dict) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns `images [n, h, w, c] -> (features [n, 2048], logits [n, 1008])`, compiled.

    images: in [-1, 1], of any size, with 1 or 3 channels. It looks at all of them at once.
    """
    return functools.partial(_look, jax.device_put(variables))


@jax.jit
def _look(variables: dict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    return Inception().apply(variables, resized(images))


NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""Flax's names, and PyTorch's."""


def load(path: str | Path) -> tuple[dict, str]:
    """Returns Flax's variables of a file of weights, and the SHA-256 of its tensors.

    path: `.safetensors`, or `.pth` where torch is installed, with PyTorch's names and layouts. The
        bias of the last layer may be in it, as may auxiliary logits: they are not used, and not
        in the digest. The same weights have the same digest in both kinds of file.
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
            f"{another}: {len(missing)} of its {len(expected)} tensors are missing and "
            f"{len(surplus)} are too many, such as {(missing + surplus)[0]}"
        )
    variables = {}
    for name, (place, shape) in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise UsageError(f"{another}: {name} is of shape {tensor.shape} and must be {shape}")
        if tensor.dtype != np.float32:
            raise UsageError(f"{path}: {name} is {tensor.dtype} and must be float32")
        if not np.isfinite(tensor).all():
            raise UsageError(f"{path} is damaged: {name} holds NaN or infinity")
        variables[place] = tensor if tensor.ndim == 1 else np.moveaxis(tensor, (1, 0), (-2, -1))
    return traverse_util.unflatten_dict(variables), sha256(tensors)


@functools.cache
def _expected() -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Returns, by PyTorch's names, where tensors go in Flax's variables, and PyTorch's shapes."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    variables = jax.eval_shape(Inception().init, key_of_seed(0), images)
    expected = {}
    for place, leaf in traverse_util.flatten_dict(variables).items():
        *size, last = leaf.shape
        shape = (last, size[-1], *size[:-1]) if size else (last,)
        expected[".".join((*place[1:-1], NAMES[place[-1]]))] = place, shape
    return expected


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors in a file by their names."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file of Inception's weights")
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
    """Raises `UsageError` where a name ends in digits, as in PyTorch's hub, and they are wrong."""
    digits = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if digits:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(digits[1]):
            raise UsageError(
                f"{path} is damaged, download it again: its SHA-256 begins with "
                f"{found[: len(digits[1])]} and not as its name says"
            )


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{path} can be read only with torch: pip install torch, or convert it where torch is, "
            "by safetensors.torch.save_file(torch.load('x.pth'), 'x.safetensors')"
        ) from error
    return torch
