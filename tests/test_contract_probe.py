"""Probes are valid models, and exercise the cell that they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hal.backend import Support, UnsupportedNode
from hal.contract import contract
from hal.contract._codec import ONNX_VERSION
from hal.contract.declared import declared
from hal.contract.probe import cell_probe, operator_probe
from hal.device import Device
from hal.errors import CrashError
from hal.model import Model

onnx = pytest.importorskip("onnx")
pinned = pytest.mark.skipif(onnx.__version__ != ONNX_VERSION, reason=f"needs onnx {ONNX_VERSION}")
C = contract()


REFUSED_BY_ONNX = {"MeanVarianceNormalization"}
"""At opset 13, onnx 1.23.2's strict inference refuses this operator's own function body."""


@pinned
@pytest.mark.parametrize("domain", C.domains)
def test_cell_probes_are_valid_and_exercise_their_cell(domain: str) -> None:
    for cell in C.cells(domains=[domain]):
        model = onnx.load_from_string(cell_probe(C, cell).data)
        if cell.operator not in REFUSED_BY_ONNX:
            onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        node = model.graph.node[0]
        opset = next(o.version for o in model.opset_import if (o.domain or "ai.onnx") == domain)
        types = dict(_types(model.graph))
        exercised = C.cells_of(
            cell.domain,
            node.op_type,
            opset,
            [types.get(name) for name in node.input],
            [types.get(name) for name in node.output],
        )
        assert cell.id in exercised
        assert opset == cell.first_opset or cell.operator == "If"
        assert model.ir_version <= C.ir_version({"": C.newest_opset()})


@pinned
def test_operator_probes_are_valid() -> None:
    for operator in C.operators:
        model = onnx.load_from_string(operator_probe(C, operator).data)
        assert model.graph.node[0].name == "probe"
        if operator.key not in REFUSED_BY_ONNX:
            onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


class _OnlyFloat:
    """A backend that takes float tensors, says no to the rest, and dies of strings."""

    def supports(self, device: Device, model: Model) -> Support:
        graph = onnx.load_from_string(model.data).graph
        types = {t for _, t in _types(graph)}
        if "tensor(string)" in types:
            raise CrashError("crashed with signal 11 (SIGSEGV)")
        if types == {"tensor(float)"}:
            return Support()
        return Support((UnsupportedNode("probe", "X-1", "no such type"),))


def test_declared_counts_cells_and_keeps_reasons() -> None:
    device = Device("fake:cpu", "cpu")
    relu = declared(C, C.latest("Relu"), _OnlyFloat(), device)
    assert relu.supported == ("Relu-14/T/tensor(float)",)
    assert (relu.asked, relu.reasons) == (8, ("no such type",))
    concat = declared(C, C.latest("Concat"), _OnlyFloat(), device)
    assert "crashed with signal 11 (SIGSEGV)" in concat.reasons
    normalizer = declared(C, C.latest("StringNormalizer"), _OnlyFloat(), device)
    assert (normalizer.asked, normalizer.whole) == (0, False)
    narrowed = declared(C, C.latest("Relu"), _OnlyFloat(), device, C.profile("vision"))
    assert narrowed.asked == 5  # float, float16, bfloat16, int32, int64


def _types(graph: Any) -> Iterator[tuple[str, str]]:
    for value in (*graph.input, *graph.output):
        yield value.name, _type(value.type)
    for tensor in graph.initializer:
        yield tensor.name, f"tensor({_element(tensor.data_type)})"


def _element(number: int) -> str:
    return str(onnx.TensorProto.DataType.Name(number)).lower()


def _type(proto: Any) -> str:
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return f"tensor({_element(proto.tensor_type.elem_type)})"
    if kind == "map_type":
        value = _element(proto.map_type.value_type.tensor_type.elem_type)
        return f"map({_element(proto.map_type.key_type)}, {value})"
    if kind == "sequence_type":
        return f"seq({_type(proto.sequence_type.elem_type)})"
    return f"optional({_type(proto.optional_type.elem_type)})"
