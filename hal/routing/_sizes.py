"""Open dimensions: the sizes that inputs give them, and the buckets that sizes fall in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hal._drawing import symbol
from hal.graph import ValueInfo

__all__ = ["bucket", "sizes_of"]


def sizes_of(infos: Iterable[ValueInfo], given: Mapping[str, Any]) -> dict[str, int]:
    """The size of every open dimension, by its symbol, of values or arrays with a `shape`."""
    found: dict[str, int] = {}
    for info in infos:
        shape = getattr(given.get(info.name), "shape", None)
        if shape is None or info.shape is None:
            continue
        for axis, (dim, size) in enumerate(zip(info.shape, shape, strict=False)):
            name = symbol(info, axis, dim)
            if name:
                found.setdefault(name, int(size))
    return found


def bucket(sizes: Mapping[str, int]) -> str:
    """Sizes that share a decision: each rounded up to a power of two."""
    return ",".join(f"{name}={_rounded(size)}" for name, size in sorted(sizes.items()))


def _rounded(size: int) -> int:
    return 1 << (size - 1).bit_length() if size > 1 else size
