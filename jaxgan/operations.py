"""How many floating-point operations a function takes."""

from collections.abc import Iterator
from math import prod
from typing import Any


def operations(jaxpr: Any) -> int:
    """Returns about how many operations a jaxpr takes, the body of a scan once for each iteration.

    A product counts a multiplication and an addition for each of its terms, everything else one
    operation for each number of its result. Of branches the dearest counts, and the body of a
    `while` once, for nobody knows how often it runs.
    """
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    inner = [operations(jaxpr) for jaxpr in _jaxprs(equation.params)]
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


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """Yields the jaxprs that an equation has among its parameters."""
    for value in params.values():
        for each in value if isinstance(value, list | tuple) else [value]:
            closed = getattr(each, "jaxpr", each)
            if hasattr(closed, "eqns"):
                yield closed
