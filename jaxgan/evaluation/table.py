"""The table of metrics that `jaxgan.evaluate` prints."""

from collections.abc import Sequence

from jaxgan.metrics import BY_NAME

ARROWS = {"lower": " ↓", "higher": " ↑", "": ""}
"""Which values of a metric are better."""


def format_table(results: dict[str, dict]) -> str:
    """Returns a table with real data of the other split first, and the protocol below it.

    results: by run, the content of its `evaluation.json`.
    """
    first = next(iter(results.values()))
    other = "test" if first["protocol"]["split"] == "train" else "training"
    found = [first["real"], *(result["mean"] for result in results.values())]
    names = [name for name in BY_NAME if any(name in scores for scores in found)]
    lines = [["", *(f"{BY_NAME[name].title}{ARROWS[BY_NAME[name].direction]}" for name in names)]]
    lines.append([f"real ({other} split)", *(format_cell(name, first["real"]) for name in names)])
    for run, result in results.items():
        cells = (format_cell(name, result["mean"], result["std"]) for name in names)
        lines.append([run, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    remarks = dict.fromkeys(line for result in results.values() for line in result["remarks"])
    return "\n".join([text, protocol_line(list(results.values())), *remarks])


def protocol_line(results: Sequence[dict]) -> str:
    """Returns how results, the content of `evaluation.json`, were computed, in one line."""
    protocol = results[0]["protocol"]
    over = {result["deviation_over"] for result in results} - {None}
    deviations = f"; deviations over {' and '.join(sorted(over))}" if over else ""
    split = {"train": "training"}.get(protocol["split"], protocol["split"])
    against = f"the {split} split"
    if (digest := protocol.get("statistics")) is not None:
        against = f"the statistics {digest[:12]}"
    modes = protocol["samples_of_modes"]
    more = "" if modes == protocol["samples"] else f" (modes and KL: {modes:,})"
    return (
        f"{protocol['samples']:,} samples{more} against {against}, "
        f"features: {protocol['features']} {protocol['digest'][:12]}{deviations}"
    )


def format_cell(name: str, mean: dict, std: dict | None = None) -> str:
    """Returns a metric, with its standard deviation if there is one; "-" if there is no value."""
    if name not in mean:
        return "-"
    return BY_NAME[name].format(mean[name], (std or {}).get(name))
