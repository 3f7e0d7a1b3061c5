"""Limits of settings, declared beside the field of a dataclass and checked in one place."""

import dataclasses
import re
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from jaxgan.errors import UsageError, check_choice


class Range(NamedTuple):
    """The smallest and the largest value of a number, both allowed, and their wording."""

    low: float
    high: float
    wording: str


Count = Annotated[int, Range(1, 2**31 - 1, "at least 1 and below 2**31")]
LARGEST_FLOAT32 = 3.4e38
BELOW_ONE = 1 - 2.0**-24
"""The largest number that is still below one as a float32."""

Index = Annotated[int, Range(0, 2**31 - 1, "at least 0 and below 2**31")]
Share = Annotated[float, Range(2.0**-24, 1, "above 0 and at most 1")]
UnitInterval = Annotated[float, Range(0, 1, "at least 0 and at most 1")]
Fraction = Annotated[float, Range(0, BELOW_ONE, "at least 0 and below 1")]
Weight = Annotated[float, Range(0, LARGEST_FLOAT32, "at least 0 and at most 3.4e38")]
ProfileWidth = Annotated[float, Range(1e-3, 0.28, "at least 0.001 and at most 0.28")]
Rate = Annotated[float, Range(5e-324, LARGEST_FLOAT32, "above 0 and at most 3.4e38")]


class Pattern(NamedTuple):
    """The regular expression that a text must match, and its wording."""

    expression: str
    wording: str


def check_fields(settings: Any) -> None:
    """Raises `UsageError` for a field outside of its type's limits.

    settings: a dataclass. A type may be `Literal` values, a number that is `Annotated` with a
    `Range`, a text that is with a `Pattern`, a tuple of these, or a union of them; other types have
    no limits.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        flag = "--" + field.name.replace("_", "-")
        _check_value(flag, getattr(settings, field.name), hints[field.name])


def _check_value(flag: str, value: Any, hint: Any) -> None:
    literals: list = []
    if get_origin(hint) in (Union, types.UnionType):
        literals = [each for hint in get_args(hint) if _is_literal(hint) for each in get_args(hint)]
        if value is None or value in literals:
            return
        others = [each for each in get_args(hint) if each is not type(None)]
        hint = next((each for each in others if not _is_literal(each)), others[0])
    if _is_literal(hint):
        check_choice(f"value {value!r} of {flag}", value, get_args(hint))
    elif get_origin(hint) is tuple:
        for each in value:
            _check_value(flag, each, get_args(hint)[0])
    elif get_origin(hint) is Annotated:
        for limit in get_args(hint)[1:]:
            _check_limit(flag, value, limit, literals)


def _check_limit(flag: str, value: Any, limit: Any, literals: list) -> None:
    """Raises `UsageError` for a value outside of a limit. literals: the other values allowed."""
    if isinstance(limit, Range) and not limit.low <= value <= limit.high:
        raise UsageError(f"{flag} {value} must be {limit.wording}")
    if isinstance(limit, Pattern) and not re.fullmatch(limit.expression, str(value)):
        raise UsageError(
            f"unknown value {value!r} of {flag}; known: {', '.join([*literals, limit.wording])}"
        )


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal
