"""How one input is drawn: what its name, its type and its use in the graph say of its values."""

from __future__ import annotations

import dataclasses
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal._minifloat import widen_bits
from hal.errors import ModelError
from hal.graph import Dim, ModelGraph, ValueInfo
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType

__all__ = ["Drawer", "fed", "is_cache", "symbol"]

_Array = np.ndarray[Any, np.dtype[Any]]
_OTHER = 8


def fed(graph: ModelGraph) -> Iterator[ValueInfo]:
    """The inputs that a run must be given: those without an initializer."""
    main = graph.graph
    for info in main.inputs:
        if info.name not in main.initializers and info.name not in main.sparse_initializers:
            yield info


def symbol(info: ValueInfo, axis: int, dim: Dim) -> str:
    """The name of an open dimension; "" for one of a fixed size."""
    if isinstance(dim, int):
        return "" if dim >= 0 else f"{info.name}.{axis}"
    return dim or f"{info.name}.{axis}"


def is_cache(name: str) -> bool:
    """Whether an input of this name, in lower case, is a cache of keys and values."""
    return bool(re.search(r"past|cache(?!.*(branch|position))", name))


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """What an input is drawn from."""

    info: ValueInfo
    shape: tuple[int, ...]
    rng: np.random.Generator

    @property
    def name(self) -> str:
        return self.info.name.lower()


