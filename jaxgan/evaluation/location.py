"""The present location of the data that a run was trained on."""

import dataclasses
from pathlib import Path

from jaxgan.data import Opened, open_data
from jaxgan.errors import UsageError
from jaxgan.runs.description import Description


def locate_data(
    run: Path, about: Description, data_dir: Path | None = None, data_file: Path | None = None
) -> Description:
    """Returns the description of a run with the present location of its data.

    run: the run directory. data_dir, data_file: the location, if the user gives it.
    Raises `UsageError` if the user's own images are not found.
    """
    file, folder = about.config.data_file, about.config.data_dir
    if data_file is not None and file is None:
        raise UsageError(
            f"--data-file is for runs on your own images: {run} was trained on {about.dataset.name}"
        )
    if file is not None:
        found = data_file or find_path(file, run)
        if found is None:
            raise UsageError(f"{file}, the data of {run}, does not exist: give its --data-file")
        file = found
    folder = data_dir or (folder and find_path(folder, run)) or folder
    settings = dataclasses.replace(about.config, data_file=file, data_dir=folder)
    return about._replace(config=settings)


def open_same_data(run: Description) -> Opened:
    """Returns the opened data of a run, at the location that the description has.

    Raises `UsageError` unless they are those that the run was trained on.
    """
    config = run.config
    name = config.dataset or (run.dataset.name if config.data_file is None else None)
    opened = open_data(dataclasses.replace(config, dataset=name))
    if opened.fingerprint != run.dataset.fingerprint:
        flag = "--data-dir" if config.data_file is None else "--data-file"
        raise UsageError(
            f"{run.dataset.name} differs from the data that the run was trained on: restore those "
            f"data, or give their location by {flag}"
        )
    return opened


def find_path(path: Path, run: Path) -> Path | None:
    """Returns the present location of a path that a run recorded, None if there is none.

    A relative path is looked for in the working directory, the run directory and its parents.
    """
    bases = Path.cwd(), run.absolute(), *run.absolute().parents
    return next((base / path for base in bases if (base / path).exists()), None)
