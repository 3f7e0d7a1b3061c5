"""Pictures of samples, curves and animations."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from jaxgan.data.arrays import to_uint8
from jaxgan.files import replacing
from jaxgan.losses.base import PROBABILITIES, OutputSummary
from jaxgan.metrics import METRICS
from jaxgan.runs.metrics_log import member_of

PADDING = 2
FRAMES = 60
NORMS = "gradient norm"
SHARES = "share with a positive output"
PROBABILITY = "probability of augmentations"
SAMPLES_A_SEED = 16
MOST_PANELS = 16
"""The largest number of seeds whose signals are drawn."""
MOST_HISTOGRAMS = 16
"""The largest number of values of a sample that have a histogram each."""


def save_samples(
    path: Path, samples: np.ndarray, rank: int, bounded: bool = True, columns: int | None = None
) -> None:
    """Writes a picture of samples `[n, ...]` or, for several seeds, `[seeds, n, ...]`.

    Images become a grid, points in the plane a scatter plot, and tables and signals curves. Several
    seeds have a row of images or a panel each.
    rank: number of dimensions of one sample. bounded: whether samples are images in [-1, 1].
    columns: number of columns of the grid, such as the number of classes. By default, and if there
        are fewer images than columns, the grid is about square.
    """
    from PIL import Image

    if (images := as_images(samples, rank, bounded)) is not None:
        samples, rank, bounded = images, 3, True
    by_seed = samples if samples.ndim == rank + 2 else samples[None]
    if bounded and len(by_seed) > 1:
        few = by_seed[:, :SAMPLES_A_SEED]
        sheet = grid(few.reshape(-1, *few.shape[2:]), columns=few.shape[1])
        _replace(path, Image.fromarray(sheet).save)
    elif bounded:
        columns = columns if columns and columns <= by_seed.shape[1] else None
        _replace(path, Image.fromarray(grid(by_seed[0], columns)).save)
    elif by_seed.shape[2:] == (2,):
        _replace(path, _scatter(by_seed).savefig)
    else:
        _replace(path, _curves_of_samples(by_seed.reshape(*by_seed.shape[:2], -1)).savefig)


def as_images(samples: np.ndarray, rank: int, bounded: bool = True) -> np.ndarray | None:
    """Returns samples `[..., h, w, c]` in [-1, 1]; None for samples that are not drawn as images.

    rank, bounded: as in `save_samples`.
    """
    if bounded:
        return samples
    if rank == 2 or (rank == 3 and samples.shape[-1] in (1, 3)):
        return _in_gray(samples if rank == 3 else samples[..., None])
    return None


def _in_gray(samples: np.ndarray) -> np.ndarray:
    """Returns values in [-1, 1], from the smallest hundredth of them to the largest one."""
    low, high = np.percentile(samples, [1, 99])
    return (samples - low) / max(high - low, 1e-12) * 2 - 1


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Returns a grid of images `[n, h, w, c]` in [-1, 1], uint8 `[height, width]` or `[..., 3]`.

    columns: by default as many as rows, or one more. The last row may be incomplete.
    """
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    tall, wide = height + PADDING, width + PADDING
    sheet = np.zeros((rows * tall + PADDING, columns * wide + PADDING, channels), np.uint8)
    for i, image in enumerate(to_uint8(images)):
        top, left = i // columns * tall + PADDING, i % columns * wide + PADDING
        sheet[top : top + height, left : left + width] = image
    return sheet[..., 0] if channels == 1 else sheet


def save_animation(path: Path, frames: Sequence[Path], milliseconds: int = 120) -> None:
    """Writes a GIF of at most `FRAMES` of the pictures, in order; the last one is shown longer."""
    from PIL import Image

    if not frames:
        return
    pictures = [Image.open(frame) for frame in choose_frames(frames)]
    pictures = [picture.convert("L" if picture.mode == "L" else "RGB") for picture in pictures]
    _save_gif(path, pictures, [milliseconds] * (len(pictures) - 1) + [2_000])


