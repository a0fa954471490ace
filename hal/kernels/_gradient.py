"""Gradient of ai.onnx.preview.training: a part of the graph around it becomes its kernel's `body`.

The node names the part by its ends: the tensors `xs` and `zs` go in, the tensor `y` comes out. Any
array type that can differentiate brings a row `Gradient`, whose kernel is called with the node's
inputs and `body`, a function from these to a tuple of `y`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hal.backend import UnsupportedNode
from hal.errors import ModelError
from hal.graph import Graph, Node, ValueInfo
from hal.kernels._calls import StructuralCall, emit, with_graph
from hal.kernels._graphs import reads
from hal.kernels._program import Value

if TYPE_CHECKING:
    from hal.kernels._lower import Context

__all__ = ["gradient"]


def gradient(call: StructuralCall) -> Sequence[Value | None]:
    """Gradient, version 1: the lowered part of the graph, and the kernel of the table's row."""
    xs, zs = _names(call, "xs"), _names(call, "zs")
    y = call.attributes["y"]
    if not isinstance(y, str) or len(call.inputs) != len(xs) + len(zs) or None in call.inputs:
        raise ModelError(
            f"{call.node.label}: {len(call.inputs)} inputs for the {len(xs)} names of xs and the "
            f"{len(zs)} of zs, and y={y!r}"
        )
    types = [value.type if value is not None else "" for value in call.inputs]
    rows = call.lowering.table.rows(call.node.domain, "Gradient", call.version)
    if not rows:
        call.lowering.problems.append(
            UnsupportedNode(
                call.context.origin_of(call.node), f"Gradient-{call.version}", "no kernel"
            )
        )
        return call.outputs(types)
    nodes, captured = _between([*xs, *zs], y, call.context)
    if y in captured:
        raise ModelError(f"{call.node.label}: no node of its graph gives y={y!r}")
    # What it reads beside xs and zs goes in as well, so that the kernel has all of it in hand.
    scope = call.context.scope
    more = {name: value for name in captured if (value := scope[name]) and not value.constant}
    types += [value.type for value in more.values()]
    inputs = tuple(ValueInfo(n, t) for n, t in zip([*xs, *zs, *more], types, strict=True))
    body = Graph(y, tuple(nodes), inputs, (ValueInfo(y),), {}, {}, {})
    kernel = rows[0].function

    def function(*given: Any, body: Any) -> Any:
        return kernel(*given, count=len(xs), body=body)

    return emit(
        call,
        None,
        types,
        inputs=[*call.inputs, *more.values()],
        always_tuple=True,
        blocks=[call.lowering.subgraph(body, types, call.context)],
        build=with_graph(function, "body"),
    )


def _names(call: StructuralCall, name: str) -> tuple[str, ...]:
    found = call.attributes.get(name, ())
    if not isinstance(found, tuple) or not all(isinstance(n, str) for n in found):
        raise ModelError(f"{call.node.label}: the attribute {name!r} is no list of names")
    return tuple(n for n in found if isinstance(n, str))


def _between(
    inputs: Sequence[str], output: str, context: Context
) -> tuple[list[Node], dict[str, None]]:
    """The nodes around a node that lead from `inputs` to `output`, in their order, and the names
    that they read beside `inputs`."""
    wanted = dict.fromkeys({output}.difference(inputs))
    nodes = []
    for node in reversed(context.nodes):
        if not wanted.keys().isdisjoint(node.outputs):
            nodes.append(node)
            for name in node.outputs:
                wanted.pop(name, None)
            wanted.update(dict.fromkeys(n for n in _reads(node) if n and n not in inputs))
    return nodes[::-1], wanted


def _reads(node: Node) -> Iterator[str]:
    yield from reads(node)
    if (node.domain, node.op_type) == ("ai.onnx.preview.training", "Gradient"):
        yield from (v for v in [node.attributes.get("y")] if isinstance(v, str))
