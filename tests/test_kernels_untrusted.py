"""Damaged models: the base compiles them or raises one of HAL's errors, never anything else."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx.backend.test.case.node import collect_testcases

import hal
from hal.errors import ExecutionError, HalError, ModelError
from hal.kernels import KernelBackend, KernelTable, NumpyArrays

CPU = hal.Device("test:cpu", "cpu")
NAMES = {
    "test_if",
    "test_if_opt",
    "test_loop11",
    "test_loop13_seq",
    "test_loop16_seq_none",
    "test_scan9_sum",
    "test_scan_sum",
    "test_sequence_map_add_1_sequence_1_tensor",
    "test_split_to_sequence_1",
    "test_constant",
    "test_optional_get_element_sequence",
    "test_softmax_axis_1_expanded",
    "test_cast_FLOAT_to_INT4",
    "test_celu",
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_models_end_in_hal_errors():
    table = KernelTable()
    table.kernel("Add", 7, 13, 14)(np.add)
    table.kernel("Sub", 7, 13, 14)(np.subtract)
    table.kernel("Exp", 6, 13)(np.exp)
    table.kernel("Identity", 1, 13)(lambda x: x)
    backend = KernelBackend([CPU], table, NumpyArrays())
    rng = random.Random(11)
    cases = [c for c in collect_testcases() if c.name in NAMES]
    assert len(cases) == len(NAMES)
    kinds: dict[str, int] = {}
    for case in cases:
        data = case.model.SerializeToString()
        for _ in range(120):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 3)):
                damaged[rng.randrange(len(data))] = rng.choice([0, 1, 2, 7, 0x7F, 0xFF])
            try:
                backend.supports(CPU, hal.Model(bytes(damaged)))
                kinds["taken"] = kinds.get("taken", 0) + 1
            except HalError as error:
                assert not isinstance(error, ExecutionError)
                kinds[type(error).__name__] = kinds.get(type(error).__name__, 0) + 1
    assert kinds["ModelError"] > 500 and kinds["taken"] > 100


def test_deep_nesting_is_a_model_error(monkeypatch):
    """Graphs that pass the reader, but not the interpreter's stack."""
    from onnx import TensorProto, helper

    monkeypatch.setattr("hal.graph._decode.DEPTH", 200)
    inner = [helper.make_node("Add", ["x", "x"], ["y"])]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    for _ in range(150):
        graph = helper.make_graph(inner, "g", [], [out])
        inner = [helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)]
        if len(graph.SerializeToString()) > 1 << 16:
            break
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("c", TensorProto.BOOL, None),
    ]
    model = helper.make_model(helper.make_graph(inner, "main", inputs, [out]))
    backend = KernelBackend([CPU], KernelTable(), NumpyArrays())
    try:
        backend.supports(CPU, hal.Model(model.SerializeToString()))
    except ModelError as error:
        assert "deep" in str(error) or "opset" in str(error)
