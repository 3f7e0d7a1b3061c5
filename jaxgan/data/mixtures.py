"""Two-dimensional mixtures of Gaussians, with new points at every step."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.arrays import Batch
from jaxgan.keys import stream


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians of equal weight.

    means: float32 `[modes, 2]`. scale: their standard deviation.
    """

    means: jax.Array
    scale: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    fingerprint: str = dataclasses.field(metadata={"static": True})
    bounded = False
    on_disk = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point, `(2,)`."""
        return tuple(self.means.shape[1:])

    @property
    def num_examples(self) -> int | None:
        """None: the number of points is unlimited."""
        return None

    def describe(self) -> str:
        """Returns a short description of the data set."""
        return f"{len(self.means)} Gaussians in the plane"

    @property
    def num_classes(self) -> int:
        """The number of Gaussians; the label of a point is the index of its Gaussian."""
        return len(self.means)

    @property
    def class_frequencies(self) -> np.ndarray:
        """The frequency of each Gaussian, float64 `[num_classes]`, all equal."""
        return np.full(self.num_classes, 1 / self.num_classes)

    def check_size(self, size: int) -> None:
        """Does nothing: there are points for steps of any size."""

    def batch(self, key: jax.Array, step: jax.Array, size: int) -> Batch:
        """Returns the points of a step, float32 `[size, 2]`, and their labels, int32 `[size]`."""
        mode_key, noise_key = jax.random.split(jax.random.fold_in(stream(key, "points"), step))
        modes = jax.random.randint(mode_key, (size,), 0, len(self.means))
        points = self.means[modes] + self.scale * jax.random.normal(noise_key, (size, 2))
        return Batch(points, modes)


def ring() -> Mixture:
    """Returns 8 Gaussians on the unit circle, standard deviation 0.01 (PacGAN, Lin et al. 2018)."""
    angles = 2 * np.pi * np.arange(8) / 8
    return _mixture("ring", np.stack([np.cos(angles), np.sin(angles)], axis=-1), 0.01)


def grid() -> Mixture:
    """Returns 25 Gaussians at {-4, -2, 0, 2, 4}^2, standard deviation 0.05 (PacGAN)."""
    axis = np.arange(-4, 5, 2)
    return _mixture("grid", np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), 0.05)


def _mixture(name: str, means: np.ndarray, scale: float) -> Mixture:
    means, scale = means.astype(np.float32), np.float32(scale)
    fingerprint = hashlib.sha256(means.tobytes() + scale.tobytes()).hexdigest()
    return Mixture(jnp.asarray(means), jnp.asarray(scale), name, fingerprint)
