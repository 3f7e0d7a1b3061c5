"""What a report says of settings with several values."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan.files import read_json
from jaxgan.outputs.report_pictures import Picture, embed
from jaxgan.outputs.sweep import PICTURE, SWEEP, describe_table, make_table


class Sweep(NamedTuple):
    """The comparison of the settings of which a run has several values.

    axes: how many columns are settings. rows: cells. caption: what they are. picture: scores
    against each setting.
    """

    name: str
    axes: int
    titles: list[str]
    rows: list[list[str]]
    caption: str
    picture: Picture | None


def gather_sweeps(runs: Sequence[Path]) -> list[Sweep]:
    """Returns the comparisons of settings in the folders of runs that are parts of a sweep.

    runs: those in which settings have several values.
    """
    folders = dict.fromkeys(path.parent for path in runs if not (path / SWEEP).exists())
    return [sweep for folder in folders if (sweep := read_sweep(folder)) is not None]


def read_sweep(folder: Path) -> Sweep | None:
    """Returns the comparison of settings in a folder; None if there is none, or a damaged one."""
    content = read_json(folder / SWEEP)
    try:
        titles, *rows = make_table(content)
        caption, axes = describe_table(content), len(content["axes"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    return Sweep(folder.name, axes, titles, rows, caption, embed(folder / PICTURE))
