"""python -m jaxgan.board: write the metrics and samples of runs for TensorBoard."""

import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxgan.command import run_command
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths, given_path


@dataclasses.dataclass(frozen=True)
class Config:
    """Write event files of TensorBoard: metrics, scores and samples of runs, finished or not.

    It needs tensorboardX: pip install 'jaxgan[board]'. Training itself writes no event files. Run
    it again to show what was added to a run.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """run directories"""
    out: Path | None = None
    """folder to write, with a subfolder for each run; if not given, tensorboard in each run
    directory"""

    def __post_init__(self):
        runs = (self.runs,) if isinstance(self.runs, str | os.PathLike) else self.runs
        object.__setattr__(self, "runs", tuple(given_path(run) for run in runs))
        expand_paths(self, "out")


def main(config: Config) -> list[Path]:
    """Writes event files, and returns the folder of each run.

    Raises `UsageError` for a folder that is not a run directory, and `RunError` for a run that is
    damaged or where tensorboardX is not installed. Then nothing of that run was written.
    """
    if not config.runs:
        raise UsageError("name the run directories to write event files of")
    if config.out is not None and config.out.exists() and not config.out.is_dir():
        raise UsageError(f"--out {config.out} is a file: choose a folder")
    with pin_options(devices=False):
        from jaxgan.evaluation.results import expand_sweeps, read_description
        from jaxgan.outputs.event_files import write_event_files
        from jaxgan.outputs.run_names import name_runs

        runs = expand_sweeps(config.runs)
        names = name_runs(runs)
        described = [read_description(run) for run in runs]
        folders = []
        for run, name, about in zip(runs, names, described, strict=True):
            folder = run / "tensorboard" if config.out is None else config.out / name
            for remark in write_event_files(run, about, folder):
                print(f"jaxgan: {remark}")
            folders.append(folder)
    where = config.out or os.path.commonpath([folder.absolute() for folder in folders])
    print(
        f"jaxgan: wrote event files; TensorBoard (pip install tensorboard) shows them: tensorboard "
        f"--logdir {shlex.quote(str(where))}"
    )
    return folders


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.board", "nothing more was written"))
