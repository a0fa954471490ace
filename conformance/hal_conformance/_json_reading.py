"""How a report's JSON is read: each value has its type, and a fault names its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hal.errors import DataError

__all__ = ["Misplaced", "counts", "each", "get", "number", "strings", "texts"]

T = TypeVar("T")


def each(data: Any, key: str, reader: Callable[[Any], T]) -> tuple[T, ...]:
    items = []
    for index, item in enumerate(get(data, key, list)):
        try:
            items.append(reader(item))
        except Misplaced as error:
            raise Misplaced(f"{key}[{index}].{error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise Misplaced(f"{key}[{index}]: {text}") from None
    return tuple(items)


class Misplaced(DataError):
    """A fault whose place in the file is known already."""


def get(data: Any, key: str, *types: type) -> Any:
    if not isinstance(data, dict):
        raise TypeError(f"expected an object, got {type(data).__name__}")
    value = data[key]
    # bool is an int to isinstance, and never meant as one here
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join(t.__name__ for t in types)
        raise TypeError(f"{key!r} is no {wanted}")
    return value


def number(data: Any, key: str) -> float:
    value = float(get(data, key, int, float))
    if not math.isfinite(value):
        raise ValueError(f"{key!r} is not finite")
    return value


def strings(data: Any, key: str) -> tuple[str, ...]:
    values = get(data, key, list)
    if not all(isinstance(v, str) for v in values):
        raise TypeError(f"{key!r} holds something that is no text")
    return tuple(values)


def texts(data: Any, key: str) -> Mapping[str, str]:
    values = get(data, key, dict)
    if not all(isinstance(v, str) for v in values.values()):
        raise TypeError(f"{key!r} holds something that is no text")
    return dict(values)


def counts(data: Any, key: str) -> Mapping[str, int]:
    values = get(data, key, dict)
    return {name: get(values, name, int) for name in values}
