"""Whether training again gives the state that a run has, and by how much it differs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.trees import leaves_by_path, tree_sha256


class Difference(NamedTuple):
    """The difference of two states.

    path, largest: of the leaf with the largest absolute difference of a value, and that difference.
    share: the norm of the difference of all floating-point values, relative to the norm of what
    training changed in them.
    """

    path: str
    largest: float
    share: float


class Verification(NamedTuple):
    """What training again has shown.

    name: of the run. begin, end: the steps that were trained again. expected, found: digests of the
    state of the run and of that found. difference: of the two states, None if they are the same or
    only the digest of one is known. changes: what differs from when the run was trained.
    """

    name: str
    begin: int
    end: int
    expected: str
    found: str
    difference: Difference | None
    changes: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether the states are the same, bit for bit."""
        return self.expected == self.found

    def describe(self) -> str:
        """Returns the result as a sentence or two."""
        again = f"{self.name}: steps {self.begin} to {self.end}, trained again, give"
        if self.same:
            return f"{again} the same state, bit for bit (state_sha256 {self.found})"
        reason = (
            "versions, device and environment are those recorded: files of the run were changed, "
            "or it is not exactly repeatable on this device (on a GPU, only with --deterministic)"
        )
        if self.changes:
            reason = f"what differs from when it was trained: {'; '.join(self.changes)}"
        if self.difference is None:
            return (
                f"{again} another state ({self.found}, not {self.expected}), unless the digest is "
                f"of another run; {reason}"
            )
        path, largest, share = self.difference
        return (
            f"{again} another state: values differ by at most {largest:.2g} (in {path}), and the "
            f"norm of all differences is {share:.2g} of the norm of what these steps changed; "
            f"{reason}"
        )


def compare_states(before: Any, expected: Any, found: Any) -> Difference | None:
    """Returns how a state that was found differs from the expected one; None if it does not.

    before: the state that both were trained from.
    """
    if tree_sha256(expected) == tree_sha256(found):
        return None
    start, found = leaves_by_path(before), leaves_by_path(found)
    largest, error, change = {}, 0.0, 0.0
    for path, leaf in leaves_by_path(expected).items():
        values, others = np.asarray(leaf, np.float64), np.asarray(found[path], np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.abs(values - others)
            apart = np.where(np.isnan(values) & np.isnan(others) | (values == others), 0, apart)
        apart = np.where(np.isnan(apart), np.inf, apart)
        largest[path] = float(apart.max(initial=0))
        if not np.issubdtype(leaf.dtype, np.floating):
            continue
        error += float(np.square(apart).sum())
        change += float(np.square(values - np.asarray(start[path], np.float64)).sum())
    path = max(largest, key=largest.get)
    return Difference(path, largest[path], float(np.sqrt(error / max(change, 1e-300))))
