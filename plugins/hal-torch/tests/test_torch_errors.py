"""Bad input, too little memory, missing operators: what is said, and that the next run works."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import hal
from hal.errors import ExecutionError, UnavailableError, UnsupportedError, UsageError

F, I64 = TensorProto.FLOAT, TensorProto.INT64
info = helper.make_tensor_value_info


def made(nodes, inputs, outputs, opset=20, more=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    imports = [helper.make_opsetid("", opset), *more]
    return hal.Model(
        helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()
    )


@pytest.fixture
def add(torch_backend, torch_cpu):
    model = made(
        [helper.make_node("Add", ["x", "y"], ["z"], name="add")],
        [info("x", F, ["n", 3]), info("y", F, [3])],
        [info("z", F, None)],
    )
    return torch_backend.compile(torch_cpu, model, {})


def feed(**arrays):
    return {n: hal.Tensor.from_numpy(np.asarray(a)) for n, a in arrays.items()}


X, Y = np.zeros((2, 3), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X}, "input 'y' (tensor(float)[3]) is missing"),
        ({"x": X, "y": Y, "yy": Y}, "no input 'yy', it has 'x', 'y'. Did you mean 'y'?"),
        ({"x": X[0], "y": Y}, "input 'x': expected tensor(float)[n, 3], got tensor(float)[3]"),
        ({"x": X, "y": Y[:2]}, "input 'y': expected tensor(float)[3], got tensor(float)[2]"),
        ({"x": X, "y": Y.astype(np.float64)}, "expected tensor(float)[3], got tensor(double)[3]"),
    ],
    ids=["missing", "unknown", "rank", "size", "dtype"],
)  # fmt: skip
def test_bad_input_is_named(add, inputs, message):
    with pytest.raises(UsageError) as caught:
        add.run(feed(**inputs))
    assert message in str(caught.value)
    np.testing.assert_array_equal(add.run(feed(x=X, y=Y))["z"].numpy(), X + Y)


def test_out_of_memory_names_device_demand_and_what_is_free(torch_backend, torch_cpu):
    model = made(
        [
            helper.make_node("Expand", ["x", "shape"], ["e"], name="expand"),
            helper.make_node("Neg", ["e"], ["y"], name="neg"),
        ],
        [info("x", F, [1]), info("shape", I64, [1])],
        [info("y", F, None)],
    )
    executable = torch_backend.compile(torch_cpu, model, {})
    x = np.float32([2])
    with pytest.raises(ExecutionError) as caught:
        executable.run(feed(x=x, shape=np.int64([1 << 47])))
    text = str(caught.value)
    assert "'neg'" in text
    assert "torch:cpu has no room for 512 TiB" in text
    assert "are free" in text
    assert executable.run(feed(x=x, shape=np.int64([2])))["y"].numpy().tolist() == [-2, -2]


def test_everything_unsupported_is_told_at_compile_at_once(torch_backend, torch_cpu):
    model = made(
        [
            helper.make_node("Erf", ["x"], ["a"], name="fine"),
            helper.make_node("Frobnicate", ["a"], ["b"], name="first", domain="vendor"),
            helper.make_node("Wibble", ["b"], ["c"], name="second", domain="vendor"),
        ],
        [info("x", F, [3])],
        [info("c", F, None)],
        more=[helper.make_opsetid("vendor", 1)],
    )
    with pytest.raises(UnsupportedError) as caught:
        torch_backend.compile(torch_cpu, model, {})
    assert caught.value.nodes == ("first", "second")
    assert "vendor::Frobnicate-1" in str(caught.value)
    assert "tensor(float)" in str(caught.value)
    support = torch_backend.supports(torch_cpu, model)
    assert [n.node for n in support.unsupported] == ["first", "second"]


def test_device_that_cannot_be_used(torch_backend):
    device = hal.Device("torch:npu", "npu", unavailable="no driver; next: install it")
    with pytest.raises(UnavailableError, match="torch:npu: no driver") as caught:
        torch_backend.compile(device, made([], [], []), {})
    assert caught.value.next_step == "install it"


def test_a_kernel_that_raises_names_its_node(torch_backend, torch_cpu):
    model = made(
        [helper.make_node("MatMul", ["x", "y"], ["z"], name="product")],
        [info("x", F, None), info("y", F, None)],
        [info("z", F, None)],
    )
    executable = torch_backend.compile(torch_cpu, model, {})
    with pytest.raises(ExecutionError, match="'product' \\(MatMul\\)"):
        executable.run(feed(x=X, y=X))
