"""The second oracle of quantised forms: ONNX's reference evaluator, asked in two ways."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from hal import ElementType, Tensor, Value
from hal.compare import compare
from hal_conformance.contract.numbers import Array, narrow, value_of, widen
from hal_conformance.contract.protos import type_proto
from hal_conformance.contract.quantized.form import (
    Activation,
    Constant,
    Feed,
    Form,
    Input,
    Made,
    Weight,
)
from hal_conformance.contract.quantized.grid import Grid
from hal_conformance.contract.tolerance import Tolerance

__all__ = ["Vote", "ask_evaluator"]


@dataclasses.dataclass(frozen=True)
class Vote:
    """Who was asked besides the formula, and why it is disputed; "" when it is not."""

    voters: str
    disputed: str


def ask_evaluator(
    form: Form,
    model: onnx.ModelProto,
    feeds: Mapping[str, Value],
    expected: Mapping[str, Value],
    tolerance: Tolerance,
) -> Vote:
    """Ask for the operator alone, in float64 on what its inputs stand for: a thousandth of a step
    is admitted. And for the whole model in float32, where the evaluator has QuantizeLinear of that
    opset. What it cannot run is no vote."""
    voters, disputed = [], ""
    alone = _run(_alone(form), [r for r in (_wide(i) for i in form.inputs) if r is not None])
    if alone is not None:
        voters.append("its reference evaluator on the operator in float64")
        for grid, ours, theirs in zip(form.outputs, form.results, alone, strict=True):
            small = 1e-3 * float(np.max(grid.scale)) if isinstance(grid, Grid) else 0.0
            off = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
            if np.shape(ours) != np.shape(theirs) or not (off <= small).all():
                disputed = "formula against ONNX's reference evaluator on the operator in float64"
    whole = _run(model, [v.numpy() for v in feeds.values() if isinstance(v, Tensor)])
    if whole is not None:
        voters.append("and on the whole model in float32" if voters else "the whole model")
        for (name, value), result in zip(expected.items(), whole, strict=True):
            got = value_of(np.asarray(result), value.type)
            reason = compare(value, got, rtol=tolerance.rtol, atol=tolerance.atol)
            if reason:
                disputed = f"formula against ONNX's reference evaluator, output {name}: {reason}"
    said = " ".join(voters)
    return Vote(f"and ONNX's: {said}" if said else "alone: the evaluator runs neither", disputed)


def _run(model: onnx.ModelProto, values: Sequence[Array]) -> Sequence[Array] | None:
    feeds = {i.name: v for i, v in zip(model.graph.input, values, strict=True)}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            results: Sequence[Array] = ReferenceEvaluator(model).run(None, feeds)
        except Exception:  # noqa: BLE001 (whatever it raises, it has no vote)
            return None
    return results


def _alone(form: Form) -> onnx.ModelProto:
    names = ["" if given is None else f"x{i}" for i, given in enumerate(form.inputs)]
    inputs = [
        helper.make_value_info(name, type_proto(_tensor(given).type))
        for name, given in zip(names, form.inputs, strict=True)
        if given is not None
    ]
    outputs = [
        helper.make_value_info(f"y{i}", type_proto("tensor(double)" if isinstance(g, Grid) else g))
        for i, g in enumerate(form.outputs)
    ]
    node = helper.make_node(form.operator, names, [o.name for o in outputs], **form.attributes)
    graph = helper.make_graph([node], "alone", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", form.opset)])


def _wide(given: Input) -> Array | None:
    return None if given is None else _tensor(given).numpy()


def _tensor(given: Activation | Weight | Made | Constant | Feed) -> Tensor:
    """What the operator sees of an input; real numbers as double."""
    if isinstance(given, Activation | Weight | Made):
        return narrow(given.real, ElementType.DOUBLE)
    real = given.tensor.element_type is ElementType.FLOAT
    return narrow(widen(given.tensor), ElementType.DOUBLE) if real else given.tensor
