"""The table of scores that `jaxgan.evaluate` prints."""

COLUMNS = {
    "fid": "FID",
    "kid": "KID x 1000",
    "score": "score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_kl": "class KL",
    "asked_accuracy": "asked",
    "cas": "CAS",
    "modes": "modes",
    "high_quality": "high quality",
    "reverse_kl": "reverse KL",
    "covariance_ratio": "covariance",
    "kl_uniform": "KL uniform",
    "kl_data": "KL data",
    "kl_corrected": "KL corrected",
    "floor": "KL floor",
}
"""Titles of scores, in the order of the table."""


def table(results: dict[str, dict]) -> str:
    """Returns a table of runs, real data of the training split first, and the protocol below."""
    first = next(iter(results.values()))
    found = [first["real"], *(result["mean"] for result in results.values())]
    names = [name for name in COLUMNS if any(name in scores for scores in found)]
    lines = [["", *(COLUMNS[name] for name in names)]]
    lines.append(["real (training split)", *(cell(name, first["real"]) for name in names)])
    for run, result in results.items():
        lines.append([run, *(cell(name, result["mean"], result["std"]) for name in names)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    protocol = first["protocol"]
    over = " and ".join(sorted({result["deviation_over"] for result in results.values()}))
    modes = protocol["samples_of_modes"]
    counted = "" if modes == protocol["samples"] else f" (modes and KL: {modes:,})"
    below = (
        f"{protocol['samples']:,} samples{counted} against the {protocol['split']} split, "
        f"features: {protocol['features']} {protocol['digest'][:12]}; deviations over {over}"
    )
    remarks = dict.fromkeys(line for result in results.values() for line in result["remarks"])
    return "\n".join([text, below, *remarks])


def cell(name: str, mean: dict, std: dict | None = None) -> str:
    """Returns a score, with its deviation where there is one."""
    if name not in mean:
        return "-"
    scale = 1000 if name == "kid" else 1
    digits = 1 if name == "modes" else 2 if name in ("fid", "kid", "score") else 3
    text = f"{scale * mean[name]:.{digits}f}"
    return f"{text} ± {scale * std[name]:.{digits}f}" if std and name in std else text
