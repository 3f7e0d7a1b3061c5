"""The pictures of a run. One that cannot be drawn causes a message, not an error."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxgan.errors import system_reason
from jaxgan.losses import LOSSES
from jaxgan.runs import plots
from jaxgan.runs.description import Description

COLUMNS = 8
"""About the least number of columns of a picture of few classes."""


class Pictures:
    """Draws into a run directory.

    messages: a list to which a line is added when something cannot be drawn for the first time.
    """

    def __init__(self, path: Path, description: Description, messages: list[str]):
        self.path, self.description, self.messages = path, description, messages
        self._failed: set[str] = set()

    def draw_samples(self, step: int, images: np.ndarray) -> None:
        """Draws samples `[n, ...]`, with several seeds `[seeds, n, ...]`, into `samples/`."""
        config, dataset = self.description.config, self.description.dataset
        columns = dataset.num_classes if config.conditional else None
        if columns:  # Each class has one column or, if they are few, several.
            columns *= max(1, round(COLUMNS / columns))
        path, images = self.path / "samples" / f"{step:09d}.png", np.asarray(images)
        rank, bounded = len(dataset.shape), dataset.bounded
        self._try("samples/", lambda: plots.save_samples(path, images, rank, bounded, columns))

    def draw_curves(self, rows: Sequence[dict]) -> None:
        """Draws `curves.png` from the lines of `metrics.jsonl`."""
        outputs = LOSSES[self.description.config.loss]().outputs
        path = self.path / "curves.png"
        self._try(path.name, lambda: plots.save_curves(path, rows, outputs))

    def draw_animation(self) -> None:
        """Draws `training.gif` from the pictures in `samples/`."""
        frames, path = sorted((self.path / "samples").glob("*.png")), self.path / "training.gif"
        self._try(path.name, lambda: plots.save_animation(path, frames))

    def _try(self, name: str, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:  # Whatever Matplotlib, Pillow or the disk raise.
            if name not in self._failed:
                self._failed.add(name)
                reason = system_reason(error) or f"{type(error).__name__}: {error}"
                reason = textwrap.shorten(reason, 160, placeholder=" ...")
                self.messages.append(f"{self.path / name} could not be drawn ({reason})")
