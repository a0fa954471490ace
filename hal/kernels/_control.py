"""Control flow over any array type: If, Loop, Scan and SequenceMap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hal.errors import ModelError
from hal.graph import Graph
from hal.kernels._arrays import Arrays
from hal.kernels._calls import StructuralCall, emit
from hal.kernels._program import Block, Value, element_type_of
from hal.types import ElementType

__all__ = ["if_", "loop", "scan", "sequence_map"]

Outputs = Sequence["Value | None"]
Function = Callable[..., tuple[Any, ...]]


def _graph(call: StructuralCall, name: str) -> Graph:
    graph = call.attributes.get(name)
    if not isinstance(graph, Graph):
        raise ModelError(f"{call.node.label}: the attribute {name!r} is no graph")
    return graph


def _types(values: Sequence[Value | None]) -> list[str]:
    return [v.type if v is not None else "" for v in values]


def _sized(call: StructuralCall, graph: Graph, least: int) -> None:
    if len(graph.outputs) != least:
        raise ModelError(
            f"{call.node.label}: {least} values are expected of the graph, it has "
            f"{len(graph.outputs)} outputs"
        )


def if_(call: StructuralCall) -> Outputs:
    """If, every version. A known condition leaves only its branch, in line."""
    graphs = [_graph(call, "then_branch"), _graph(call, "else_branch")]
    condition = call.inputs[0]
    for graph in graphs:
        if graph.inputs:
            raise ModelError(f"{call.node.label}: a branch has inputs")
        _sized(call, graph, len(call.node.outputs))
    if condition is not None and condition.constant:
        taken = graphs[not call.lowering.constants.host(condition).item()]
        return call.lowering.inline_subgraph(taken, call.context)
    blocks = [call.lowering.subgraph(graph, (), call.context) for graph in graphs]
    _unused(call, blocks, 0)

    def build(then: Function, otherwise: Function) -> Function:
        def run_if(condition: Any, first: Any, second: Any) -> tuple[Any, ...]:
            return then(*first) if condition.item() else otherwise(*second)

        return run_if

    types = [
        max((a, b), key=len) if a.startswith("optional(") or b.startswith("optional(") else a or b
        for a, b in zip(_types(blocks[0].results), _types(blocks[1].results), strict=False)
    ]
    return emit(call, None, types, host=(0,), always_tuple=True, blocks=blocks, build=build)


def _unused(call: StructuralCall, blocks: Sequence[Block], first: int) -> None:
    """Results that nobody reads are not computed."""
    for block in blocks:
        for index, used in enumerate(call.used):
            if not used:
                block.results[first + index] = None


def loop(call: StructuralCall) -> Outputs:
    """Loop, every version: loop-carried values of any type, scan outputs stacked on axis 0."""
    graph = _graph(call, "body")
    inputs = [*call.inputs, *[None] * (2 - len(call.inputs))]
    states = inputs[2:]
    count = len(states)
    if len(graph.inputs) != 2 + count:
        raise ModelError(f"{call.node.label}: the body has {len(graph.inputs)} inputs")
    if len(graph.outputs) < 1 + count:
        raise ModelError(f"{call.node.label}: the body has {len(graph.outputs)} outputs")
    _sized(call, graph, 1 + max(len(call.node.outputs), count))
    carried = ["tensor(int64)", "tensor(bool)", *_types(states)]
    body = call.lowering.subgraph(graph, carried, call.context)
    results = _types(body.results)
    for index in range(count, len(call.used)):
        if not call.used[index]:
            body.results[1 + index] = None
    runs_on = body.results[0] is body.params[1] or _is_true(call, body.results[0])
    arrays = call.lowering.arrays
    empty = [_empty(arrays, graph, 1 + count + i, t) for i, t in enumerate(results[1 + count :])]

    def build(body: Function) -> Function:
        def run_loop(limit: Any, condition: Any, *rest: Any) -> tuple[Any, ...]:
            *state, captured = rest
            going = condition is None or bool(condition.item())
            trips = None if limit is None else int(limit.item())
            if trips is None and runs_on and going:
                raise ValueError("the loop never ends: no trip count, and the condition stays true")
            found: list[list[Any]] = [[] for _ in empty]
            true = arrays.from_host(np.array(True), ElementType.BOOL)
            trip = 0
            del rest
            while going and (trips is None or trip < trips):
                number = arrays.from_host(np.array(trip, dtype=np.int64), ElementType.INT64)
                again, *state = body(number, true, *state, *captured)
                for into in found[::-1]:
                    into.append(state.pop())
                trip += 1
                if not runs_on:
                    going = bool(arrays.to_host(again, ElementType.BOOL).item())
            stacked = [
                None if make is None else arrays.stack(items, 0) if items else make()
                for items, make in zip(found, empty, strict=False)
            ]
            return (*state, *stacked)

        return run_loop

    for index in range(len(empty)):
        position = count + index
        if position < len(call.used) and not call.used[position]:
            empty[index] = None
    types = [_state(s, r) for s, r in zip(_types(states), results[1:], strict=False)]
    types += results[1 + count :]
    return emit(
        call,
        None,
        types,
        inputs=inputs,
        host=(0, 1),
        always_tuple=True,
        blocks=[body],
        build=build,
    )


def _state(given: str, result: str) -> str:
    """The type of a loop-carried value: an optional that the body always fills comes out filled."""
    return result if given == f"optional({result})" else given or result


def _is_true(call: StructuralCall, value: Value | None) -> bool:
    if value is None or not value.constant:
        return False
    return bool(call.lowering.constants.host(value).item())


def _empty(
    arrays: Arrays, graph: Graph, position: int, type_: str, axis: int = 0
) -> Callable[[], Any] | None:
    """Makes a scan output of no iterations; its unknown dimensions are 0."""
    declared = graph.outputs[position]
    element_type = element_type_of(type_ or declared.type) or ElementType.FLOAT
    shape = [d if isinstance(d, int) else 0 for d in declared.shape or ()]
    shape.insert(axis % (len(shape) + 1), 0)
    return lambda: arrays.zeros(shape, element_type)


def _integers(call: StructuralCall, name: str, count: int) -> list[int]:
    given = call.attributes.get(name)
    found = [int(i) for i in given] if isinstance(given, tuple) else [0] * count  # type: ignore[arg-type]
    if len(found) != count:
        raise ModelError(f"{call.node.label}: {name!r} has {len(found)} items, {count} expected")
    return found


def scan(call: StructuralCall) -> Outputs:
    """Scan, every version; version 8 has a batch axis and sequence lengths."""
    graph = _graph(call, "body")
    batched = call.version == 8
    scanned = call.attributes.get("num_scan_inputs")
    inputs = list(call.inputs)
    given = inputs[1:] if batched else inputs
    if not isinstance(scanned, int) or not 1 <= scanned <= len(given):
        raise ModelError(f"{call.node.label}: num_scan_inputs is {scanned!r}")
    count = len(given) - scanned
    made = len(graph.outputs) - count
    if len(graph.inputs) != len(given) or made < 0 or len(call.node.outputs) > len(graph.outputs):
        raise ModelError(f"{call.node.label}: the body does not fit its inputs and outputs")
    if batched:
        forwards = _integers(call, "directions", scanned)
        in_axes, out_axes, backwards = [0] * scanned, [0] * made, [0] * made
    else:
        forwards = _integers(call, "scan_input_directions", scanned)
        in_axes = _integers(call, "scan_input_axes", scanned)
        out_axes = _integers(call, "scan_output_axes", made)
        backwards = _integers(call, "scan_output_directions", made)
    body = call.lowering.subgraph(graph, _types(given), call.context)
    results = _types(body.results)
    arrays = call.lowering.arrays
    empty = [
        _empty(arrays, graph, count + i, results[count + i], axis)
        for i, axis in enumerate(out_axes)
    ]

    def one(body: Function, state: list[Any], xs: Sequence[Any], length: int, captured: Any) -> Any:
        found: list[list[Any]] = [[] for _ in empty]
        for trip in range(length):
            slices = [
                arrays.take(x, length - 1 - trip if back else trip, axis)
                for x, axis, back in zip(xs, in_axes, forwards, strict=False)
            ]
            outputs = body(*state, *slices, *captured)
            state = list(outputs[:count])
            for into, item in zip(found, outputs[count:], strict=False):
                into.append(item)
        stacked = [
            arrays.stack(items[::-1] if back else items, axis) if items else make and make()
            for items, make, axis, back in zip(found, empty, out_axes, backwards, strict=False)
        ]
        return state, stacked

    def length_of(xs: Sequence[Any], axes: Sequence[int]) -> int:
        lengths = {arrays.shape(x)[axis] for x, axis in zip(xs, axes, strict=False)}
        if len(lengths) != 1:
            raise ValueError(f"scan inputs of different lengths: {sorted(lengths)}")
        return lengths.pop()

    def build(body: Function) -> Function:
        def run_scan(*args: Any) -> tuple[Any, ...]:
            *rest, captured = args
            state, stacked = one(
                body, rest[:count], rest[count:], length_of(rest[count:], in_axes), captured
            )
            return (*state, *stacked)

        def run_batched(lengths: Any, *args: Any) -> tuple[Any, ...]:
            *rest, captured = args
            longest = length_of(rest[count:], [1] * scanned)
            batch = length_of(rest, [0] * len(rest))
            columns: list[list[Any]] = [[] for _ in graph.outputs]
            for index in range(batch):
                own = [arrays.take(x, index, 0) for x in rest]
                length = longest if lengths is None else int(lengths[index])
                state, stacked = one(body, own[:count], own[count:], length, captured)
                padded = [
                    _padded(arrays, item, longest, type_)
                    for item, type_ in zip(stacked, results[count:], strict=False)
                ]
                for column, item in zip(columns, (*state, *padded), strict=False):
                    column.append(item)
            return tuple(arrays.stack(column, 0) for column in columns)

        return run_batched if batched else run_scan

    types = [s or r for s, r in zip(_types(given[:count]), results, strict=False)] + results[count:]
    return emit(
        call,
        None,
        types,
        host=(0,) if batched else (),
        always_tuple=True,
        blocks=[body],
        build=build,
    )


def _padded(arrays: Arrays, item: Any, length: int, type_: str) -> Any:
    """Scan-8 fills what lies behind a sequence's own length with zeros."""
    shape = arrays.shape(item)
    if shape[0] == length:
        return item
    rest = arrays.zeros(
        (length - shape[0], *shape[1:]), element_type_of(type_) or ElementType.FLOAT
    )
    return arrays.concat([item, rest], 0)


def sequence_map(call: StructuralCall) -> Outputs:
    """SequenceMap: the body for every item of the first input; other sequences go in step."""
    graph = _graph(call, "body")
    if len(graph.inputs) != len(call.inputs) or len(graph.outputs) < len(call.node.outputs):
        raise ModelError(f"{call.node.label}: the body does not fit its inputs and outputs")
    sequences = [t.startswith("seq(") for t in _types(call.inputs)]
    items = [t[4:-1] if s else t for t, s in zip(_types(call.inputs), sequences, strict=False)]
    body = call.lowering.subgraph(graph, items, call.context)

    def build(body: Function) -> Function:
        def run_map(*args: Any) -> tuple[Any, ...]:
            *given, captured = args
            found: list[list[Any]] = [[] for _ in graph.outputs]
            for index in range(len(given[0])):
                own = [x[index] if s else x for x, s in zip(given, sequences, strict=False)]
                for into, item in zip(found, body(*own, *captured), strict=False):
                    into.append(item)
            return tuple(found)

        return run_map

    types = [f"seq({t})" if t else "" for t in _types(body.results)]
    return emit(call, None, types, always_tuple=True, blocks=[body], build=build)
