"""Values that are not finite: the end of a single run, and of a seed among several."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from jaxgan.parallel.chunks import Chunk


def find_divergence(chunk: Chunk, metrics: dict[str, np.ndarray]) -> str | None:
    """Returns which value of a single run's chunk is not finite, and at which step, else None.

    metrics: `[n]`, by name.
    """
    steps = {name: int(np.argmin(np.isfinite(values))) for name, values in metrics.items()}
    bad = {name: i for name, i in steps.items() if not np.isfinite(metrics[name][i])}
    if bad:
        name = min(bad, key=bad.get)
        return f"{name} is {metrics[name][bad[name]]} at step {chunk.first + bad[name]}"
    for path, is_bad in (chunk.snapshot.non_finite if chunk.snapshot else {}).items():
        if is_bad:
            return f"{path} is not finite at step {chunk.last}"
    return None


def find_frozen_seeds(
    chunk: Chunk, metrics: dict[str, np.ndarray], seeds: Sequence[int]
) -> Iterator[tuple[int, int, str]]:
    """Yields each frozen seed, the last step that it has taken, and the reason.

    metrics: `[seeds, n]`, by name.
    """
    taken = np.asarray(chunk.taken)
    for k in np.flatnonzero(taken < chunk.last):
        last = int(taken[k])
        i = max(last + 1 - chunk.first, 0)
        values = {name: values[k, i] for name, values in metrics.items()}
        bad = [f"{name} is {value}" for name, value in values.items() if not np.isfinite(value)]
        what = bad[0] if bad else "the state is not finite"
        yield seeds[k], last, f"{what} at step {last + 1}"


def describe_all(frozen: dict[int, str]) -> str:
    """Returns the reasons of all seeds, in one line."""
    reasons = "; ".join(f"seed {seed}: {reason}" for seed, reason in frozen.items())
    return f"every seed ({textwrap.shorten(reasons, 400, placeholder=' ...')})"
