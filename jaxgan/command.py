"""What the commands share: flags from a dataclass, errors in one line, and how they are stopped."""

import contextlib
import functools
import io
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from jaxgan.errors import UsageError, explained

CONTINUES = "the same command continues from what was saved"


def run_command(settings: type, main: Callable, program: str, stopped: str = CONTINUES) -> int:
    """Runs a command and returns its exit status.

    settings: the dataclass of its flags. main: called with one. program: its name in `--help`.
    stopped: what there is to know when it was stopped by a signal.
    """
    sys.unraisablehook = drop_late_writes
    for number in (signal.SIGINT, signal.SIGTERM):
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
    message = itertools.takewhile(lambda line: not line.startswith(hints), lines)
    raise UsageError(f"{' '.join(message)}; see --help")


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
    os.write(2, f"jaxgan: stopped at once: {message}\n".encode())
    if "jaxgan.distributed" in sys.modules:  # Importing it here would take seconds.
        sys.modules["jaxgan.distributed"].take_back_last_words()
    os._exit(128 + number)


def drop_late_writes(unraisable) -> None:
    """Reports an error that nothing could catch, but for one that says nothing new.

    Where a checkpoint fails, the writes still under way find the event loop of its storage closed.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
