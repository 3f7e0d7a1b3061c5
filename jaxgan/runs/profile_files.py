"""The snapshots of a run's averages with profiles, and averages of other widths made from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import store
from jaxgan.errors import RunError, UsageError, first_line, system_reason
from jaxgan.profiles import combine, solve_weights

FOLDER = "profiles"


def save_profiles(run: Path, step: int, profiles: Sequence[Any], widths: Sequence[float]) -> None:
    """Writes a snapshot of averages with profiles. Raises `OSError`.

    profiles: parameters, with several members with a leading axis. widths: relative, of each.
    """
    arrays = {str(i): jax.tree.map(np.asarray, each) for i, each in enumerate(profiles)}
    path = run / FOLDER / f"{step:09d}.safetensors"
    store.save(path, arrays, {"step": step, "widths": list(widths)})


def make_average(run: Path, width: float, index: int | None = None) -> tuple[Any, int]:
    """Returns the parameters of an average of any width up to the last snapshot, and its step.

    width: relative, see `jaxgan.profiles`. index: of the member, None for a single run.
    Raises `UsageError` for a run without snapshots, and `RunError` for one that is damaged.
    """
    files = sorted((run / FOLDER).glob("*.safetensors"))
    if not files:
        raise UsageError(
            f"{run} has no snapshots of averages: train with --ema-profiles 0.05 0.1, from which "
            "averages of any width can be made"
        )
    found, averages = [], []
    for file in files:
        try:
            stored = store.load(file)
        except (OSError, ValueError) as error:
            reason = system_reason(error) or f"it is damaged: {first_line(error)}"
            raise RunError(f"{file} cannot be read ({reason})") from error
        for i, own in enumerate(stored.about["widths"]):
            found.append((stored.about["step"], own))
            leaves = stored.arrays[str(i)]
            averages.append(leaves if index is None else jax.tree.map(lambda x: x[index], leaves))
    last = found[-1][0]
    return combine(averages, solve_weights(found, (last, width))), last
