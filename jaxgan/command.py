"""Functions that the commands share: flags from a dataclass, one-line errors, and signals."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, get_origin, get_type_hints

from jaxgan.errors import UsageError, explain_error

CONTINUES = "the same command continues from what was saved"


def run_command(
    settings: type,
    main: Callable,
    program: str,
    stopped: str = CONTINUES,
    groups: dict[str, type] | None = None,
    choose_defaults: Callable[[list[str]], Any] | None = None,
) -> int:
    """Runs a command and returns its exit status.

    settings: the dataclass of the flags, an instance of which is passed to `main`.
    program: name of the command in `--help`. stopped: message for a user who stops the command by a
    signal. groups, choose_defaults: see `parse_arguments`.
    """
    sys.unraisablehook = drop_late_errors
    with robust_output():
        for number in stop_signals():
            signal.signal(number, functools.partial(stop_at_once, message=stopped))
        try:
            main(parse_arguments(settings, program, groups or {}, choose_defaults))
        except Exception as error:
            if (known := explain_error(error)) is None:
                raise
            message, status = known
            print(f"jaxgan: {message}", file=sys.stderr)
            return status
    return 0


def stop_signals() -> list[int]:
    """Returns the signals that stop a command: Ctrl-C, SIGTERM and SIGHUP.

    SIGHUP is left out if the system does not have it, or if it is ignored, as under `nohup`.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    ignored = hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [hang_up])]


class RobustStream:
    """A text stream that is redirected to the null device after the first failed write.

    A closed pipe, a closed terminal or a full disk thus does not end a run.
    """

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text and returns its length."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable, *arguments) -> None:
        try:
            action(*arguments)
        except (OSError, ValueError):  # ValueError if the stream is closed.
            with contextlib.suppress(OSError, ValueError):
                redirect_to_devnull(self._stream.fileno())
                self._stream.flush()


