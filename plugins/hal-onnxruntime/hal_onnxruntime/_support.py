"""What onnxruntime says of a model on one provider, and the refusal to run a part elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hal.backend import Support, UnsupportedNode
from hal.errors import BackendError, FallbackError, UnsupportedError
from hal.graph import read_model
from hal.model import Model
from hal_onnxruntime._placement import all_nodes, assignment

__all__ = ["refusal", "support"]


def support(model: Model, provider: str, open_it: Callable[[], Any]) -> Support:
    """What the runtime says when it assigns the nodes: every node that `provider` would leave to
    another; of the operators that none has a kernel for the first alone, because it stops there.

    `open_it` opens a session of the model on the provider, with fallback allowed. Raises what it
    raises, but UnsupportedError.
    """
    try:
        session = open_it()
    except UnsupportedError as error:
        return Support(
            _nodes(model, dict.fromkeys(error.nodes or _unknown(model, str(error)), str(error)))
        )
    left = {
        name: f"{provider} leaves it to {other}"
        for name, _, other in assignment(session)
        if other != provider
    }
    return Support(_nodes(model, left))


def _unknown(model: Model, message: str) -> tuple[str, ...]:
    """The nodes of a custom operator that onnxruntime has not: it names the operator alone. ("",)
    where it is about something else."""
    found = re.search(r"(\S+):(\w+)\(-?\d+\) is not a registered function/op", message)
    if not found:
        return ("",)
    nodes = all_nodes(read_model(model).graph)
    return tuple(n.name for n in nodes if (n.domain, n.op_type) == found.groups()) or ("",)


def refusal(device: str, error: FallbackError, look: Callable[[], Support]) -> FallbackError:
    """onnxruntime's refusal to leave nodes to the CPU, again with the nodes at fault, where a
    second look (`support`) can tell them."""
    try:
        nodes = [node.node for node in look().unsupported if node.node]
    except BackendError:
        return error
    if not nodes:
        return error
    first = ", ".join(repr(node) for node in nodes[:8]) + (", ..." if len(nodes) > 8 else "")
    return FallbackError(
        f"{device} would leave {len(nodes)} nodes to the CPU: {first}", nodes=nodes
    )


def _nodes(model: Model, reasons: Mapping[str, str]) -> tuple[UnsupportedNode, ...]:
    """`reasons` by node name, as nodes with their operators; a name of none keeps its reason."""
    if not reasons:
        return ()
    graph = read_model(model)
    nodes = {node.name: node for node in all_nodes(graph.graph)}
    if len(nodes) == 1 and "" in reasons:
        reasons = {next(iter(nodes)): reasons[""]}
    found = []
    for name, reason in reasons.items():
        node = nodes.get(name)
        operator = ""
        if node is not None:
            version = _version(node.domain, node.op_type, graph.opset_import.get(node.domain, 0))
            operator = f"{node.operator}-{version}" if version else node.operator
        found.append(UnsupportedNode(name, operator, reason))
    return tuple(found)


def _version(domain: str, op_type: str, opset: int) -> int:
    """The version of an operator that an opset means, as onnxruntime knows it; 0 if it does not."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    versions = [
        schema.since_version
        for schema in get_all_operator_schema()
        if schema.name == op_type and schema.domain == domain and schema.since_version <= opset
    ]
    return max(versions, default=0)
