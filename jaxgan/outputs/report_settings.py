"""The settings of runs as a report shows them: by flag, and what differs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxgan.runs.config import BOOKKEEPING, GROUPS, Config

WHERE = {"out", "overwrite"}
"""Settings that say nothing of a run."""
SHOWN_APART = {"steps", "dataset"}
"""Settings that the table of several runs shows in other words."""


def format_flag(name: str) -> str:
    """Returns a setting as a flag."""
    return "--" + name.replace("_", "-")


def format_value(value: Any) -> str:
    """Returns the value of a setting."""
    match value:
        case None:
            return "not given"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return " ".join(map(str, value)) or "none"
    return str(value)


def format_seconds(seconds: float) -> str:
    """Returns a duration in words, such as 4 min 12 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((i for i, (count, _) in enumerate(parts) if count), 2)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Returns the settings that differ from the defaults: their flags, values and defaults."""
    return [
        (format_flag(field.name), format_value(value), format_value(field.default))
        for field in _flags(config)
        if field.name not in WHERE and (value := _value(config, field.name)) != field.default
    ]


def _flags(config: Config) -> list[dataclasses.Field]:
    """Returns the settings that have a flag."""
    return [field for field in dataclasses.fields(config) if field.name != "axes"]


def _value(config: Config, name: str) -> Any:
    """Returns the value of a setting, or its values."""
    return config.axes.get(name, getattr(config, name))


def all_settings(config: Config) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns all settings by group: its title, and the flags and values in it."""
    return [
        (
            title,
            [
                (format_flag(field.name), format_value(_value(config, field.name)))
                for field in dataclasses.fields(group)
            ],
        )
        for title, group in GROUPS.items()
    ]


def differing_settings(configs: Sequence[Config]) -> list[tuple[str, list[str]]]:
    """Returns the settings that may change results and in which runs differ.

    They have a flag, and a value for each run.
    """
    columns = {
        field.name: [_value(config, field.name) for config in configs]
        for field in _flags(configs[0])
        if field.name not in (BOOKKEEPING - {"recipe"}) | SHOWN_APART
    }
    return [
        (format_flag(name), [format_value(value) for value in values])
        for name, values in columns.items()
        if any(value != values[0] for value in values)
    ]
