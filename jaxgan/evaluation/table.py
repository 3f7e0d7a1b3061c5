"""The table of metrics that `jaxgan.evaluate` prints."""

from jaxgan.metrics import BY_NAME

ARROWS = {"lower": " ↓", "higher": " ↑", "": ""}
"""Which values of a metric are better."""


def format_table(results: dict[str, dict]) -> str:
    """Returns a table with real data of the training split first, and the protocol below it.

    results: by run, the content of its `evaluation.json`.
    """
    first = next(iter(results.values()))
    found = [first["real"], *(result["mean"] for result in results.values())]
    names = [name for name in BY_NAME if any(name in scores for scores in found)]
    lines = [["", *(f"{BY_NAME[name].title}{ARROWS[BY_NAME[name].direction]}" for name in names)]]
    lines.append(["real (training split)", *(format_cell(name, first["real"]) for name in names)])
    for run, result in results.items():
        cells = (format_cell(name, result["mean"], result["std"]) for name in names)
        lines.append([run, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    protocol = first["protocol"]
    over = " and ".join(sorted({result["deviation_over"] for result in results.values()}))
    modes = protocol["samples_of_modes"]
    more = "" if modes == protocol["samples"] else f" (modes and KL: {modes:,})"
    below = (
        f"{protocol['samples']:,} samples{more} against the {protocol['split']} split, "
        f"features: {protocol['features']} {protocol['digest'][:12]}; deviations over {over}"
    )
    remarks = dict.fromkeys(line for result in results.values() for line in result["remarks"])
    return "\n".join([text, below, *remarks])


def format_cell(name: str, mean: dict, std: dict | None = None) -> str:
    """Returns a metric, with its standard deviation if there is one; "-" if there is no value."""
    if name not in mean:
        return "-"
    return BY_NAME[name].format(mean[name], (std or {}).get(name))
