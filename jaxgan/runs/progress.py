"""The progress of a run: a bar on a terminal, and lines in a log."""

import time
from collections.abc import Sequence
from pathlib import Path

import jax
from tqdm import tqdm

from jaxgan.parallel.chunks import Chunk
from jaxgan.parallel.distributed import is_first, print_lines
from jaxgan.runs.axes import combinations, count_members
from jaxgan.runs.build import describe_changes
from jaxgan.runs.build_optimizers import images_per_step
from jaxgan.runs.config import Config

SECONDS_BETWEEN_LINES = 30.0
"""The time between lines where there is no terminal, and so no bar."""


class Progress:
    """Shows the progress of a run and measures its speed. To be used in a `with` statement.

    begin: the number of steps taken before.
    """

    def __init__(self, config: Config, begin: int):
        self.steps, self.begin = config.steps, begin
        self.images = images_per_step(config) * count_members(config)
        self.times: list[tuple[int, float]] = []
        self.began = time.perf_counter()
        self.last_line = begin, self.began
        quiet = None if is_first() else True  # With None, tqdm is quiet where there is no terminal.
        self.bar = tqdm(initial=begin, total=config.steps, unit="step", disable=quiet)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def show(self, chunk: Chunk, metrics: dict[str, float], messages: Sequence[str] = ()) -> None:
        """Shows that a chunk was computed. metrics: of its last step."""
        now = chunk.last, time.perf_counter()
        self.times.append(now)
        with self.bar.external_write_mode():
            print_lines(*messages)
        self.bar.update(chunk.last - chunk.first + 1)
        rate = self.images * (self.bar.format_dict["rate"] or 0)
        self.bar.set_postfix(**format_metrics(metrics), images_per_s=f"{rate:,.0f}")
        if self.bar.disable and now[1] - self.last_line[1] >= SECONDS_BETWEEN_LINES:
            print_lines(format_line(metrics, self.last_line, now, self.steps, self.images))
            self.last_line = now

    def speed(self) -> dict[str, float]:
        """Returns "seconds" and "images_per_second" of the whole run."""
        now = time.perf_counter()
        times = self.times
        if len(times) < 2:
            times = [(self.begin, self.began), *times, (self.begin, now)][:2]
        # The first chunk includes the compilation: the rate is that of the others, if any.
        (first, since), (last, until) = times[0], times[-1]
        return {
            "seconds": round(now - self.began, 3),
            "images_per_second": round(self.images * (last - first) / (until - since), 1),
        }


def format_metrics(metrics: dict[str, float]) -> dict[str, str]:
    """Returns the metrics of a step that are shown, by title."""
    return {
        "d_loss": f"{metrics['d_loss']:.3f}",
        "g_loss": f"{metrics['g_loss']:.3f}",
        "d_real/d_fake": f"{metrics['d_real']:.2f}/{metrics['d_fake']:.2f}",
    }


def format_line(
    metrics: dict[str, float], before: tuple[int, float], now: tuple, steps: int, images: int
) -> str:
    """Returns the line that a log has in the place of a bar.

    before, now: steps and seconds at the line before and at this one. steps: of the whole run.
    images: the number of images of a step.
    """
    rate = (now[0] - before[0]) / max(now[1] - before[1], 1e-9)
    parts = [f"{name} {value}" for name, value in format_metrics(metrics).items()]
    left = tqdm.format_interval((steps - now[0]) / rate)
    return (
        f"step {now[0]:,} of {steps:,}: {', '.join(parts)}, {images * rate:,.0f} images/s, "
        f"{left} left"
    )


def format_header(config: Config, dataset, layout, out: Path, begin: int) -> str:
    """Returns the line that says what is about to run."""
    count, kind = len(layout.devices), jax.devices()[0].device_kind
    seeds = f"seed {config.seed}"
    if config.seeds > 1:
        seeds = f"seeds {config.seed} to {config.seed + config.seeds - 1}"
    if (count_combined := len(combinations(config))) > 1:
        seeds = f"{count_combined} combinations of {', '.join(config.axes)}, {seeds}"
    changes = describe_changes(config, dataset)
    return (
        f"{dataset.name} ({dataset.describe()}), "
        f"{f'recipe {config.recipe}, ' if config.recipe else ''}{config.network}"
        f"{f' ({changes})' if changes else ''}, {config.loss}, "
        f"{seeds}, on {f'{count} x ' if count > 1 else ''}{kind}: "
        f"steps {begin} to {config.steps} in {out}"
    )
