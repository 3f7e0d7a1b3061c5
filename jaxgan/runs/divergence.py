"""Values that are not finite: the end of a single run, and of a member among several."""

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


def find_frozen(
    chunk: Chunk, metrics: dict[str, np.ndarray], members: Sequence[int | str]
) -> Iterator[tuple[int | str, int, str]]:
    """Yields each frozen member, the last step that it has taken, and the reason.

    metrics: `[members, n]`, by name.
    """
    taken = np.asarray(chunk.taken)
    for k in np.flatnonzero(taken < chunk.last):
        last = int(taken[k])
        i = max(last + 1 - chunk.first, 0)
        values = {name: values[k, i] for name, values in metrics.items()}
        bad = [f"{name} is {value}" for name, value in values.items() if not np.isfinite(value)]
        what = bad[0] if bad else "the state is not finite"
        yield members[k], last, f"{what} at step {last + 1}"


def describe_member(member: int | str) -> str:
    """Returns how messages name a member."""
    return f"seed {member}" if isinstance(member, int) else f"member {member}"


def describe_freeze(member: int | str, last: int, reason: str) -> str:
    """Returns a message about a member that was frozen after the step `last`."""
    which = describe_member(member)
    return (
        f"{which} diverged: {reason}; it keeps its state after step {last}, and the other "
        f"{which.split()[0]}s continue"
    )


def describe_all(frozen: dict[int | str, str]) -> str:
    """Returns the reasons of all members, in one line."""
    reasons = "; ".join(f"{describe_member(each)}: {reason}" for each, reason in frozen.items())
    kind = describe_member(next(iter(frozen))).split()[0]
    return f"every {kind} ({textwrap.shorten(reasons, 400, placeholder=' ...')})"
