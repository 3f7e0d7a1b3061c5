"""The errors that a user can cause: each is one line that says what to do."""


class UsageError(ValueError):
    """A setting that cannot be used; the command ends with status 2."""

    status = 2


class RunError(RuntimeError):
    """Something on the machine or in the run stands in the way; the command ends with status 1."""

    status = 1


class Diverged(RunError):
    """Training reached a value that is not finite."""


def choose(kind: str, table: dict, name: str):
    """Returns `table[name]`; raises `UsageError` that lists the known names."""
    if name not in table:
        raise UsageError(f"unknown {kind} '{name}'; known: {', '.join(table)}")
    return table[name]
