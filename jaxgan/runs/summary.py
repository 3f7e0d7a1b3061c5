"""The results of a run in numbers: the content of `summary.json`."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from jaxgan.runs.axes import labels_of, names_of
from jaxgan.runs.config import Config
from jaxgan.runs.metrics_log import member_of
from jaxgan.state import FeedbackMetrics


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


def summarize_members(
    config: Config, rows: Sequence[dict], taken: np.ndarray, frozen: dict[int | str, str]
) -> dict:
    """Returns the last metrics of each member and, of seeds alone, their mean and deviation.

    "seeds" has the results by seed or, with settings of several values, "members" by name.
    rows: the lines of `metrics.jsonl`. taken: `[members]`, the numbers of steps taken. frozen: why
    a member was frozen; frozen members do not count in the mean.
    """
    last = {member_of(row): row for row in rows}
    results, finals = {}, []
    for member, label, steps in zip(
        names_of(config), labels_of(config), taken.tolist(), strict=True
    ):
        final = {k: v for k, v in last.get(member, {}).items() if k not in label}
        results[str(member)] = {"steps": steps, "final": final}
        if steps < taken.max():
            results[str(member)]["diverged"] = frozen.get(member, f"at step {steps + 1}")
        elif final:
            finals.append(final)
    if config.axes:
        return {"members": results}
    return {"seeds": results, **mean_and_std(finals, FeedbackMetrics._fields)}
