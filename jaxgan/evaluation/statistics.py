"""The mean and covariance of real features in files, in the layout of pytorch-fid."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data.array_file import open_npz
from jaxgan.errors import UsageError
from jaxgan.files import replacing
from jaxgan.metrics.fid import Gaussian
from jaxgan.trees import tree_sha256

MEAN, COVARIANCE = "mu", "sigma"
"""The names of the arrays, of shape `[d]` and `[d, d]`."""


class Statistics(NamedTuple):
    """The content of a file: the mean and covariance, and the SHA-256 of the two arrays."""

    gaussian: Gaussian
    digest: str


def check_name(path: Path) -> None:
    """Raises `UsageError` for a file to be written whose name does not end in .npz."""
    if path.suffix != ".npz":
        raise UsageError(f"--write-statistics {path} must end in .npz")


def write_statistics(path: Path, gaussian: Gaussian) -> str:
    """Writes a file of statistics, and returns its digest. Raises `OSError`."""
    arrays = {MEAN: gaussian.mean, COVARIANCE: gaussian.covariance}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return tree_sha256(arrays)


def read_statistics(path: Path) -> Statistics:
    """Returns the content of a file of statistics, in float64.

    Raises `UsageError` for a file that is missing, damaged or has other arrays.
    """
    what = f"--read-statistics {path}"
    if not path.is_file():
        raise UsageError(f"{what} does not exist: give an .npz file with the arrays mu and sigma")
    arrays, others = open_npz(path, {MEAN, COVARIANCE})
    if missing := [name for name in (MEAN, COVARIANCE) if name not in arrays]:
        found = ", ".join([*arrays, *others]) or "no arrays"
        raise UsageError(
            f"{what} must have the arrays mu and sigma: {missing[0]} is missing, and it has {found}"
        )
    mean, covariance = (
        array if isinstance(array, np.ndarray) else array.read()
        for array in (arrays[MEAN], arrays[COVARIANCE])
    )
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise UsageError(
            f"{what} must have mu of shape [d] and sigma of shape [d, d], and they have "
            f"{mean.shape} and {covariance.shape}"
        )
    for name, array in ((MEAN, mean), (COVARIANCE, covariance)):
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UsageError(f"{what}: {name} must be finite floating-point numbers")
    gaussian = Gaussian(mean.astype(np.float64), covariance.astype(np.float64))
    return Statistics(gaussian, tree_sha256({MEAN: gaussian.mean, COVARIANCE: gaussian.covariance}))
