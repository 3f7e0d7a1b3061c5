"""python -m jaxgan.report: show runs on a page of HTML."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from jaxgan.command import enable_compilation_cache, run_command
from jaxgan.environment import pin_options
from jaxgan.errors import UsageError
from jaxgan.files import expand_paths, given_path, write_text


@dataclasses.dataclass(frozen=True)
class Config:
    """Show runs on a page: settings, samples, curves, scores, speed and digests.

    The page is one file, which any browser opens, also without a network. It needs Jinja2: pip
    install 'jaxgan[report]'.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """run directories, finished or not; several are compared in a table"""
    out: Path | None = None
    """.html file to write; if not given, report.html in the first run directory"""

    def __post_init__(self):
        runs = (self.runs,) if isinstance(self.runs, str | os.PathLike) else self.runs
        object.__setattr__(self, "runs", tuple(given_path(run) for run in runs))
        expand_paths(self, "out")


def main(config: Config) -> Path:
    """Writes a report, and returns its path.

    Raises `UsageError` for a folder that is not a run directory, and `RunError` for a run that is
    damaged or where Jinja2 is not installed.
    """
    if not config.runs:
        raise UsageError("name the run directories to report")
    out = config.out or config.runs[0] / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out} must end in .html")
    with pin_options():
        enable_compilation_cache()
        from jaxgan.evaluation.results import expand_sweeps
        from jaxgan.outputs.report_content import gather_report
        from jaxgan.outputs.report_page import check_jinja, render_page

        check_jinja()
        page = render_page(gather_report(expand_sweeps(config.runs)))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    print(f"jaxgan: wrote a report to {out}")
    return out


if __name__ == "__main__":
    sys.exit(run_command(Config, main, "python -m jaxgan.report", "nothing was written"))
