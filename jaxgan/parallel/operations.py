"""The number of floating-point operations of a function, counted from its jaxpr."""

from collections.abc import Iterator
from math import prod
from typing import Any


def count_operations(jaxpr: Any) -> int:
    """Returns the approximate number of operations of a jaxpr.

    A product counts two operations for each of its terms, any other operation one for each number
    of its result. The body of a scan counts once for each iteration, of branches the most expensive
    one counts, and the body of a `while` counts once, since its iterations are not known.
    """
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    inner = [count_operations(jaxpr) for jaxpr in _inner_jaxprs(equation.params)]
    size = sum(prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
    match equation.primitive.name:
        case "scan":
            return equation.params["length"] * sum(inner)
        case "cond":
            return max(inner)
        case "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            return 2 * size * prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        case "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            return 2 * size * prod(kernel) // outputs
        case _:
            return sum(inner) if inner else size


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """Yields the jaxprs among the parameters of an equation."""
    for value in params.values():
        for each in value if isinstance(value, list | tuple) else [value]:
            closed = getattr(each, "jaxpr", each)
            if hasattr(closed, "eqns"):
                yield closed
