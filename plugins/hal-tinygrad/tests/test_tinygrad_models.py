"""Models on the OpenCL device: values, types, refusals, and what a second run must forget."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hal import Device, Evidence, Model, Tensor
from hal.backend import Backend
from hal.errors import UnfedError, UnsupportedError, UsageError

FLOAT = TensorProto.FLOAT


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 18
) -> Model:
    def infos(kinds: dict[str, Any]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in kinds.items()]

    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return Model(made.SerializeToString())


def test_device_says_what_it_is(opencl: Device) -> None:
    assert opencl.name and opencl.versions["tinygrad"] and opencl.versions["driver"]
    assert not opencl.emulated


def test_matmul_and_softmax(tinygrad: Backend, opencl: Device) -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["c"], name="matmul"),
        helper.make_node("Softmax", ["c"], ["y"], name="softmax", axis=-1),
    ]
    made = model(nodes, {"a": (FLOAT, [3, 4]), "b": (FLOAT, [4, 5])}, {"y": (FLOAT, [3, 5])})
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (4, 5)))
    executable: Any = tinygrad.compile(opencl, made, {})
    y = executable.run({"a": Tensor.from_numpy(a), "b": Tensor.from_numpy(b)})["y"].numpy()
    e = np.exp(a.astype(float) @ b)
    np.testing.assert_allclose(y, e / e.sum(-1, keepdims=True), rtol=1e-5)
    placement = executable.placement()
    assert [n.node for n in placement.nodes] == ["matmul", "softmax"]
    assert placement.evidence is Evidence.SOLE and not placement.elsewhere("tinygrad:cl")
    executable.close()


def test_bfloat16_goes_in_and_out(tinygrad: Backend, opencl: Device) -> None:
    kind = TensorProto.BFLOAT16
    made = model([helper.make_node("Neg", ["x"], ["y"], name="n")], {"x": (kind, [3])},
                 {"y": (kind, [3])})  # fmt: skip
    x = np.array([1, -2.5, 3], ml_dtypes.bfloat16)
    y = tinygrad.compile(opencl, made, {}).run({"x": Tensor.from_numpy(x)})["y"]
    assert y.type == "tensor(bfloat16)"
    np.testing.assert_array_equal(y.numpy(), -x)


def test_second_run_forgets_the_shape_of_the_first(tinygrad: Backend, opencl: Device) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="r")
    inputs = {"x": (FLOAT, [6]), "shape": (TensorProto.INT64, [2])}
    executable = tinygrad.compile(opencl, model([node], inputs, {"y": (FLOAT, [None, None])}), {})
    x = Tensor.from_numpy(np.arange(6, dtype=np.float32))
    for shape in ((2, 3), (3, 2)):
        feeds = {"x": x, "shape": Tensor.from_numpy(np.array(shape))}
        assert executable.run(feeds)["y"].shape == shape


def test_symbolic_dimension_takes_another_size(tinygrad: Backend, opencl: Device) -> None:
    made = model([helper.make_node("Neg", ["x"], ["y"])], {"x": (FLOAT, ["n"])},
                 {"y": (FLOAT, ["n"])})  # fmt: skip
    executable = tinygrad.compile(opencl, made, {})
    for size in (2, 3):
        x = np.arange(size, dtype=np.float32)
        got = executable.run({"x": Tensor.from_numpy(x)})["y"].numpy()
        np.testing.assert_array_equal(got, -x)


def test_constant_is_read_without_clang(tinygrad: Backend, opencl: Device) -> None:
    node = helper.make_node("Trilu", ["x", "k"], ["y"], upper=0)
    inputs = {"x": (FLOAT, [2, 2]), "k": (TensorProto.INT64, [])}
    executable = tinygrad.compile(opencl, model([node], inputs, {"y": (FLOAT, [2, 2])}), {})
    feeds = {"x": np.ones((2, 2), np.float32), "k": np.array(-1)}
    got = executable.run({n: Tensor.from_numpy(a) for n, a in feeds.items()})["y"].numpy()
    np.testing.assert_array_equal(got, [[0, 0], [1, 0]])


def test_unknown_operators_are_named_all_at_once(tinygrad: Backend, opencl: Device) -> None:
    nodes = [
        helper.make_node("NonMaxSuppression", ["b", "s"], ["i"], name="nms"),
        helper.make_node("Cast", ["i"], ["f"], name="cast", to=FLOAT),
        helper.make_node("Det", ["b"], ["d"], name="det"),
    ]
    inputs = {"b": (FLOAT, [1, 4, 4]), "s": (FLOAT, [1, 1, 4])}
    made = model(nodes, inputs, {"f": (FLOAT, None), "d": (FLOAT, [1])})
    with pytest.raises(UnsupportedError, match="no such operator") as caught:
        tinygrad.compile(opencl, made, {})
    assert set(caught.value.nodes) == {"nms", "det"}
    assert [n.node for n in tinygrad.supports(opencl, made).unsupported] == ["nms", "det"]


def test_type_that_tinygrad_lacks_is_unfed(tinygrad: Backend, opencl: Device) -> None:
    made = model([helper.make_node("Abs", ["x"], ["y"])], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    executable = tinygrad.compile(opencl, made, {})
    with pytest.raises(UnfedError, match=r"'x': tinygrad takes no tensor\(string\)"):
        executable.run({"x": Tensor.from_numpy(np.array(["a"], object))})


def test_there_are_no_options(tinygrad: Backend, opencl: Device) -> None:
    made = model([helper.make_node("Abs", ["x"], ["y"])], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    with pytest.raises(UsageError, match="no option 'threads'"):
        tinygrad.compile(opencl, made, {"threads": 1})
