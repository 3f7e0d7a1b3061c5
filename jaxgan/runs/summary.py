"""The results of a run in numbers: the content of `summary.json`."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from jaxgan.gan import Metrics


def mean_and_std(
    rows: Sequence[dict[str, float]], names: Iterable[str] | None = None
) -> dict[str, dict[str, float]]:
    """Returns "mean" and "std", by name, over rows such as seeds or repetitions.

    The standard deviation is that of a sample (n - 1); a single value has none.
    names: those to include if every row has them. By default every name is included, over the rows
    that have it.
    """
    if names is None:
        names = dict.fromkeys(name for row in rows for name in row)
    else:
        names = [name for name in names if rows and all(name in row for row in rows)]
    columns = {name: [row[name] for row in rows if name in row] for name in names}
    return {
        "mean": {name: statistics.fmean(values) for name, values in columns.items()},
        "std": {name: statistics.stdev(v) for name, v in columns.items() if len(v) > 1},
    }


def summarize_seeds(
    rows: Sequence[dict], seeds: Sequence[int], taken: np.ndarray, frozen: dict[int, str]
) -> dict:
    """Returns the last metrics of each seed, and their mean and deviation over the seeds.

    rows: the lines of `metrics.jsonl`. taken: `[seeds]`, the numbers of steps taken. frozen: why a
    seed was frozen; frozen seeds do not count in the mean.
    """
    last = {row["seed"]: row for row in rows}
    results, finals = {}, []
    for seed, steps in zip(seeds, taken.tolist(), strict=True):
        final = {k: v for k, v in last.get(seed, {}).items() if k != "seed"}
        results[str(seed)] = {"steps": steps, "final": final}
        if steps < taken.max():
            results[str(seed)]["diverged"] = frozen.get(seed, f"at step {steps + 1}")
        elif final:
            finals.append(final)
    return {"seeds": results, **mean_and_std(finals, Metrics._fields)}