def save_loop(path: Path, frames: Sequence[np.ndarray], milliseconds: int = 120) -> None:
    """Writes a GIF of pictures, uint8 `[h, w]` or `[h, w, 3]`, there and back without end."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in (*frames, *frames[-2:0:-1])]
    _save_gif(path, pictures, [milliseconds] * len(pictures))


def _save_gif(path: Path, pictures: Sequence, durations: list[int]) -> None:
    _replace(
        path,
        lambda file, format: pictures[0].save(
            file, format, save_all=True, append_images=pictures[1:], duration=durations, loop=0
        ),
    )


def list_samples(run: Path) -> list[Path]:
    """Returns the pictures in `samples/` of a run, whose names are their steps, in their order."""
    paths = (path for path in (run / "samples").glob("*.png") if path.stem.isdecimal())
    return sorted(paths, key=lambda path: int(path.stem))


def choose_frames(frames: Sequence, most: int = FRAMES) -> list:
    """Returns at most `most` of the frames, evenly spaced, with the first and the last one."""
    if not frames:
        return []
    chosen = np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))
    return [frames[i] for i in chosen]


def save_curves(path: Path, rows: Sequence[dict], outputs: OutputSummary = PROBABILITIES) -> None:
    """Writes the curves of a run: losses, outputs, gradient norms and scores against the step.

    rows: the lines of `metrics.jsonl`. outputs: the meaning of the loss's `d_real` and `d_fake`.
    For one seed, faint lines show the values of single steps and solid lines their running mean.
    For several seeds, solid lines show the mean over the seeds of the running means, and bands one
    standard deviation over the seeds on either side.
    """
    from matplotlib.figure import Figure

    if not rows:
        return
    # Lines of older versions and runs that are not evaluated lack some of the metrics.
    panels = curve_panels({name for row in rows for name in row}, outputs)
    figure = Figure(figsize=(3.7 * len(panels), 3.2), layout="constrained")
    if (count := len({member_of(row) for row in rows})) > 1:
        title = f"mean and standard deviation over {count} {kind_of_members(rows)}"
        figure.suptitle(title, fontsize="medium")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, label in curves:
            _curve(axes, name, label, [row for row in rows if name in row])
        axes.set(title=title, xlabel="step")
        if limits := panel_limits(title, outputs):
            axes.set_ylim(limits)
        if title == NORMS:
            axes.set_yscale("log")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    _replace(path, figure.savefig)


def kind_of_members(rows: Sequence[dict]) -> str:
    """Returns what the members in lines of `metrics.jsonl` are: "seeds", or "members"."""
    return "members" if "member" in rows[0] else "seeds"


def curve_panels(
    names: Collection[str], outputs: OutputSummary = PROBABILITIES
) -> dict[str, list[tuple[str, str]]]:
    """Returns the panels of a run's curves by title, each with the names and labels of its metrics.

    names: of the metrics that the run has. outputs: the meaning of the loss's `d_real`, `d_fake`.
    """
    panels = {
        "loss": [("d_loss", "discriminator"), ("g_loss", "generator")],
        outputs.title: [("d_real", "real"), ("d_fake", "generated")],
        SHARES: [("d_real_positive", "real"), ("d_fake_positive", "generated")],
        PROBABILITY: [("augment_probability", "each augmentation")],
        NORMS: [("d_grad_norm", "discriminator"), ("g_grad_norm", "generator")],
    }
    for metric in METRICS:
        if metric.quick:
            panels.setdefault(metric.panel, []).append((metric.name, metric.title))
    present = {
        title: [curve for curve in dict.fromkeys(curves) if curve[0] in names]
        for title, curves in panels.items()
    }
    return {title: curves for title, curves in present.items() if curves}


def panel_limits(title: str, outputs: OutputSummary) -> tuple[float, float] | None:
    """Returns the limits of a panel's vertical axis, None for those of its curves."""
    limits = {outputs.title: outputs.limits, SHARES: (0, 1), PROBABILITY: (0, 1)}.get(title)
    if limits is None:
        return None
    margin = 0.02 * (limits[1] - limits[0])  # Lines at a limit stay visible.
    return limits[0] - margin, limits[1] + margin


