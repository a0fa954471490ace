"""What a graph is lowered to: blocks of steps over values. Internal, and built up in place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hal.graph import Dim
from hal.kernels._arrays import Arrays
from hal.kernels._table import NodeInfo
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["Block", "Constants", "Step", "Value", "element_type_of", "tensor_types"]

_ELEMENT = re.compile(r"tensor\((\w+)\)")
_NOTHING = object()


def tensor_types(type_: str) -> list[ElementType]:
    """The element types inside a type string; empty when it is unknown."""
    return [ElementType.from_onnx_name(name) for name in _ELEMENT.findall(type_)]


def element_type_of(type_: str) -> ElementType | None:
    """The element type of a tensor type string; None for any other type."""
    found = _ELEMENT.fullmatch(type_)
    return ElementType.from_onnx_name(found[1]) if found else None


@dataclasses.dataclass(eq=False)
class Value:
    """One value of the program. A constant has a tensor, or a literal on the device or the host;
    its other forms are made when they are asked for."""

    type: str = ""
    shape: tuple[Dim, ...] | None = None
    tensor: Tensor | None = None
    literal: Any = _NOTHING
    host_literal: Any = _NOTHING

    @property
    def constant(self) -> bool:
        return (
            self.tensor is not None
            or self.literal is not _NOTHING
            or self.host_literal is not _NOTHING
        )


class Constants:
    """Gives constant values the form that is asked for, once."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def device(self, value: Value) -> Any:
        """The constant as the adapter's array (or list, dict, None)."""
        if value.literal is _NOTHING:
            if value.host_literal is not _NOTHING:
                value.literal = to_device(self._arrays, value.host_literal, value.type)
            elif value.tensor is not None:
                value.literal = self._arrays.from_tensor(value.tensor)
        return value.literal

    def host(self, value: Value) -> Any:
        """The constant as a NumPy array (or list, dict, None)."""
        if self._arrays.is_host:
            return self.device(value)
        if value.host_literal is _NOTHING:
            if value.tensor is not None:
                value.host_literal = value.tensor.numpy()
            else:
                value.host_literal = to_host(self._arrays, value.literal, value.type)
        return value.host_literal


def _inside(type_: str) -> str:
    """The type of a container's items."""
    if type_.startswith(("seq(", "optional(")):
        return type_[type_.index("(") + 1 : -1]
    if type_.startswith("map("):
        return type_[type_.index(",") + 1 : -1].strip()
    return type_


def to_host(arrays: Arrays, item: Any, type_: str) -> Any:
    """A device value of any type on the host."""
    if item is None:
        return None
    if type_.startswith("optional("):
        return to_host(arrays, item, _inside(type_))
    if isinstance(item, list):
        return [to_host(arrays, i, _inside(type_)) for i in item]
    if isinstance(item, Mapping):
        return item
    return arrays.to_host(item, element_type_of(type_))


def to_device(arrays: Arrays, item: Any, type_: str) -> Any:
    """A host value of any type on the device."""
    if item is None:
        return None
    if type_.startswith("optional("):
        return to_device(arrays, item, _inside(type_))
    if isinstance(item, list):
        return [to_device(arrays, i, _inside(type_)) for i in item]
    if isinstance(item, Mapping):
        return item
    return arrays.from_host(item, element_type_of(type_) or ElementType.from_dtype(item.dtype))


@dataclasses.dataclass(eq=False)
class Step:
    """One call in the generated source.

    `function` gets `args`, then for each of `blocks` a tuple of what that block captures; with
    blocks, `build` makes it from their compiled functions.
    """

    label: str
    origin: str
    args: Sequence[Value | None]
    outputs: Sequence[Value | None]
    op_type: str = ""
    function: Callable[..., Any] | None = None
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    may_be_tuple: bool = False
    """A kernel of an operator with several outputs may return a tuple where one is wanted."""
    always_tuple: bool = False
    host: frozenset[int] = frozenset()
    on_host: bool = False
    host_result: bool = False
    host_only: bool = False
    deterministic: bool = True
    moved: Callable[[], tuple[Callable[..., Any], Mapping[str, Any]]] | None = None
    """How to compute it on the host instead, if that is possible."""
    info: NodeInfo | None = None
    """What was known of the node; None for the base's own operators."""
    folded: bool = False
    """It became shape arithmetic of the host program."""
    blocks: Sequence[Block] = ()
    build: Callable[..., Callable[..., Any]] | None = None

    def wants_host(self, position: int) -> bool:
        return self.on_host or position in self.host


@dataclasses.dataclass(eq=False)
class Block:
    """A graph that becomes one function: of `params`, then of `captures()`, to `results`."""

    params: list[Value] = dataclasses.field(default_factory=list)
    steps: list[Step] = dataclasses.field(default_factory=list)
    results: list[Value | None] = dataclasses.field(default_factory=list)

    def captures(self) -> list[Value]:
        """The values of enclosing blocks that it reads, constants aside, each once."""
        own = set(map(id, self.params))
        found: dict[int, Value] = {}
        for step in self.steps:
            for value in _reads(step):
                if id(value) not in own:
                    found[id(value)] = value
            own.update(id(v) for v in step.outputs if v is not None)
        for result in self.results:
            if result is not None and not result.constant and id(result) not in own:
                found[id(result)] = result
        return list(found.values())

    def prune(self) -> None:
        """Drop the steps whose outputs nobody reads, here and in nested blocks."""
        needed = {id(v) for v in self.results if v is not None}
        kept: list[Step] = []
        for step in reversed(self.steps):
            if not any(v is not None and id(v) in needed for v in step.outputs):
                continue
            for block in step.blocks:
                block.prune()
            needed.update(id(v) for v in _reads(step))
            kept.append(step)
        self.steps = kept[::-1]

    def walk(self) -> Iterator[Step]:
        """Every step, nested blocks included."""
        for step in self.steps:
            yield step
            for block in step.blocks:
                yield from block.walk()


def _reads(step: Step) -> Iterator[Value]:
    for value in step.args:
        if value is not None and not value.constant:
            yield value
    for block in step.blocks:
        yield from block.captures()
