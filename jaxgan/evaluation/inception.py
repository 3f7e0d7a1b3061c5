"""The Inception-v3 of FID: TensorFlow's network of 2015-12-05, computed as in pytorch-fid.

Layers are named as in pytorch-fid's weights, see `jaxgan.evaluation.inception_weights`.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import UsageError

SIZE = 299
CLASSES = 1008
PRECISION = "highest"
"""Accelerators use fewer bits by default, so features would depend on the device."""

POINT, ROW, COLUMN = (1, 1), (1, 7), (7, 1)
FORK = (384, 1, 3), (384, 3, 1)
"""Two parallel layers with the same inputs, whose outputs are concatenated."""

HALVED = 3, 3, 2, "VALID"


def average(x: jax.Array) -> jax.Array:
    """Returns the 3x3 averages of images `[n, h, w, c]`, excluding padding from the means."""
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def maximum(x: jax.Array) -> jax.Array:
    """Returns the 3x3 maxima of images `[n, h, w, c]`."""
    return nn.max_pool(x, (3, 3), padding="SAME")


def downsample(x: jax.Array) -> jax.Array:
    """Returns 3x3 maxima with stride 2 and no padding: `[n, (h - 1) // 2, (w - 1) // 2, c]`."""
    return nn.max_pool(x, (3, 3), (2, 2))


# A block consists of its branches, each a name followed by layers, of the pooling function of the
# last branch, and of the number of features of the convolution after pooling, if there is one.


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
    downsample,
)
D = (
    (
        ("branch3x3", (192, *POINT), (320, *HALVED)),
        ("branch7x7x3", (192, *POINT), (192, *ROW), (192, *COLUMN), (192, *HALVED)),
    ),
    downsample,
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
    """A convolution, batch norm with running statistics, and a ReLU."""

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
    """Parallel branches whose outputs are concatenated along the channels, the pooling branch last.

    pooled: number of features of the convolution after pooling, 0 for no convolution.
    """

    branches: tuple
    pool: Callable
    pooled: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images `[n, h', w', features of all branches]`."""
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
    """Inception-v3 (Szegedy et al. 2015) as in TensorFlow's network of 2015-12-05.

    That network has 1008 classes, and max instead of average pooling in the last block.
    """

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns features `[n, 2048]` and logits `[n, 1008]` of images `[n, 299, 299, 3]`.

        images: in [-1, 1]. The logits do not include the bias of the last layer, as in the authors'
        code of the Inception score (Salimans et al. 2016).
        """
        x = Layer(32, *HALVED, name="Conv2d_1a_3x3")(images)
        x = Layer(32, 3, 3, padding="VALID", name="Conv2d_2a_3x3")(x)
        x = downsample(Layer(64, 3, 3, name="Conv2d_2b_3x3")(x))
        x = Layer(80, *POINT, name="Conv2d_3b_1x1")(x)
        x = downsample(Layer(192, 3, 3, padding="VALID", name="Conv2d_4a_3x3")(x))
        for name, block in BLOCKS.items():
            x = Block(*block, name=name)(x)
        features = x.mean(axis=(1, 2))
        return features, nn.Dense(CLASSES, use_bias=False, precision=PRECISION, name="fc")(features)


def resize(images: jax.Array) -> jax.Array:
    """Returns images `[n, 299, 299, 3]` resized from images `[n, h, w, 1 or 3]`, both in [-1, 1].

    The interpolation is bilinear, without antialiasing, as in pytorch-fid. Before it, values are
    rounded to 256 levels, as in saved images. Gray images get three equal channels.
    Raises `UsageError` for other numbers of channels.
    """
    n, _, _, channels = images.shape
    if channels not in (1, 3):
        raise UsageError(f"Inception needs images of 1 or 3 channels, and these have {channels}")
    x = jnp.clip(jnp.round((images.astype(jnp.float32) + 1) * 127.5), 0, 255) / 127.5 - 1
    x = jax.image.resize(x, (n, SIZE, SIZE, channels), "bilinear", antialias=False)
    return jnp.broadcast_to(x, (n, SIZE, SIZE, 3))


def make_extractor(variables: dict) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns `images [n, h, w, c] -> (features [n, 2048], logits [n, 1008])`, compiled.

    images: in [-1, 1], of any size, with 1 or 3 channels. They are processed in one batch.
    """
    return functools.partial(_apply, jax.device_put(variables))


@jax.jit
def _apply(variables: dict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    return Inception().apply(variables, resize(images))
