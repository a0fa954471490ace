"""What a cell is about: its operator, and its type in one word."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CONTAINERS", "TYPES", "operator_and_type", "operators_and_types"]

TYPES = (
    "float", "float16", "bfloat16", "double",
    "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0",
    "float6e2m3", "float6e3m2", "float4e2m1",
    "int64", "int32", "int16", "int8", "int4", "int2",
    "uint64", "uint32", "uint16", "uint8", "uint4", "uint2",
    "bool", "string", "complex64", "complex128",
)  # fmt: skip
"""The element types, in the order in which people look for them."""

CONTAINERS = ("seq", "optional", "map")
"""The words for what is no tensor, whatever it holds."""


def operator_and_type(cell: str, operators: Iterable[str] = ()) -> tuple[str, str]:
    """Of "Add-14/T/tensor(float)" ("Add", "float"), of "If-25/V/seq(tensor(int8))" ("If", "seq").

    A cell of another form is one of a plugin's suite. Of `operators`, those of the case, the one
    that it names is taken out of it: "forward/add-float32" gives ("add", "forward float32").
    """
    head, slash, rest = cell.partition("/")
    operator, dash, version = head.rpartition("-")
    _, second, type_ = rest.partition("/")
    if slash and second and dash and version.isdecimal():
        return operator, _word(type_)
    for name in sorted(operators, key=len, reverse=True):
        before, found, after = cell.partition(name)
        if found:
            words = (w.strip("/-.") for w in (before, after))
            return name, " ".join(w for w in words if w) or "cases"
    return "", cell


def operators_and_types(
    cells: Iterable[str], operators: Iterable[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The distinct pairs of several cells, in their order."""
    operators = tuple(operators)
    return tuple(dict.fromkeys(operator_and_type(c, operators) for c in cells))


def _word(type_: str) -> str:
    outer, _, inner = type_.partition("(")
    return inner.rstrip(")") if outer == "tensor" else outer
