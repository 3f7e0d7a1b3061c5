"""The run directory of a configuration."""

from pathlib import Path

from jaxgan.errors import UsageError
from jaxgan.runs.config import Config


def choose_out(config: Config, dataset) -> Path:
    """Returns the run directory.

    Raises `UsageError` for one in a folder of pictures: those of the run would become data.
    """
    last = f"-{config.seed + config.seeds - 1}" if config.seeds > 1 else ""
    last += "".join(f"-{axis}" for axis in config.axes)
    out = (
        config.out
        or Path("runs") / f"{dataset.name}-{config.recipe or config.network}-{config.seed}{last}"
    )
    if config.data_file is not None and config.data_file.is_dir():
        data = config.data_file.resolve()
        if data in (whole := out.resolve(), *whole.parents):
            raise UsageError(
                f"the run directory {out} lies in --data-file {config.data_file}, where the "
                "pictures of the run would become data: choose an --out elsewhere"
            )
    return out
