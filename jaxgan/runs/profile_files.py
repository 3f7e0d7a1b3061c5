"""The snapshots of a run's averages with profiles, and averages of other widths made from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import store
from jaxgan.errors import RunError, UsageError, first_line, system_reason
from jaxgan.profiles import solve_weights

FOLDER = "profiles"
NAMES = "[0-9]*.safetensors"
LARGEST_ERROR = 0.1
"""The largest difference of a profile from the wanted one, relative to the norm of the latter."""


def save_profiles(
    run: Path, taken: np.ndarray, profiles: Sequence[Any], widths: Sequence[float]
) -> None:
    """Writes a snapshot of averages with profiles. Raises `OSError`.

    taken: number of steps, with several members of each. profiles: parameters, with several members
    with a leading axis. widths: relative, of each average.
    """
    arrays = {str(i): jax.tree.map(np.asarray, each) for i, each in enumerate(profiles)}
    path = run / FOLDER / f"{np.max(taken):09d}.safetensors"
    store.save(path, arrays, {"steps": np.asarray(taken).tolist(), "widths": list(widths)})


def last_snapshot(run: Path) -> int:
    """Returns the step of the last snapshot of a run, 0 if there is none."""
    return max((int(file.stem) for file in (run / FOLDER).glob(NAMES)), default=0)


def make_average(run: Path, width: float, index: int = 0) -> tuple[Any, int]:
    """Returns the parameters of an average of any width up to the last snapshot, and its step.

    width: relative, see `jaxgan.profiles`. index: of the member.
    Raises `UsageError` for a run without snapshots, or with too few for the width, and `RunError`
    for a snapshot that is damaged, and for a member without any.
    """
    files = sorted((run / FOLDER).glob(NAMES))
    if not files:
        raise UsageError(
            f"{run} has no snapshots of averages: train with --ema-profiles 0.05 0.1, from which "
            "averages of any width can be made"
        )
    steps = {file: _read(file).about["steps"] for file in files}
    several = isinstance(steps[files[0]], list)
    # A member that was frozen has the same snapshot several times.
    by_step = {own[index] if several else own: file for file, own in steps.items()}
    by_step.pop(0, None)
    if not by_step:
        raise RunError(f"{run} has no average of a member that was frozen in its first step")
    widths = _read(files[0]).about["widths"]
    stored = [(step, own) for step in by_step for own in widths]
    last = max(by_step)
    found, error = solve_weights(stored, (last, width))
    if error > LARGEST_ERROR:
        raise UsageError(
            f"an average of width {width:g} cannot be made from {len(by_step)} snapshots of width "
            f"{' and '.join(f'{own:g}' for own in widths)} (its profile would differ by "
            f"{error:.0%}): choose a width nearer to these or, in training, a smaller "
            "--checkpoint-every"
        )
    weights = iter(found)
    total: Any = None
    for file in by_step.values():
        content = _read(file)
        for i in range(len(widths)):
            weight, leaves = next(weights), content.arrays[str(i)]
            own = jax.tree.map(lambda leaf: leaf[index], leaves) if several else leaves
            part = jax.tree.map(lambda leaf, weight=weight: weight * np.float64(leaf), own)
            total = part if total is None else jax.tree.map(np.add, total, part)
    return jax.tree.map(np.float32, total), last


def _read(file: Path) -> store.Stored:
    try:
        return store.load(file)
    except (OSError, ValueError) as error:
        reason = system_reason(error) or f"it is damaged: {first_line(error)}"
        raise RunError(f"{file} cannot be read ({reason})") from error
