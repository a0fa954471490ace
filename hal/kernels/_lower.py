"""Lowers a checked ONNX graph to blocks of steps: types, kernels, inlining, folding in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hal.backend import UnsupportedNode
from hal.contract import Contract, Operator, contract
from hal.errors import ModelError
from hal.graph import (
    AttributeValue,
    Function,
    Graph,
    ModelGraph,
    Node,
    SparseTensor,
)
from hal.kernels import _fold
from hal.kernels._arrays import Arrays
from hal.kernels._calls import StructuralCall, with_graph
from hal.kernels._checks import check_call, check_versions
from hal.kernels._functions import schema_function
from hal.kernels._graphs import live, node_name, resolved
from hal.kernels._precision import Precision, PrecisionPolicy
from hal.kernels._program import Block, Constants, Step, Value, tensor_types
from hal.kernels._select import Refusal, select
from hal.kernels._structural import STRUCTURAL
from hal.kernels._table import KernelTable, NodeInfo
from hal.kernels._types import infer_output_types
from hal.tensor import Tensor

__all__ = ["Context", "Lowering"]

LARGEST_PROGRAM = 1_000_000
"""Nodes after inlining; functions that call functions can otherwise grow without bound."""
DEEPEST_CALL = 40


class Scope:
    """Names of one graph or function body; None stands for an absent optional value."""

    def __init__(self, parent: Scope | None) -> None:
        self._parent = parent
        self._names: dict[str, Value | None] = {}

    def __setitem__(self, name: str, value: Value | None) -> None:
        self._names[name] = value

    def __getitem__(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope._names:
                return scope._names[name]
            scope = scope._parent
        return None


@dataclasses.dataclass(frozen=True)
class Context:
    """Where a node stands: what its names, operator sets and referenced attributes mean."""

    scope: Scope
    block: Block
    opsets: Mapping[str, int]
    origin: str = ""
    """The model's node that this one came from by inlining; "" for the model's own nodes."""
    attributes: Mapping[str, AttributeValue] = dataclasses.field(default_factory=dict)
    calls: tuple[tuple[str, str, str], ...] = ()
    nodes: Sequence[Node] = ()
    """All nodes of the graph or function body that the node stands in."""

    def origin_of(self, node: Node) -> str:
        return self.origin or node_name(node)


class Lowering:
    """One model's lowering. `problems` gathers every node that cannot run, before anything does."""

    def __init__(
        self,
        model: ModelGraph,
        table: KernelTable,
        host_table: KernelTable | None,
        arrays: Arrays,
        fold_limit: int,
        precision: PrecisionPolicy | None = None,
    ) -> None:
        self.model = model
        self.table = table
        self.host_table = None if arrays.is_host else host_table
        self.arrays = arrays
        self.constants = Constants(arrays)
        self.contract: Contract = contract()
        self.fold_limit = fold_limit
        self.problems: list[UnsupportedNode] = []
        self.kept: set[str] = set()
        """Names of nodes that need no step and yet are not folded: an Identity of a live value."""
        self._count = 0
        self._precision = Precision(self, precision) if precision is not None else None
        check_versions(model, self.contract)

    def run(self, overridden: frozenset[str] = frozenset()) -> tuple[Block, list[str]]:
        """Lower the main graph; gives its block and the names of the block's parameters.
        `overridden` names the initializers that are fed after all."""
        graph = self.model.graph
        block = Block()
        context = Context(Scope(None), block, self.model.opset_import)
        names: list[str] = []
        for info in graph.inputs:
            known = info.name in graph.initializers or info.name in graph.sparse_initializers
            if known and info.name not in overridden:
                continue
            value = Value(info.type, info.shape)
            self._check_supported_type(info.name, info.type)
            context.scope[info.name] = value
            block.params.append(value)
            names.append(info.name)
        try:
            block.results = self.graph_body(graph, context, skip=frozenset(names))
            block.prune()
        except RecursionError:
            raise ModelError("the model's graphs and functions are nested too deep") from None
        return block, names

    def graph_body(
        self, graph: Graph, context: Context, skip: frozenset[str] = frozenset()
    ) -> list[Value | None]:
        """Lower a graph's initializers and nodes into the context's block; gives its outputs."""
        for name, tensor in graph.initializers.items():
            if name not in skip:
                context.scope[name] = constant(tensor)
        for name, sparse in graph.sparse_initializers.items():
            if name not in skip:
                context.scope[name] = constant(_fold.dense(sparse))
        declared = {**graph.value_info, **{o.name: o for o in graph.outputs}}
        types = {name: info.type for name, info in declared.items()}
        self.nodes(graph.nodes, [o.name for o in graph.outputs], types, context)
        results = [context.scope[o.name] for o in graph.outputs]
        return results if self._precision is None else self._precision.full(results, context)

    def subgraph(self, graph: Graph, types: Sequence[str], context: Context) -> Block:
        """Lower a nested graph to a block of its own; `types` are those of its actual inputs."""
        block = Block()
        scope = Scope(context.scope)
        names = []
        for index, info in enumerate(graph.inputs):
            type_ = types[index] if index < len(types) and types[index] else info.type
            value = Value(type_)
            scope[info.name] = value
            block.params.append(value)
            names.append(info.name)
        inner = dataclasses.replace(context, scope=scope, block=block)
        block.results = self.graph_body(graph, inner, skip=frozenset(names))
        return block

    def inline_subgraph(self, graph: Graph, context: Context) -> list[Value | None]:
        """Lower a nested graph without inputs into the same block (a branch that is known)."""
        return self.graph_body(graph, dataclasses.replace(context, scope=Scope(context.scope)))

    def nodes(
        self,
        nodes: Sequence[Node],
        outputs: Sequence[str],
        types: Mapping[str, str],
        context: Context,
    ) -> None:
        """Lower the nodes that `outputs` need."""
        context = dataclasses.replace(context, nodes=nodes)
        for node, used in live(nodes, outputs):
            self._count += 1
            if self._count > LARGEST_PROGRAM:
                raise ModelError(f"the model has more than {LARGEST_PROGRAM} nodes when inlined")
            declared = tuple(types.get(o, "") for o in node.outputs)
            values = self._node(node, used, declared, context)
            for name, value in zip(node.outputs, values, strict=False):
                if name:
                    context.scope[name] = value

    def _node(
        self, node: Node, used: tuple[bool, ...], declared: tuple[str, ...], context: Context
    ) -> Sequence[Value | None]:
        attributes = dict(resolved(node.attributes, context.attributes))
        inputs = [context.scope[name] if name else None for name in node.inputs]
        if self._precision is not None:
            return self._precision.node(node, used, declared, attributes, inputs, context)
        return self.node(node, used, declared, attributes, inputs, context)

    def node(
        self,
        node: Node,
        used: tuple[bool, ...],
        declared: tuple[str, ...],
        attributes: Mapping[str, AttributeValue],
        inputs: Sequence[Value | None],
        context: Context,
        lenient: bool = False,
    ) -> Sequence[Value | None]:
        """Lower one node over these inputs; gives its outputs. `lenient`: the input types need not
        be those that the standard gives this version of the operator."""
        key = (node.domain, node.op_type, node.overload)
        function = self.model.functions.get(key)
        if function is not None:
            return self._call(node, function, attributes, inputs, used, context)
        opset = context.opsets.get(node.domain)
        if opset is None:
            raise ModelError(
                f"{node.label}: the model does not import the domain {node.domain or 'ai.onnx'!r}"
            )
        operator = self.contract.resolve(node.domain, node.op_type, opset)
        types = tuple(value.type if value else "" for value in inputs)
        if operator is not None:
            check_call(node, operator, attributes, inputs, () if lenient else types)
        structural = STRUCTURAL.get((node.domain, node.op_type))
        if structural is not None and operator is not None and not operator.deprecated:
            call = StructuralCall(
                self, node, operator.since_version, attributes, inputs, used, declared, context
            )
            try:
                return structural(call)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                # A net below the checks of each operator: an attribute of the wrong kind.
                raise ModelError(f"{node.label}: {type(error).__name__}: {error}") from error
        wanted = max((i + 1 for i, u in enumerate(used) if u), default=1)
        out_types = declared
        if operator is not None:
            out_types = infer_output_types(operator, node.domain, attributes, types, declared)
        given = {name: self._attribute(value) for name, value in attributes.items()}
        info = NodeInfo(
            name=context.origin_of(node),
            op_type=node.op_type,
            domain=node.domain,
            version=operator.since_version if operator else opset,
            opset=opset,
            input_types=types,
            output_types=out_types,
            outputs=wanted,
            input_shapes=tuple(value.shape if value else None for value in inputs),
            constants=(),
            attributes=given,
            arrays=self.arrays,
        )
        chosen = select(self, self.table, operator, info, inputs, attributes)
        if not isinstance(chosen, Refusal):
            return self._emit(node, chosen.step, chosen.info, inputs, used, operator, context)
        reason = chosen.reason
        if operator is not None and not chosen.final:
            body = schema_function(
                operator, node.domain, opset, attributes, types, info.input_shapes, used
            )
            if isinstance(body, Function):
                known = {**_defaults(operator), **attributes}
                before = len(self.problems)
                try:
                    values = self._call(node, body, known, inputs, used, context, schema=True)
                except ModelError as error:  # the standard's own body does not take these types
                    del self.problems[before:]
                    body = f"nor does its function body hold: {error}"
                else:
                    self._explain(before, UnsupportedNode(info.name, info.label, reason))
                    return values
            reason = f"{reason}; {body}" if body else reason
        self.problems.append(UnsupportedNode(context.origin_of(node), info.label, reason))
        return [Value(t) for t in out_types]

    def _explain(self, before: int, problem: UnsupportedNode) -> None:
        """One problem in place of those of a function body: what the operator itself lacks."""
        parts = dict.fromkeys(f"{p.operator} ({p.reason})" for p in self.problems[before:])
        if parts:
            reason = f"{problem.reason}; its function body lacks {', '.join(parts)}"
            self.problems[before:] = [dataclasses.replace(problem, reason=reason)]

    def _emit(
        self,
        node: Node,
        step: Step,
        info: NodeInfo,
        inputs: Sequence[Value | None],
        used: tuple[bool, ...],
        operator: Operator | None,
        context: Context,
    ) -> Sequence[Value | None]:
        step.info = info
        step.origin = context.origin_of(node)
        step.label = (
            f"{node.label}"
            if not context.origin
            else (f"node {context.origin!r} ({info.label} of its function body)")
        )
        outputs = [Value(info.output_types[i]) if used[i] else None for i in range(info.outputs)]
        step.outputs = outputs or [Value()]
        step.may_be_tuple = (
            operator is None or len(operator.outputs) != 1 or (operator.max_outputs > 1)
        )
        for name, value in info.attributes.items():
            if isinstance(value, Graph):
                self._graph_attribute(step, name, value, context)
        return self.add(step, context, random=bool(operator and operator.random))

    def _graph_attribute(self, step: Step, name: str, graph: Graph, context: Context) -> None:
        if step.build is not None or step.function is None:
            raise ModelError(f"{step.label}: more than one graph attribute")
        step.blocks = [self.subgraph(graph, (), context)]
        step.build = with_graph(step.function, name)
        step.keywords = {k: v for k, v in step.keywords.items() if k != name}

    def add(self, step: Step, context: Context, *, random: bool = False) -> Sequence[Value | None]:
        """Fold the step if it is constant, else append it to the block; gives its outputs."""
        if not random and not self.problems and not step.blocks:
            folded = _fold.fold(step, self.constants, self.arrays, self.fold_limit)
            if folded is not None:
                return folded
        context.block.steps.append(step)
        return step.outputs

    def _call(
        self,
        node: Node,
        function: Function,
        attributes: Mapping[str, AttributeValue],
        inputs: Sequence[Value | None],
        used: tuple[bool, ...],
        context: Context,
        schema: bool = False,
    ) -> Sequence[Value | None]:
        key = (function.domain, function.name, function.overload)
        if (not schema and key in context.calls) or len(context.calls) >= DEEPEST_CALL:
            raise ModelError(f"{node.label}: the function calls itself")
        if len(inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            raise ModelError(
                f"{node.label}: {len(inputs)} inputs and {len(node.outputs)} outputs, the function "
                f"has {len(function.inputs)} and {len(function.outputs)}"
            )
        scope = Scope(None)
        for index, name in enumerate(function.inputs):
            scope[name] = inputs[index] if index < len(inputs) else None
        opsets = {**context.opsets, **function.opset_import}
        inner = Context(
            scope,
            context.block,
            opsets,
            context.origin_of(node),
            {**function.defaults, **(attributes if schema else _own(function, attributes, node))},
            (*context.calls, key),
        )
        wanted = [name for name, u in zip(function.outputs, used, strict=False) if u]
        self.nodes(function.nodes, wanted, {}, inner)
        return [scope[name] if u else None for name, u in zip(function.outputs, used, strict=False)]

    def _attribute(self, value: AttributeValue) -> Any:
        if isinstance(value, Tensor):
            return self.arrays.from_tensor(value) if self._holds(value.type) else value
        if isinstance(value, SparseTensor):
            return self.arrays.from_tensor(_fold.dense(value))
        if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
            return tuple(self._attribute(item) for item in value)
        return value

    def _holds(self, type_: str) -> bool:
        return all(self.arrays.supports(e) for e in tensor_types(type_))

    def unsupported_types(self, types: Sequence[str]) -> str:
        """Why the adapter cannot hold one of these types; "" when it can."""
        for type_ in types:
            if not self._holds(type_):
                return f"{type(self.arrays).__name__} cannot hold {type_}"
        return ""

    def _check_supported_type(self, name: str, type_: str) -> None:
        reason = self.unsupported_types([type_])
        if reason:
            self.problems.append(UnsupportedNode(name, "input", reason))


def constant(tensor: Tensor) -> Value:
    """A constant value."""
    return Value(tensor.type, tensor.shape, tensor)


def _defaults(operator: Operator) -> dict[str, AttributeValue]:
    """The attributes that have a default in the standard."""
    return {a.name: a.default for a in operator.attributes if a.default is not None}


def _own(
    function: Function, attributes: Mapping[str, AttributeValue], node: Node
) -> Mapping[str, AttributeValue]:
    for name in attributes:
        if name not in function.attributes and name not in function.defaults:
            raise ModelError(f"{node.label}: the function has no attribute {name!r}")
    return attributes
