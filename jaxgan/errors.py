"""The errors that a user can cause: each is one line that says what to do."""

import errno
import os
import re
from collections.abc import Iterable
from typing import Any

MISSING_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
"""System errors that mean that a file is not there: the run is damaged, the disk is not."""


class UsageError(ValueError):
    """A setting that cannot be used. The command ends with status 2."""

    status = 2


class RunError(RuntimeError):
    """An obstacle on the machine or in the run directory. The command ends with status 1."""

    status = 1


class ReadError(RunError):
    """Examples on disk could not be read while a run was training on them."""


class Diverged(RunError):
    """Training reached a value that is not finite."""


class Interrupted(Exception):
    """A signal ended the run after its state was saved. The command ends with `status`."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.status = 128 + number


def choose(kind: str, table: dict, name: str) -> Any:
    """Returns `table[name]`; raises `UsageError` with the known names otherwise."""
    check_choice(f"{kind} '{name}'", name, table)
    return table[name]


def check_choice(what: str, value: Any, choices: Iterable) -> None:
    """Raises `UsageError` with the known values unless `value` is one of `choices`.

    what: names the value in the message.
    """
    if value not in choices:
        raise UsageError(f"unknown {what}; known: {', '.join(map(str, choices))}")


def explain_error(error: BaseException) -> tuple[str, int] | None:
    """Returns a message and an exit status for an error that a user can cause, else None."""
    match error:
        case UsageError() | RunError() | Interrupted():
            return str(error), error.status
        case UnicodeEncodeError() if "surrogates" in error.reason:
            advice = "set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
            return f"{error.object!a} cannot be written in this locale: {advice}", 1
        case OSError():
            file = f" ({error.filename})" if error.filename else ""
            advice = "check that it can be read and written and that there is space"
            return f"{error.strerror or error}{file}: {advice}, and run the same command again", 1
        case Exception() if isinstance(error, MemoryError) or re.search(
            "RESOURCE_EXHAUSTED|[Oo]ut of memory", str(error)
        ):
            advice = "--batch-size, --width, --latent-size, --image-size, --seeds or --samples"
            several = "; with --seeds or settings with several values, a small --member-batch"
            return f"out of memory: choose a smaller {advice}{several}", 1
    return None


def first_line(error: BaseException, length: int = 160) -> str:
    """Returns the first line of an error's message, cut to a length; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:length]


def system_reason(error: BaseException | None) -> str | None:
    """Returns the operating system's reason for failing to read or write a file, else None.

    It looks at the error and at what caused it. A missing file is not a reason: it counts as
    damage. TensorStore puts the number of the system's error into the text of its own.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if found := re.search(r"os_error_code='(\d+)'", str(error)):
            number = int(found[1])
        if isinstance(error, MemoryError):
            number = errno.ENOMEM
        if isinstance(number, int) and number not in MISSING_FILE:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None