@contextlib.contextmanager
def robust_output() -> Iterator[None]:
    """Ignores failures to write to standard output and standard error, within the context."""
    for number in range(3):  # The next file to be opened would get the number of a closed stream.
        try:
            os.fstat(number)
        except OSError:
            redirect_to_devnull(number)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        streams = [nowhere if stream is None else stream for stream in before]
        with contextlib.suppress(AttributeError):  # If it is not a `TextIOWrapper`.
            streams[0].reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = map(RobustStream, streams)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def redirect_to_devnull(number: int) -> None:
    """Redirects a file descriptor to the null device."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def parse_arguments(
    settings: type,
    program: str,
    groups: dict[str, type],
    choose_defaults: Callable[[list[str]], Any] | None = None,
) -> Any:
    """Returns the settings given on the command line. Raises `UsageError` for invalid ones.

    groups: base classes of `settings` by title, whose fields are grouped in `--help`.
    choose_defaults: from the arguments to an instance of `settings` whose values are the defaults
    of the flags; for settings in groups.
    """
    import tyro

    options, arguments, several = settings, sys.argv[1:], {}
    if groups:
        arguments, several = take_several_values(arguments, settings)
        default = choose_defaults(arguments) if choose_defaults else settings()
        fields = [
            (
                name,
                tyro.conf.OmitArgPrefixes[group],
                dataclasses.field(default=_part_of(default, group)),
            )
            for name, group in groups.items()
        ]
        options = dataclasses.make_dataclass(settings.__name__, fields, frozen=True)

    def parse(arguments: list[str]) -> Any:
        printed, description = io.StringIO(), inspect.getdoc(settings)
        try:
            with contextlib.redirect_stderr(printed):
                found = tyro.cli(options, args=arguments, prog=program, description=description)
        except SystemExit as end:
            if not end.code:
                raise
            raise UsageError(f"{_message_in_box(printed.getvalue())}; see --help") from end
        if not groups:
            return found
        return settings(**{k: v for name in groups for k, v in vars(getattr(found, name)).items()})

    found = parse(arguments)
    if not several:
        return found
    if (count := math.prod(map(len, several.values()))) > (most := found.most_members):
        raise UsageError(
            f"these are {count:,} combinations of values, and more than --most-members {most:,}: "
            "choose fewer values, or raise that limit"
        )
    axes = {
        name: tuple(getattr(parse([f"--{name}", value]), name) for value in values)
        for name, values in several.items()
    }
    return dataclasses.replace(found, axes=axes)


def take_several_values(arguments: list[str], settings: type) -> tuple[list[str], dict]:
    """Returns arguments with the first value of every flag, and the values of those with several.

    settings: the dataclass of the flags. Flags that are tuples or truth values are left alone.
    Raises `UsageError` for one of those with several that is given again.
    """
    hints = get_type_hints(settings)
    single = {
        field.name
        for field in dataclasses.fields(settings)
        if hints[field.name] is not bool and get_origin(hints[field.name]) not in (tuple, dict)
    }
    kept, several, name, values = [], {}, None, []
    for argument in [*arguments, "--"]:
        if not argument.startswith("--"):
            values.append(argument)
            continue
        if name in single and len(values) > 1:
            several[name], values = values, values[:1]
        kept += [*values, argument]
        name, values = argument[2:].partition("=")[0].replace("-", "_"), []
        if name in several:
            raise UsageError(f"--{name.replace('_', '-')} is given twice: list its values once")
    return kept[:-1], several


def _part_of(settings: Any, group: type) -> Any:
    """Returns the settings of one group."""
    names = (field.name for field in dataclasses.fields(group))
    return group(**{name: getattr(settings, name) for name in names})


def _message_in_box(text: str) -> str:
    """Returns the message in the output of tyro: a box with a title, the message and hints."""
    lines = (re.sub(r"[\u2500-\u257f]|-{3,}", " ", line).split() for line in text.splitlines())
    _, *lines = [" ".join(words) for words in lines if words]
    hints = ("Perhaps you meant", "For full helptext", "Argument helptext", "Similar")
    message = " ".join(itertools.takewhile(lambda line: not line.startswith(hints), lines))
    # Tyro lists the choices of a literal in an order that differs from run to run.
    message = re.sub(
        r"(?<=Expected one of \().*(?=\))",
        lambda choices: ", ".join(sorted(set(choices[0].split(", ")) - {"'None'"})),
        message,
    )
    return message.removeprefix("Error parsing Config: ").removesuffix(".")


def enable_compilation_cache() -> None:
    """Enables JAX's cache on disk of compiled programs."""
    import jax

    from jaxgan.files import user_cache

    directory = user_cache() / "compiled"
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    # If the directory is not writable, JAX would warn about it for every program.
    if jax.config.jax_compilation_cache_dir is None and os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def stop_at_once(number: int, frame, message: str = CONTINUES) -> None:
    """Ends the process at once, as a signal handler. Files on disk are complete at any moment."""
    write_at_once(f"jaxgan: stopped at once: {message}\n")
    if connection := sys.modules.get("jaxgan.parallel.connection"):  # Else nothing to do.
        connection.end_watchdog()
    os._exit(128 + number)


class StopRequest:
    """The first signal to stop that the process received, None before that."""

    signal: int | None = None

    def requested(self) -> bool:
        """Returns whether there was a signal."""
        return self.signal is not None


@contextlib.contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Yields a `StopRequest` that records the first stop signal; a second one ends the process."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in stop_signals()}

    def handle(number, frame):
        if stop.requested():
            stop_at_once(number, frame)
        stop.signal = number
        below_the_bar = "\n" if os.isatty(2) else ""
        write_at_once(f"{below_the_bar}jaxgan: finishing the steps in progress and saving\n")

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_at_once(text: str) -> None:
    """Writes to standard error from a signal handler, which may have interrupted a write."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


def drop_late_errors(unraisable) -> None:
    """Reports an error that could not be caught, unless it is a consequence of another error.

    If a checkpoint fails, its pending writes find that the event loop of the storage is closed.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
