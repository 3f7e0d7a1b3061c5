"""The settings that are numbers of the step, which a compiled program takes as arguments.

Two configurations that differ in such numbers only share a program. A number that leaves something
out of the step, such as a weight of 0, belongs to the program.
"""

import functools
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from jaxgan.runs.config import Config
from jaxgan.runs.method_settings import (
    AugmentationSettings,
    AverageSettings,
    LossSettings,
    OptimizerSettings,
    PenaltySettings,
    ScheduleSettings,
)

GROUPS = (  # Without the networks, whose settings are sizes and kinds.
    LossSettings,
    PenaltySettings,
    AugmentationSettings,
    OptimizerSettings,
    AverageSettings,
    ScheduleSettings,
)


@functools.cache
def number_settings() -> tuple[str, ...]:
    """Returns the names of the settings that can be arguments of a program."""
    return tuple(
        name for group in GROUPS for name, hint in get_type_hints(group).items() if _is_float(hint)
    )


def numbers_of(config: Config) -> dict[str, float]:
    """Returns the numbers of a configuration that are arguments of its program, by name."""
    values = {name: getattr(config, name) for name in number_settings()}
    return {name: float(value) for name, value in values.items() if not _is_off(name, value)}


def _is_off(name: str, value: float | None) -> bool:
    """Returns whether a number leaves something out: it is not given, 0, or a default of 1."""
    return value is None or value == 0 or value == getattr(Config, name) == 1


def _is_float(hint: Any) -> bool:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return float in kinds
