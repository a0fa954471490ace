"""Damaged models: the base compiles them or raises one of HAL's errors, never anything else."""

from __future__ import annotations

import inspect
import random
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases

import hal
from hal.errors import ExecutionError, HalError, ModelError
from hal.kernels import KernelBackend, KernelTable, NumpyArrays
from hal.tensor import Tensor

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
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 3)):
                damaged[rng.randrange(len(data))] = rng.choice([0, 1, 2, 7, 0x7F, 0xFF])
            try:
                backend.supports(CPU, hal.Model(bytes(damaged)))
                kinds["taken"] = kinds.get("taken", 0) + 1
            except HalError as error:
                assert not isinstance(error, ExecutionError)
                kinds[type(error).__name__] = kinds.get(type(error).__name__, 0) + 1
    assert kinds["ModelError"] > 300 and kinds["taken"] > 50


def nested(depth: int) -> hal.Model:
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    leaf = [helper.make_node("Add", ["x", "x"], ["y"])]
    other, inner = helper.make_graph(leaf, "g", [], [out]), leaf
    for _ in range(depth):
        graph = helper.make_graph(inner, "g", [], [out])
        inner = [helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=other)]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("c", TensorProto.BOOL, None),
    ]
    graph = helper.make_graph(inner, "main", inputs, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return hal.Model(model.SerializeToString())


def test_graphs_nested_deep_run():
    table = KernelTable()
    table.kernel("Add", 14)(np.add)
    executable = KernelBackend([CPU], table, NumpyArrays()).compile(CPU, nested(30), {})
    feeds = {"x": np.float32(2), "c": np.bool_(True)}
    got = executable.run({n: Tensor.from_numpy(a) for n, a in feeds.items()})
    assert got["y"].numpy() == 4


def test_graphs_nested_too_deep_for_the_stack():
    model = nested(30)
    backend = KernelBackend([CPU], KernelTable(), NumpyArrays())
    backend.supports(CPU, nested(1))  # what is imported and cached at the first call is, by now
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 110)
    try:
        with pytest.raises(ModelError, match=r"too deep|recursion"):
            backend.supports(CPU, model)
    finally:
        sys.setrecursionlimit(before)
