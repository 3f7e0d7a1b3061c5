"""Names that tell several runs apart."""

from collections.abc import Sequence
from pathlib import Path

from jaxgan.errors import UsageError


def name_runs(runs: Sequence[Path]) -> list[str]:
    """Returns a name of each run: the last parts of its path, as many as make all names different.

    Raises `UsageError` if a run is given twice.
    """
    parts = [run.resolve().parts for run in runs]
    if len({*parts}) < len(parts):
        raise UsageError("a run directory is given twice")
    names: list[str] = []
    for count in range(1, 1 + max(map(len, parts), default=0)):
        names = ["/".join(part.strip("/") or "root" for part in each[-count:]) for each in parts]
        if len({*names}) == len(names):
            break
    return names
