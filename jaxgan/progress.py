"""How far a run is, on a terminal or in a log."""

import time

from tqdm import tqdm

from jaxgan.build import images_a_step
from jaxgan.command import say
from jaxgan.config import Config
from jaxgan.distributed import is_first
from jaxgan.loops import steps_taken

SECONDS_BETWEEN_LINES = 30.0
"""Of a log, which has no progress bar."""


def recorded(calls, directory, config: Config, state) -> tuple:
    """Writes down call after call; returns the last state and how fast it went."""
    began, times = time.perf_counter(), []
    images = images_a_step(config) * config.seeds
    begin = steps_taken(state)
    said = begin, began
    quiet = None if is_first() else True  # None: where there is no terminal.
    with tqdm(initial=begin, total=config.steps, unit="step", disable=quiet) as bar:
        for call in calls:
            metrics = directory.record(call, config.log_every)
            times.append((call.last, time.perf_counter()))
            with bar.external_write_mode():
                say(*directory.news())
            bar.update(call.last - call.first + 1)
            bar.set_postfix(
                **shown(metrics), images_per_s=f"{images * (bar.format_dict['rate'] or 0):,.0f}"
            )
            if bar.disable and times[-1][1] - said[1] >= SECONDS_BETWEEN_LINES:
                say(line(metrics, said, times[-1], config.steps, images))
                said = times[-1]
            if call.snapshot is not None:
                state = call.snapshot.state
    if len(times) < 2:
        times = [(begin, began), *times, (begin, time.perf_counter())][:2]
    # The first call compiles: the rate is that of the others, where there are any.
    (first, since), (last, until) = times[0], times[-1]
    return state, {
        "seconds": round(time.perf_counter() - began, 3),
        "images_per_second": round(images * (last - first) / (until - since), 1),
    }


def shown(metrics: dict[str, float]) -> dict[str, str]:
    """Returns what is shown of the metrics of a step, by its title."""
    return {
        "d_loss": f"{metrics['d_loss']:.3f}",
        "g_loss": f"{metrics['g_loss']:.3f}",
        "D": f"{metrics['d_real']:.2f}/{metrics['d_fake']:.2f}",
    }


def line(
    metrics: dict[str, float], before: tuple[int, float], now: tuple, steps: int, images: int
) -> str:
    """Returns the line of a log that says how far a run is.

    before, now: steps and seconds at the line before this one, and at this one. steps: of the
    whole run. images: of a step.
    """
    rate = (now[0] - before[0]) / max(now[1] - before[1], 1e-9)
    parts = [f"{name} {value}" for name, value in shown(metrics).items()]
    left = tqdm.format_interval((steps - now[0]) / rate)
    return (
        f"step {now[0]:,} of {steps:,}: {', '.join(parts)}, {images * rate:,.0f} images/s, "
        f"{left} left"
    )
