"""The values of settings with several values, in the order and the types of the settings."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, get_type_hints


def arrange_axes(settings: type, axes: dict[str, Iterable]) -> dict[str, tuple]:
    """Returns the values of settings by name, in the order of the fields of a dataclass.

    So the order of the members does not depend on that of the flags. Integers become floats where
    the setting is a float.
    """
    order = [field.name for field in dataclasses.fields(settings)]
    known = sorted(axes, key=lambda name: order.index(name) if name in order else 0)
    return {name: _as_declared(settings, name, axes[name]) for name in known}


def with_first_values(config: Any) -> Any:
    """Returns the configuration in which a setting with several values itself has the first one."""
    fields = dataclasses.fields(config)
    single = {field.name for field in fields if not isinstance(field.default, bool | tuple)}
    first = {name: own[0] for name, own in config.axes.items() if own and name in single}
    return dataclasses.replace(config, **first)


def _as_declared(settings: type, name: str, values: Iterable) -> tuple:
    hint = str(_hints(settings).get(name))
    as_float = "float" in hint and "int" not in hint
    return tuple(float(v) if as_float and type(v) is int else v for v in values)


@functools.cache
def _hints(settings: type) -> dict[str, Any]:
    return get_type_hints(settings)
