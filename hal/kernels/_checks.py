"""Checks of a model against the contract: its versions, and every call of an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hal.contract import Contract, Operator
from hal.errors import ModelError, SkewError
from hal.graph import AttributeValue, ModelGraph, Node
from hal.kernels._program import Value
from hal.kernels._types import type_conflict

__all__ = ["check_call", "check_versions"]


def check_versions(model: ModelGraph, known: Contract) -> None:
    """Raise SkewError for an opset or IR version that the contract does not know yet."""
    for domain, opset in model.opset_import.items():
        if (domain or "ai.onnx") in known.domains:
            newest = known.newest_opset(domain)
            if opset > newest:
                raise SkewError(
                    f"the model imports opset {opset} of {domain or 'ai.onnx'}; the contract "
                    f"(onnx {known.onnx_version}) ends at {newest}"
                )
    newest_ir = known.ir_version({"": known.newest_opset("")})
    if model.ir_version > newest_ir:
        raise SkewError(
            f"the model has IR version {model.ir_version}; the contract "
            f"(onnx {known.onnx_version}) ends at {newest_ir}"
        )


def check_call(
    node: Node,
    operator: Operator,
    attributes: Mapping[str, AttributeValue],
    inputs: Sequence[Value | None],
    types: tuple[str, ...],
) -> None:
    """Raise ModelError unless the node calls the operator as the standard allows."""
    given = len(inputs)
    while given and inputs[given - 1] is None:
        given -= 1
    if given < operator.min_inputs or given > operator.max_inputs:
        raise ModelError(
            f"{node.label}: {given} inputs, {operator.id} takes {operator.min_inputs} to "
            f"{operator.max_inputs}"
        )
    if len(node.outputs) > operator.max_outputs:
        raise ModelError(
            f"{node.label}: {len(node.outputs)} outputs, {operator.id} gives at most "
            f"{operator.max_outputs}"
        )
    for attribute in operator.attributes:
        if attribute.required and attribute.name not in attributes:
            raise ModelError(f"{node.label}: the attribute {attribute.name!r} is missing")
    conflict = type_conflict(operator, types)
    if conflict:
        raise ModelError(f"{node.label}: {conflict}")
