"""Quantised forms become cases: the model around the operator, its data, and two oracles."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper

from hal import ElementType, Model, Tensor, Value
from hal.contract import contract
from hal_conformance.case import Case, DataSet
from hal_conformance.contract.draw import seed_of
from hal_conformance.contract.numbers import Array, narrow, value_of
from hal_conformance.contract.protos import tensor_proto, type_proto
from hal_conformance.contract.quantized.form import (
    Activation,
    Constant,
    Feed,
    Form,
    Made,
    Weight,
    kits,
)
from hal_conformance.contract.quantized.grid import Grid
from hal_conformance.contract.quantized.oracle import ask_evaluator
from hal_conformance.contract.tolerance import Tolerance, quantised
from hal_conformance.model_facts import model_facts

__all__ = ["build_form", "forms", "quantised_cases"]


def quantised_cases() -> Iterator[Case]:
    """Every quantised form as a case."""
    for form in forms():
        yield build_form(form)


def forms() -> Iterator[Form]:
    """What the generators yield. Raises ValueError where an id is given twice."""
    importlib.import_module("hal_conformance.contract.quantized.families")
    seen: set[str] = set()
    for kit, maker in kits():
        for form in maker(kit):
            if form.id in seen:
                raise ValueError(f"the id {form.id} is given twice")
            seen.add(form.id)
            yield form


def build_form(form: Form) -> Case:
    """The case of a form. It exercises no cell: which types its operator runs on is the device's
    choice, once it has folded the integers into it."""
    writer = _Writer(form)
    model = writer.model()
    expected = dict(
        _expected(f"y{i}", grid, result)
        for i, (grid, result) in enumerate(zip(form.outputs, form.results, strict=True))
    )
    tolerance = _tolerance(form)
    vote = ask_evaluator(form, model, writer.feeds, expected, tolerance)
    facts = model_facts(model)
    return Case(
        id=form.id,
        suite="contract",
        nodes=facts.nodes,
        operators=facts.operators,
        cells=(),
        single_operator="",
        expanded=False,
        opset=facts.opset,
        ir_version=facts.ir_version,
        rtol=tolerance.rtol,
        atol=tolerance.atol,
        disputed=vote.disputed,
        model=Model(model.SerializeToString(deterministic=True)),
        data_sets=(DataSet(writer.feeds, expected),),
        tolerance_source=tolerance.source,
        oracles=f"the operator's formula in float64 between QuantizeLinear's words, {vote.voters}",
        seed=seed_of(form.id).hex(),
    )


def _expected(name: str, grid: Grid | str, result: Array) -> tuple[str, Value]:
    if isinstance(grid, str):
        return name, value_of(result, grid)
    return name, narrow(grid.real(grid.quantise(result)), ElementType.FLOAT)


def _tolerance(form: Form) -> Tolerance:
    scales = [float(g.scale.max()) for g in form.outputs if isinstance(g, Grid)]
    return quantised(form.steps, max(scales, default=0.0))


class _Writer:
    """Collects the nodes and values of a form's model."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.feeds: dict[str, Value] = {}

    def model(self) -> onnx.ModelProto:
        form = self.form
        names = [self._input(f"x{i}", given) for i, given in enumerate(form.inputs)]
        made = [f"r{i}" if isinstance(g, Grid) else f"y{i}" for i, g in enumerate(form.outputs)]
        self._node(form.operator, names, made, **form.attributes)
        outputs = []
        for i, (grid, result) in enumerate(zip(form.outputs, form.results, strict=True)):
            type_ = "tensor(float)"
            if isinstance(grid, Grid):
                self._through(f"r{i}", f"y{i}", grid)
            else:
                type_ = grid
            outputs.append(helper.make_value_info(f"y{i}", type_proto(type_, result.shape)))
        graph = helper.make_graph(self.nodes, "case", self.inputs, outputs, self.initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", form.opset)],
            ir_version=contract().ir_version({"": form.opset}),
            producer_name="hal",
        )

    def _input(self, name: str, given: Any) -> str:
        if given is None:
            return ""
        if isinstance(given, Activation):
            self._feed(name, narrow(given.values, ElementType.FLOAT))
            self._through(name, f"{name}_d", given.grid)
            return f"{name}_d"
        if isinstance(given, Weight):
            self.initializers.append(
                tensor_proto(f"{name}_q", narrow(given.integers, given.grid.element))
            )
            self._dequantise(f"{name}_q", f"{name}_d", given.grid)
            return f"{name}_d"
        if isinstance(given, Made):
            inner = [self._input(f"{name}_x{i}", one) for i, one in enumerate(given.inputs)]
            self._node(given.operator, inner, [f"{name}_r"], **given.attributes)
            self._through(f"{name}_r", f"{name}_d", given.grid)
            return f"{name}_d"
        if isinstance(given, Constant):
            self.initializers.append(tensor_proto(name, given.tensor))
            return name
        if isinstance(given, Feed):
            self._feed(name, given.tensor)
        return name

    def _feed(self, name: str, tensor: Tensor) -> None:
        self.inputs.append(helper.make_value_info(name, type_proto(tensor.type, tensor.shape)))
        self.feeds[name] = tensor

    def _through(self, source: str, target: str, grid: Grid) -> None:
        self._node("QuantizeLinear", [source, *self._parameters(source, grid)], [f"{source}_q"])
        self._dequantise(f"{source}_q", target, grid)

    def _dequantise(self, source: str, target: str, grid: Grid) -> None:
        axis = {} if grid.axis is None else {"axis": grid.axis}
        parameters = self._parameters(source.removesuffix("_q"), grid)
        self._node("DequantizeLinear", [source, *parameters], [target], **axis)

    def _parameters(self, name: str, grid: Grid) -> list[str]:
        names = [f"{name}_scale", f"{name}_zero"]
        if not any(t.name == names[0] for t in self.initializers):
            self.initializers += [
                tensor_proto(names[0], narrow(grid.scale, ElementType.FLOAT)),
                tensor_proto(names[1], narrow(grid.zero, grid.element)),
            ]
        return names

    def _node(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        own = operator == self.form.operator and outputs[0] in ("r0", "y0")
        name = operator if own else f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
