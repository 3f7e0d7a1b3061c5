"""Sample grids, curves and animations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.files import replacing

PADDING = 2
FRAMES = 60


def save_samples(path: Path, samples: np.ndarray) -> None:
    """Writes a picture of samples: a grid of images `[n, h, w, c]`, or points `[n, 2]`."""
    from PIL import Image

    if samples.ndim == 4:
        _replace(path, Image.fromarray(grid(samples)).save)
    else:
        _replace(path, _scatter(samples).savefig)


def grid(images: np.ndarray) -> np.ndarray:
    """Returns images `[n, h, w, c]` in [-1, 1] side by side, uint8 `[height, width]` or `[..., 3]`.

    As many rows as columns, or one row fewer; the last row may be short.
    """
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    pixels = np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)
    tall, wide = height + PADDING, width + PADDING
    sheet = np.zeros((rows * tall + PADDING, columns * wide + PADDING, channels), np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * tall + PADDING, i % columns * wide + PADDING
        sheet[top : top + height, left : left + width] = image
    return sheet[..., 0] if channels == 1 else sheet


def save_animation(path: Path, frames: Sequence[Path], milliseconds: int = 120) -> None:
    """Writes a GIF of at most `FRAMES` of the pictures, in order, the last one for longer."""
    from PIL import Image

    if not frames:
        return
    chosen = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    pictures = [Image.open(frames[i]) for i in chosen]
    pictures = [picture.convert("L" if picture.mode == "L" else "RGB") for picture in pictures]
    durations = [milliseconds] * (len(pictures) - 1) + [2_000]
    _replace(
        path,
        lambda file, format: pictures[0].save(
            file, format, save_all=True, append_images=pictures[1:], duration=durations, loop=0
        ),
    )


def save_curves(path: Path, rows: Sequence[dict]) -> None:
    """Writes the curves of a run: losses, mean probabilities, gradient norms against the step.

    rows: the lines of `metrics.jsonl`. Faint lines are the values of single steps, full ones their
    running mean.
    """
    from matplotlib.figure import Figure

    if not rows:
        return
    panels = {
        "loss": (("d_loss", "discriminator"), ("g_loss", "generator")),
        "mean probability of being real": (("d_real", "real"), ("d_fake", "generated")),
        "gradient norm": (("d_grad_norm", "discriminator"), ("g_grad_norm", "generator")),
    }
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    steps = np.array([row["step"] for row in rows])
    width = max(1, len(rows) // 50)
    for axes, (title, curves) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for name, label in curves:
            values = np.array([row[name] for row in rows])
            (line,) = axes.plot(steps, values, alpha=0.25, linewidth=0.8)
            mean = np.convolve(values, np.ones(width) / width, "valid")
            axes.plot(steps[width - 1 :], mean, color=line.get_color(), label=label)
        axes.set(title=title, xlabel="step")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.axes[1].set_ylim(0, 1)
    figure.axes[2].set_yscale("log")
    _replace(path, figure.savefig)


def _scatter(points: np.ndarray):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 3), layout="constrained")
    axes = figure.subplots()
    axes.scatter(points[:, 0], points[:, 1], s=4, alpha=0.5)
    reach = max(1.5, 1.1 * np.abs(points).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    return figure


def _replace(path: Path, save) -> None:
    """Calls `save(file, format=...)` for a file that then replaces the one at `path`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        save(file, format=path.suffix[1:])
