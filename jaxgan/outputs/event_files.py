"""A run as event files of TensorBoard: its metrics, its scores and its pictures of samples."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import RunError
from jaxgan.evaluation.results import result_name
from jaxgan.files import replacing
from jaxgan.outputs.logged_metrics import LoggedMetrics, read_metrics
from jaxgan.outputs.stored_scores import read_scores
from jaxgan.runs import plots
from jaxgan.runs.description import Description
from jaxgan.runs.metrics_log import SCORES

FILE = "events.out.tfevents.0.jaxgan"
"""The name of every event file, so that a later one replaces it. TensorBoard looks for the part
`tfevents`."""
VERSION = "brain.Event:2"
"""What the first event of a file must say."""
MOST_LINES = 20_000
"""The largest number of lines of `metrics.jsonl` of a seed that become events."""
MOST_PICTURES = 200
"""The largest number of pictures that become events."""
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


class Scalars(NamedTuple):
    """Values by tag, at a step. time: in seconds since 1970."""

    step: int
    time: float
    values: dict[str, float]


class Image(NamedTuple):
    """An encoded picture, at a step. time: in seconds since 1970. channels: 1, 3 or 4."""

    step: int
    time: float
    content: bytes
    width: int
    height: int
    channels: int


def write_event_files(run: Path, about: Description, folder: Path) -> list[str]:
    """Writes the event files of a run into a folder, and returns remarks on what they lack.

    With several seeds, each has a subfolder, and the folder itself has the pictures and the mean
    scores. Files of an earlier call are replaced, once all are written.
    Raises `RunError` where tensorboardX is not installed, and `OSError`.
    """
    messages = _import_messages()
    metrics = read_metrics(run / "metrics.jsonl")
    images, left_out = read_images(run)
    events: dict[str, list[Scalars | Image]] = {"": [*images]}
    for seed in metrics.steps:
        own = events.setdefault(_folder(seed), [])
        own += read_scalars(run, metrics, seed)
    for name, scores in evaluated(run, about):
        events.setdefault(name, []).append(scores)
    paths = [folder / name / FILE for name in events]
    with contextlib.ExitStack() as replaced:
        for path, own in zip(paths, events.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(replaced.enter_context(replacing(path)), own, messages)
    for path in {*folder.glob(f"seed_*/{FILE}"), *folder.glob(f"*=*/{FILE}")} - set(paths):
        path.unlink()
    remarks = []
    if metrics.damaged:
        remarks.append(
            f"left out {metrics.damaged:,} lines of {run / 'metrics.jsonl'} that are damaged"
        )
    if any(len(steps) > MOST_LINES for steps in metrics.steps.values()):
        remarks.append(
            f"took {MOST_LINES:,} evenly spaced lines of each seed from {run / 'metrics.jsonl'}"
        )
    if left_out:
        remarks.append(
            f"left out {left_out:,} pictures of {run / 'samples'}: they are damaged, or more than "
            f"{MOST_PICTURES}"
        )
    return remarks


def read_scalars(run: Path, metrics: LoggedMetrics, seed: int | str | None) -> list[Scalars]:
    """Returns the metrics of a seed, of at most `MOST_LINES` steps and all that have scores."""
    time = (run / "metrics.jsonl").stat().st_mtime
    steps, values = metrics.steps[seed], metrics.values[seed]
    rows = np.unique(np.linspace(0, len(steps) - 1, MOST_LINES).round().astype(int))
    scored = [np.flatnonzero(np.isfinite(values[name])) for name in SCORES if name in values]
    rows = np.unique(np.concatenate([rows, *scored]))
    found = []
    for i in rows.tolist():
        own = {_tag(name): float(column[i]) for name, column in values.items()}
        own = {tag: value for tag, value in own.items() if np.isfinite(value)}
        if own:
            found.append(Scalars(int(steps[i]), time, own))
    return found


def _folder(member: int | str | None) -> str:
    """Returns the subfolder of a member; that of a single run is ""."""
    return f"seed_{member}" if isinstance(member, int) else member or ""


def _tag(name: str) -> str:
    """Returns the tag of a metric, whose first part groups the charts of TensorBoard."""
    if name in SCORES:
        return f"scores/{name}"
    for group in ("loss", "grad_norm"):
        if name.endswith(group):
            return f"{group}/{name}"
    return f"outputs/{name}"


def evaluated(run: Path, about: Description) -> Iterator[tuple[str, Scalars]]:
    """Yields the stored scores of a run, each with the name of its subfolder.

    With several seeds, those of each seed come after their mean, whose subfolder is "".
    """
    for scores in read_scores(run, about)[0]:
        group = "evaluation_best" if scores.best else "evaluation"
        tagged = lambda mean, group=group: {f"{group}/{name}": v for name, v in mean.items()}
        time = (run / result_name(scores.best)).stat().st_mtime
        yield "", Scalars(max(scores.steps.values()), time, tagged(scores.result["mean"]))
        if about.members is None:
            continue
        for seed, own in scores.result["seeds"].items():
            mean = own["mean"]
            yield (
                _folder(int(seed) if seed.isdecimal() else seed),
                Scalars(own["step"], time, tagged(mean)),
            )


def read_images(run: Path) -> tuple[list[Image], int]:
    """Returns the pictures of samples, and the number of those that are left out.

    There are at most `MOST_PICTURES`, evenly spaced, and none that are damaged.
    """
    import PIL.Image

    paths, found = plots.list_samples(run), []
    for path in plots.choose_frames(paths, MOST_PICTURES):
        try:
            content = path.read_bytes()
            with PIL.Image.open(io.BytesIO(content)) as picture:
                picture.load()
                size, channels = picture.size, CHANNELS[picture.mode]
        except (OSError, SyntaxError, ValueError, KeyError):  # It is damaged, or not the run's.
            continue
        found.append(Image(int(path.stem), path.stat().st_mtime, content, *size, channels))
    return found, len(paths) - len(found)


def _write(path: Path, events: list[Scalars | Image], messages: Any) -> None:
    """Writes an event file."""
    writer = messages.RecordWriter(str(path))
    try:
        first = min((event.time for event in events), default=0)
        writer.write(messages.Event(wall_time=first, file_version=VERSION).SerializeToString())
        for event in events:
            writer.write(_message(event, messages).SerializeToString())
    finally:
        writer.close()


def _message(event: Scalars | Image, messages: Any):
    """Returns an event as TensorBoard's message."""
    if isinstance(event, Scalars):
        values = [
            messages.Summary.Value(tag=tag, simple_value=value)
            for tag, value in event.values.items()
        ]
    else:
        image = messages.Summary.Image(
            height=event.height,
            width=event.width,
            colorspace=event.channels,
            encoded_image_string=event.content,
        )
        values = [messages.Summary.Value(tag="samples", image=image)]
    summary = messages.Summary(value=values)
    return messages.Event(wall_time=event.time, step=event.step, summary=summary)


class _Messages(NamedTuple):
    """What is used of tensorboardX."""

    RecordWriter: type
    Event: type
    Summary: type


def _import_messages() -> _Messages:
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
    except ImportError as error:
        raise RunError("event files need tensorboardX: pip install 'jaxgan[board]'") from error
    return _Messages(RecordWriter, Event, Summary)
