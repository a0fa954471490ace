"""What the base's own operators get when they are lowered, and how they emit a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from hal.errors import ModelError
from hal.graph import AttributeValue, Node
from hal.kernels._program import Block, Step, Value

if TYPE_CHECKING:
    from hal.kernels._lower import Context, Lowering

__all__ = ["StructuralCall", "emit", "with_graph"]


@dataclasses.dataclass(frozen=True)
class StructuralCall:
    """One node of a structural operator, and the lowering to emit into."""

    lowering: Lowering
    node: Node
    version: int
    attributes: Mapping[str, AttributeValue]
    inputs: Sequence[Value | None]
    used: tuple[bool, ...]
    declared: tuple[str, ...]
    context: Context

    @overload
    def integer(self, name: str, default: int) -> int: ...

    @overload
    def integer(self, name: str, default: None) -> int | None: ...

    def integer(self, name: str, default: int | None) -> int | None:
        """An int attribute. Raises ModelError if it is something else."""
        value = self.attributes.get(name, default)
        if value is not None and not isinstance(value, int):
            raise ModelError(f"{self.node.label}: the attribute {name!r} is no int")
        return value

    def outputs(self, types: Sequence[str]) -> list[Value | None]:
        """A value for each output that is used, of the given type or else the declared one."""
        found: list[Value | None] = []
        for index, used in enumerate(self.used):
            type_ = types[index] if index < len(types) else ""
            found.append(Value(type_ or self.declared[index]) if used else None)
        return found


def emit(
    call: StructuralCall,
    function: Callable[..., Any] | None,
    types: Sequence[str],
    *,
    inputs: Sequence[Value | None] | None = None,
    host: Collection[int] = (),
    host_result: bool = False,
    always_tuple: bool = False,
    blocks: Sequence[Block] = (),
    build: Callable[..., Callable[..., Any]] | None = None,
) -> Sequence[Value | None]:
    """Add a step for the node; gives its outputs, folded where they can be."""
    step = Step(
        label=_label(call),
        origin=call.context.origin_of(call.node),
        op_type=call.node.op_type,
        args=call.inputs if inputs is None else inputs,
        outputs=call.outputs(types),
        function=function,
        host=frozenset(host),
        host_result=host_result,
        always_tuple=always_tuple,
        blocks=blocks,
        build=build,
    )
    return call.lowering.add(step, call.context)


def _label(call: StructuralCall) -> str:
    if not call.context.origin:
        return call.node.label
    return f"node {call.context.origin!r} ({call.node.operator} of its function body)"


def with_graph(function: Callable[..., Any], name: str) -> Callable[..., Callable[..., Any]]:
    """How a kernel with a graph attribute is built: the graph arrives as a function."""

    def build(graph: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            *given, captured = args
            return function(*given, **keywords, **{name: lambda *xs: graph(*xs, *captured)})

        return call

    return build
