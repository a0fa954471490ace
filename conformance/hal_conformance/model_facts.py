"""What a model tells of itself: its nodes by name, its operators, the cells it exercises."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx

from hal.contract import contract, operator_key

__all__ = ["ModelFacts", "model_facts", "name_nodes", "type_string"]


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """See CaseFacts, which takes these over."""

    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    cells: tuple[str, ...]
    single_operator: str
    opset: int
    ir_version: int


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node of the model, in subgraphs and local functions too, a name of its own.

    Names that are there and unique stay; the others become `<op_type>_<number>`.
    """
    nodes = [node for node, _ in _walk(model)]
    taken = {node.name for node in nodes}
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    for node in nodes:
        if not node.name or node.name in seen:
            number = numbers.get(node.op_type, 0)
            while f"{node.op_type}_{number}" in taken:
                number += 1
            numbers[node.op_type] = number + 1
            node.name = f"{node.op_type}_{number}"
            taken.add(node.name)
        seen.add(node.name)


def model_facts(model: onnx.ModelProto) -> ModelFacts:
    """The facts of a model whose nodes are named.

    The types of a cell are those of the model's inputs, outputs and initializers, and what ONNX's
    shape inference derives from them. A node whose types stay unknown exercises no cell.
    """
    walked = list(_walk(model))
    local = {(f.domain, f.name) for f in model.functions}
    operators = sorted(
        {
            operator_key(node.domain, node.op_type)
            for node, _ in walked
            if (node.domain, node.op_type) not in local
        }
    )
    opsets = {_canonical(o.domain): o.version for o in model.opset_import}
    cells: set[str] = set()
    for node, types in _walk(_inferred(model)):
        cells.update(
            contract().cells_of(
                node.domain,
                node.op_type,
                opsets.get(_canonical(node.domain), 0),
                [types.get(name) for name in node.input],
                [types.get(name) for name in node.output],
            )
        )
    top = [n for n in model.graph.node if (n.domain, n.op_type) not in local]
    single = operator_key(top[0].domain, top[0].op_type) if top else ""
    return ModelFacts(
        nodes=tuple(node.name for node, _ in walked),
        operators=tuple(operators),
        cells=tuple(sorted(cells)),
        single_operator=single if len(model.graph.node) == 1 else "",
        opset=opsets.get("", 0),
        ir_version=model.ir_version,
    )


def type_string(proto: onnx.TypeProto) -> str:
    """ONNX's type string, e.g. "seq(tensor(float))"; "" for a type that is not stated."""
    kind = proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        number = getattr(proto, kind).elem_type
        element = onnx.TensorProto.DataType.Name(number).lower() if number else ""
        name = "tensor" if kind == "tensor_type" else "sparse_tensor"
        return f"{name}({element})" if element else ""
    if kind in ("sequence_type", "optional_type"):
        element = type_string(getattr(proto, kind).elem_type)
        name = "seq" if kind == "sequence_type" else "optional"
        return f"{name}({element})" if element else ""
    if kind == "map_type":
        key = onnx.TensorProto.DataType.Name(proto.map_type.key_type).lower()
        return f"map({key}, {type_string(proto.map_type.value_type)})"
    return ""


def _canonical(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


Types = dict[str, str]


def _walk(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, Types]]:
    """Every node, with the types of the values that it sees."""
    yield from _walk_graph(model.graph, {})
    for function in model.functions:
        types = {v.name: type_string(v.type) for v in function.value_info}
        for node in function.node:
            yield from _walk_node(node, types)


def _walk_graph(graph: onnx.GraphProto, outer: Types) -> Iterator[tuple[onnx.NodeProto, Types]]:
    types = dict(outer)
    for infos in (graph.input, graph.value_info, graph.output):
        types.update((v.name, t) for v in infos if (t := type_string(v.type)))
    for tensor in graph.initializer:
        types[tensor.name] = f"tensor({onnx.TensorProto.DataType.Name(tensor.data_type).lower()})"
    for node in graph.node:
        yield from _walk_node(node, types)


def _walk_node(node: onnx.NodeProto, types: Types) -> Iterator[tuple[onnx.NodeProto, Types]]:
    yield node, types
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from _walk_graph(attribute.g, types)
        for graph in attribute.graphs:
            yield from _walk_graph(graph, types)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
        return model  # its stated types are what is known
