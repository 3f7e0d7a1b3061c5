"""What the commands share: flags from a dataclass, errors in one line, and how they are stopped."""

import contextlib
import functools
import io
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from jaxgan.errors import UsageError, explained

CONTINUES = "the same command continues from what was saved"


def run_command(settings: type, main: Callable, program: str, stopped: str = CONTINUES) -> int:
    """Runs a command and returns its exit status.

    settings: the dataclass of its flags. main: called with one. program: its name in `--help`.
    stopped: what there is to know when it was stopped by a signal.
    """
    sys.unraisablehook = drop_late_writes
    with lasting_output():
        for number in stopping():
            signal.signal(number, functools.partial(stop_at_once, message=stopped))
        try:
            main(parsed(settings, program))
        except Exception as error:
            if (known := explained(error)) is None:
                raise
            message, status = known
            print(f"jaxgan: {message}", file=sys.stderr)
            return status
    return 0


def stopping() -> list[int]:
    """Returns the signals that stop a command: Ctrl-C, SIGTERM and SIGHUP.

    The last one is not among them where the system has none, or `nohup` had it ignored.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    ignored = hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [hang_up])]


class Lasting:
    """A text stream that, once something could not be written to it, leads nowhere.

    So a reader that goes away, a terminal that is closed or a full disk ends no run.
    """

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text and returns its length."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable, *arguments) -> None:
        try:
            action(*arguments)
        except (OSError, ValueError):  # The latter for one that is closed.
            with contextlib.suppress(OSError, ValueError):
                lead_nowhere(self._stream.fileno())
                self._stream.flush()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Lets no failure of standard output or standard error become an error."""
    for number in range(3):  # A closed one would be the number of the next file that is opened.
        try:
            os.fstat(number)
        except OSError:
            lead_nowhere(number)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        streams = [nowhere if stream is None else stream for stream in before]
        with contextlib.suppress(AttributeError):  # Where it is not a file's.
            streams[0].reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = map(Lasting, streams)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def lead_nowhere(number: int) -> None:
    """Has what is written to a file by its number go nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def parsed(settings: type, program: str) -> Any:
    """Returns the settings that the command line asks for; raises `UsageError`."""
    import tyro

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(settings, prog=program)
    except SystemExit as end:
        if not end.code:
            raise
    # What tyro prints is a box with a title, the message, and after a rule its hints.
    lines = (
        re.sub(r"[\u2500-\u257f]|-{3,}", " ", line).split()
        for line in printed.getvalue().splitlines()
    )
    _, *lines = [" ".join(words) for words in lines if words]
    hints = ("Perhaps you meant", "For full helptext", "Argument helptext", "Similar")
    message = " ".join(itertools.takewhile(lambda line: not line.startswith(hints), lines))
    raise UsageError(f"{message.removeprefix('Error parsing Config: ')}; see --help")


def keep_compiled() -> None:
    """Keeps compiled programs between processes."""
    import jax

    from jaxgan.data.cache import user_directory

    directory = user_directory() / "compiled"
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    # Where it cannot be written, JAX would say so at every program.
    if jax.config.jax_compilation_cache_dir is None and os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def say(*lines: str) -> None:
    """Prints lines, but for empty ones, under the program's name; of several processes one does."""
    from jaxgan.distributed import is_first

    for line in filter(None, lines):
        if is_first():
            print(f"jaxgan: {line}", flush=True)


def stop_at_once(number: int, frame, message: str = CONTINUES) -> None:
    """Ends the process, as a handler of signals: what is on disk is whole at any moment."""
    write_at_once(f"jaxgan: stopped at once: {message}\n")
    if "jaxgan.distributed" in sys.modules:  # Importing it here would take seconds.
        sys.modules["jaxgan.distributed"].take_back_last_words()
    os._exit(128 + number)


def write_at_once(text: str) -> None:
    """Writes to standard error from a handler of signals, which may have interrupted a write."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


def drop_late_writes(unraisable) -> None:
    """Reports an error that nothing could catch, but for one that says nothing new.

    Where a checkpoint fails, the writes still under way find the event loop of its storage closed.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