class Drawer:
    """Draws the inputs of one model. `sizes` gives every open dimension its size."""

    def __init__(self, graph: ModelGraph, sizes: Mapping[str, int], seed: int) -> None:
        self._sizes = sizes
        self._seed = seed
        self._tables = _tables(graph)
        shapes = {info.name: self._shape(info) for info in fed(graph)}
        caches = [s for n, s in shapes.items() if is_cache(n.lower()) and len(s) >= 3]
        self._past = caches[0][-2] if caches else 0
        sequences = [s[1] for n, s in shapes.items() if len(s) == 2 and not is_cache(n.lower())
                     and "mask" not in n.lower()]  # fmt: skip
        self._sequence = sequences[0] if sequences else max(
            (s[1] for s in shapes.values() if len(s) == 3), default=1
        )  # fmt: skip

    def nbytes(self, info: ValueInfo) -> int:
        """About how many bytes a value takes."""
        element = _element(info)
        return max(element.nbytes(math.prod(self._shape(info))), 1)

    def value(self, info: ValueInfo) -> Value:
        """The value of an input, of any of ONNX's types."""
        key = zlib.crc32(info.name.encode("utf-8", "surrogatepass"))
        drawn = _Drawn(info, self._shape(info), np.random.default_rng([self._seed, key]))
        return self._of_type(info.type.replace(" ", ""), drawn)

    def _of_type(self, type_: str, drawn: _Drawn) -> Value:
        kind, _, rest = type_.partition("(")
        inner = rest[:-1]
        if kind == "tensor":
            return self._tensor(ElementType.from_onnx_name(inner), drawn)
        if kind == "seq":
            return SequenceValue(type_, tuple(self._of_type(inner, drawn) for _ in range(2)))
        if kind == "optional":
            return OptionalValue(type_, self._of_type(inner, drawn))
        if kind == "map":
            key, _, value = inner.partition(",")
            count = _OTHER
            keys = np.array([f"k{i}" for i in range(count)], dtype=object)
            if key != "string":
                keys = np.arange(count).astype(ElementType.from_onnx_name(key).storage)
            each = dataclasses.replace(drawn, shape=(count,))
            values = self._of_type(value, each)
            if isinstance(values, Tensor):
                return MapValue(type_, Tensor.from_numpy(keys), values)
        raise ModelError(f"input {drawn.info.name!r}: HAL draws no value of type {type_!r}")

    def _shape(self, info: ValueInfo) -> tuple[int, ...]:
        return tuple(
            self._sizes[name] if (name := symbol(info, axis, dim)) else int(dim or 0)
            for axis, dim in enumerate(info.shape or ())
        )

    def _tensor(self, element: ElementType, drawn: _Drawn) -> Tensor:
        if element is ElementType.STRING:
            words = drawn.rng.choice(["a", "bee", "see", "deed", "\u00e9t\u00e9"], drawn.shape)
            return Tensor.from_numpy(np.asarray(words, dtype=object), element)
        if element is ElementType.BOOL:
            return Tensor.from_numpy(self._flags(drawn))
        if element.is_native and element.storage.kind in "iu":
            return Tensor.from_numpy(self._integers(element, drawn).astype(element.storage))
        if element in (ElementType.INT4, ElementType.UINT4, ElementType.INT2, ElementType.UINT2):
            codes = drawn.rng.integers(0, 1 << element.bits, drawn.shape).astype(np.uint8)
            return Tensor.from_numpy(codes, element)
        if element in (ElementType.COMPLEX64, ElementType.COMPLEX128):
            parts = drawn.rng.standard_normal((2, *drawn.shape))
            return Tensor.from_numpy((parts[0] + 1j * parts[1]).astype(element.storage))
        if element is ElementType.BFLOAT16:
            wide = self._floats(drawn).astype(np.float32).view(np.uint32)
            return Tensor.from_numpy((wide >> 16).astype(np.uint16), element)
        if not element.is_native:
            return Tensor.from_numpy(_codes(element, drawn), element)
        return Tensor.from_numpy(self._floats(drawn).astype(element.storage))

    def _flags(self, drawn: _Drawn) -> _Array:
        if "mask" in drawn.name:
            return _mask(drawn.shape).astype(bool)
        if "branch" in drawn.name or "use_cache" in drawn.name:
            return np.full(drawn.shape, self._past > 0)
        return drawn.rng.integers(0, 2, drawn.shape).astype(bool)

    def _floats(self, drawn: _Drawn) -> _Array:
        if "mask" in drawn.name:
            return _mask(drawn.shape).astype(float)
        if "timestep" in drawn.name:
            return drawn.rng.uniform(0, 1000, drawn.shape)
        if not drawn.shape:
            return np.asarray(drawn.rng.uniform(0, 1))
        return drawn.rng.standard_normal(drawn.shape, np.float32)

    def _integers(self, element: ElementType, drawn: _Drawn) -> _Array:
        for words, draw in self._ROLES:
            if re.search(words, drawn.name):
                return draw(self, drawn)
        table = self._tables.get(drawn.info.name)
        if table is not None:
            return drawn.rng.integers(0, max(table, 1), drawn.shape)
        if element is ElementType.UINT8:
            return drawn.rng.integers(0, 256, drawn.shape)
        top = 100 if re.search(r"ids?$|ids?_|token|label", drawn.name) else 10
        return drawn.rng.integers(1, top, drawn.shape)

    def _ones(self, drawn: _Drawn) -> _Array:
        return _mask(drawn.shape)

    def _positions(self, drawn: _Drawn) -> _Array:
        last = drawn.shape[-1] if drawn.shape else 1
        count = np.arange(self._past, self._past + last)
        table = self._tables.get(drawn.info.name)
        if table:
            count = count % table
        return np.broadcast_to(count if drawn.shape else count[0], drawn.shape)

    def _segments(self, drawn: _Drawn) -> _Array:
        flags = np.zeros(drawn.shape, np.int64)
        if drawn.shape and self._tables.get(drawn.info.name, 2) > 1:
            flags[..., drawn.shape[-1] // 2 :] = 1
        return flags

    def _last(self, drawn: _Drawn) -> _Array:
        return np.full(drawn.shape, self._past + self._sequence - 1)

    def _totals(self, drawn: _Drawn) -> _Array:
        return np.full(drawn.shape, self._past + self._sequence)

    def _lengths(self, drawn: _Drawn) -> _Array:
        lengths = np.full(drawn.shape, self._sequence)
        if drawn.shape:
            lengths[1::2] = max(self._sequence - self._sequence // 4, 1)
        return lengths

    _ROLES: tuple[tuple[str, Callable[[Drawer, _Drawn], _Array]], ...] = (
        (r"mask", _ones),
        (r"position", _positions),
        (r"token_type|segment", _segments),
        (r"seqlens_k", _last),
        (r"total_seq", _totals),
        (r"past_seq", lambda self, drawn: np.full(drawn.shape, self._past)),
        (r"len(gth)?s?$|_lens?_", _lengths),
        (r"timestep", lambda self, drawn: drawn.rng.integers(0, 1000, drawn.shape)),
    )


def _element(info: ValueInfo) -> ElementType:
    name = re.search(r"tensor\((\w+)\)", info.type)
    if name is None:
        if info.type.startswith("map"):
            return ElementType.FLOAT
        raise ModelError(f"input {info.name!r} has the type {info.type!r}, of which HAL draws none")
    return ElementType.from_onnx_name(name[1])


def _mask(shape: tuple[int, ...]) -> _Array:
    """Ones; every other row is shorter, and padded on its left by a quarter."""
    mask = np.ones(shape, np.int64)
    if len(shape) > 1:
        mask[1::2, ..., : shape[-1] // 4] = 0
    return mask


def _codes(element: ElementType, drawn: _Drawn) -> _Array:
    """Bit patterns of moderate finite values."""
    patterns = np.arange(1 << element.bits, dtype=np.uint8)
    values = widen_bits(patterns, element)
    with np.errstate(invalid="ignore"):
        moderate = patterns[np.isfinite(values) & (np.abs(values) <= 4)]
    return drawn.rng.choice(moderate, drawn.shape)


_SAME = frozenset(
    {"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice"}
    | {"Expand", "Clip", "Where"}
)
"""Operators whose result holds the values of their first input (of any, for Where and Clip)."""


def _tables(graph: ModelGraph) -> dict[str, int]:
    """By input: the size of the smallest table that a Gather indexes with its values."""
    main = graph.graph
    sources: dict[str, set[str]] = {info.name: {info.name} for info in fed(graph)}
    found: dict[str, int] = {}
    shapes = {name: tensor.shape for name, tensor in main.initializers.items()}
    for node in main.nodes:  # in topological order
        value = node.attributes.get("value")
        if node.op_type == "Constant" and isinstance(value, Tensor):
            shapes[node.outputs[0]] = value.shape
        if node.op_type == "Gather" and len(node.inputs) == 2 and node.inputs[0] in shapes:
            axis = node.attributes.get("axis", 0)
            shape = shapes[node.inputs[0]]
            if isinstance(axis, int) and -len(shape) <= axis < len(shape):
                for name in sources.get(node.inputs[1], ()):
                    found[name] = min(found.get(name, shape[axis]), shape[axis])
        if node.op_type in _SAME and not node.domain:
            carried = {s for i in node.inputs for s in sources.get(i, ())}
            if node.op_type not in ("Where", "Clip"):
                carried = set(sources.get(node.inputs[0], ())) if node.inputs else set()
            for output in node.outputs:
                sources[output] = carried
    return found
