"""The errors that a user can cause: each is one line that says what to do."""

import re


class UsageError(ValueError):
    """A setting that cannot be used; the command ends with status 2."""

    status = 2


class RunError(RuntimeError):
    """Something on the machine or in the run stands in the way; the command ends with status 1."""

    status = 1


class Diverged(RunError):
    """Training reached a value that is not finite."""


class Interrupted(Exception):
    """A signal ended the run, after its state was saved; the command ends with `status`."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.status = 128 + number


def choose(kind: str, table: dict, name: str):
    """Returns `table[name]`; raises `UsageError` that lists the known names."""
    if name not in table:
        raise UsageError(f"unknown {kind} '{name}'; known: {', '.join(table)}")
    return table[name]


def explained(error: BaseException) -> tuple[str, int] | None:
    """Returns the line and the exit status for an error that a user can cause, None for others."""
    match error:
        case UsageError() | RunError() | Interrupted():
            return str(error), error.status
        case UnicodeEncodeError() if "surrogates" in error.reason:
            advice = "set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
            return f"{error.object!a} cannot be written in this locale: {advice}", 1
        case OSError():
            place = f" ({error.filename})" if error.filename else ""
            advice = "see that it can be read and written and has room"
            return f"{error.strerror or error}{place}: {advice}, and run the same command again", 1
        case Exception() if isinstance(error, MemoryError) or re.search(
            "RESOURCE_EXHAUSTED|[Oo]ut of memory", str(error)
        ):
            advice = (
                "choose a smaller --batch-size, --width, --latent-size, --image-size or --seeds"
            )
            return f"out of memory: {advice}", 1
    return None