def _curve(axes, name: str, label: str, rows: Sequence[dict]) -> None:
    """Draws one metric: values and their running mean, or mean and deviation over the seeds."""
    steps, values = table(rows, name)
    width = max(1, len(steps) // 50)
    running = np.array([np.convolve(row, np.ones(width) / width, "valid") for row in values])
    steps_of_means = steps[width - 1 :]
    if len(values) == 1:
        (faint,) = axes.plot(steps, values[0], alpha=0.25, linewidth=0.8)
        axes.plot(steps_of_means, running[0], color=faint.get_color(), label=label)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # A single remaining seed has no deviation.
        mean, spread = np.nanmean(running, axis=0), np.nanstd(running, axis=0, ddof=1)
    (line,) = axes.plot(steps_of_means, mean, label=label)
    color = line.get_color()
    axes.fill_between(steps_of_means, mean - spread, mean + spread, color=color, alpha=0.2)


def table(
    rows: Sequence[dict], name: str, seeds: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps `[n]` of a run's lines, and a metric at these steps, `[members, n]`.

    The metric is NaN for a member at steps after it was frozen.
    seeds: by default all seeds, or members, that have lines.
    """
    steps, columns = np.unique([row["step"] for row in rows], return_inverse=True)
    own = [0 if (member := member_of(row)) is None else member for row in rows]
    seeds = sorted({*own}) if seeds is None else seeds
    lines = np.searchsorted(seeds, own)
    values = np.full((len(seeds), len(steps)), np.nan)
    values[lines, columns] = [row[name] for row in rows]
    return steps, values


def _scatter(points: np.ndarray):
    """Returns a figure of points `[panels, n, 2]`."""
    from matplotlib.figure import Figure

    columns = int(np.ceil(np.sqrt(len(points))))
    rows = -(-len(points) // columns)
    figure = Figure(figsize=(3 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    reach = max(1.5, 1.1 * np.abs(points).max())
    for axes, own in zip(panels, points, strict=False):
        axes.scatter(own[:, 0], own[:, 1], s=4, alpha=0.5)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    for axes in panels[len(points) :]:
        axes.remove()
    return figure


def _curves_of_samples(samples: np.ndarray):
    """Returns a figure of samples `[seeds, n, values]`: histograms of few values, else curves."""
    from matplotlib.figure import Figure

    samples = samples[:MOST_PANELS].astype(np.float64)
    seeds, _, values = samples.shape
    few = values <= MOST_HISTOGRAMS
    rows, columns = (-(-values // 4), min(values, 4)) if few else (seeds, 1)
    figure = Figure(figsize=(2.5 * columns if few else 6, 1.8 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.subplots_adjust(0.08, 0.12 / rows, 0.98, 1 - 0.12 / rows, 0.2, 0.4)  # Fast.
    for i, axes in enumerate(panels[: values if few else seeds]):
        if few:
            low, high = samples[..., i].min(), samples[..., i].max()
            margin = max((high - low) / 40, abs(high) * 1e-3, 1e-6)  # All may be the same.
            for own in samples:
                axes.hist(own[:, i], np.linspace(low - margin, high + margin, 21), histtype="step")
            axes.set_title(f"value {i}", fontsize="small")
            axes.locator_params(nbins=4)
            axes.tick_params(labelsize="x-small", labelleft=False)
        else:
            axes.plot(samples[i, :SAMPLES_A_SEED].T, linewidth=0.8, alpha=0.7)
    for axes in panels[values if few else seeds :]:
        axes.remove()
    return figure


def _replace(path: Path, save) -> None:
    """Calls `save(file, format=...)` with a temporary file that then replaces `path`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        save(file, format=path.suffix[1:])
