"""Models on IREE's devices: values, types, the cache, and how the compiler's failures end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import psutil
import pytest
from hal_iree import _compiler, _devices
from onnx import TensorProto, helper, numpy_helper

from hal import Device, Evidence, Model, Tensor
from hal.backend import Backend
from hal.errors import CrashError, ExecutionError, UnfedError, UnsupportedError, UsageError

FLOAT = TensorProto.FLOAT


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], **held: Any
) -> Model:
    def infos(kinds: dict[str, Any]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in kinds.items()]

    weights = [numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return Model(made.SerializeToString())


ABS = [helper.make_node("Abs", ["x"], ["y"], name="abs")]


@pytest.mark.usefixtures("home")
def test_matmul_and_two_outputs(iree: Backend, device: Device) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul"),
        helper.make_node("Relu", ["y"], ["z"], name="relu"),
    ]
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (4, 5)))
    made = model(nodes, {"x": (FLOAT, [3, 4])}, dict.fromkeys("zy", (FLOAT, [3, 5])), w=w)
    executable: Any = iree.compile(device, made, {})
    got = executable.run({"x": Tensor.from_numpy(x)})
    np.testing.assert_allclose(got["y"].numpy(), x.astype(float) @ w, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(got["z"].numpy(), np.maximum(got["y"].numpy(), 0))
    placement = executable.placement()
    assert [n.node for n in placement.nodes] == ["matmul", "relu"]
    assert placement.evidence is Evidence.SOLE and not placement.elsewhere(device.id)
    executable.close()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.uint8, np.int64, np.float64, ml_dtypes.bfloat16]
)
def test_types_go_in_and_out(iree: Backend, device: Device, dtype: Any) -> None:
    x = np.array([[1, 0, 1]]).astype(dtype)
    if dtype is np.float64:
        x /= 3  # which float32 does not hold
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node("Transpose", ["x"], ["y"])
    made = model([node], {"x": (kind, [1, 3])}, {"y": (kind, [3, 1])})
    y: Any = iree.compile(device, made, {}).run({"x": Tensor.from_numpy(x)})["y"]
    assert y.numpy().dtype == x.dtype
    np.testing.assert_array_equal(y.numpy(), x.T)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("op", "x", "expected"),
    [
        ("Not", np.array([True, False, True]), np.array([False, True, False])),
        ("Neg", np.array([1, 2, 3], np.int8), np.array([-1, -2, -3], np.int8)),
        ("Neg", np.array([1, 2, 3], np.float16), np.array([-1, -2, -3], np.float16)),
        ("ArgMax", np.array([[2, 1], [3, 10]], np.float32), np.array([[1, 1]])),
    ],
    ids=["Not-bool", "Neg-int8", "Neg-float16", "ArgMax-float"],
)
def test_the_compiler_knows_the_device(
    iree: Backend, device: Device, op: str, x: Any, expected: Any
) -> None:
    """Small types and reductions, which are wrong in code made for another Vulkan device."""
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in (x, expected)]
    made = model(
        [helper.make_node(op, ["x"], ["y"])],
        {"x": (kinds[0], list(x.shape))},
        {"y": (kinds[1], list(expected.shape))},
    )
    got: Any = iree.compile(device, made, {}).run({"x": Tensor.from_numpy(x)})["y"]
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.usefixtures("home")
def test_models_share_their_device(iree: Backend, device: Device) -> None:
    """Each device of Vulkan's brings threads that poll until the process ends."""
    made = model(ABS, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    held = [iree.compile(device, made, {})]
    before = psutil.Process().num_threads()
    held += [iree.compile(device, made, {}) for _ in range(4)]
    assert psutil.Process().num_threads() <= before


def test_what_the_compiler_is_told() -> None:
    by_name = {t.device: t for t in _devices.TARGETS}
    lavapipe = Device("iree:vulkan", "cpu", name="llvmpipe (LLVM 15.0.6, 256 bits)")
    assert _devices.flags_of(by_name["vulkan"], lavapipe) == ("--iree-vulkan-target=llvmpipe",)
    radeon = Device("iree:vulkan", "gpu", name="AMD Radeon")
    assert _devices.flags_of(by_name["vulkan"], radeon) == ()
    told = _devices.flags_of(by_name["vulkan"], radeon, "rdna3")
    assert told == ("--iree-vulkan-target=rdna3",)


@pytest.mark.usefixtures("home")
def test_max_pool_with_padding_of_the_same_size(iree: Backend, listed: dict[str, Device]) -> None:
    """IREE computes the padding in double, which its linker takes only where it is demoted."""
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_UPPER", strides=[1, 1]
    )
    made = model([node], {"x": (FLOAT, [1, 1, 2, 2])}, {"y": (FLOAT, [1, 1, 2, 2])})
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    y: Any = iree.compile(listed["iree:cpu"], made, {}).run({"x": Tensor.from_numpy(x)})["y"]
    np.testing.assert_array_equal(y.numpy().ravel(), [3, 3, 3, 3])


def test_module_comes_from_the_cache(
    iree: Backend, listed: dict[str, Device], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, made = listed["iree:cpu"], model(ABS, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    iree.compile(cpu, made, {"cache": False})
    folder = home / "cache" / "iree"
    assert not folder.exists()
    iree.compile(cpu, made, {})
    assert [p.suffix for p in folder.iterdir()] == [".vmfb"]

    def refuse(*_: Any, **__: Any) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(_compiler, "compile_str", refuse)
    x = np.array([-1, 2], np.float32)
    again: Any = iree.compile(cpu, made, {})
    np.testing.assert_array_equal(again.run({"x": Tensor.from_numpy(x)})["y"].numpy(), [1, 2])
    with pytest.raises(AssertionError, match="compiled again"):
        iree.compile(cpu, made, {"cache": False})


@pytest.mark.usefixtures("home")
def test_compiler_that_dies_is_a_crash(iree: Backend, listed: dict[str, Device]) -> None:
    # iree-compile 3.13 divides by zero here (onnx/node/test_reshape_allowzero_reordered).
    node = helper.make_node("Reshape", ["x", "s"], ["y"], allowzero=1)
    made = model(
        [node], {"x": (FLOAT, [0, 3, 4])}, {"y": (FLOAT, [3, 4, 0])}, s=np.array([3, 4, 0])
    )
    with pytest.raises(CrashError, match="iree-compile died with signal"):
        iree.compile(listed["iree:cpu"], made, {})


@pytest.mark.usefixtures("home")
def test_operator_that_iree_lacks(iree: Backend, listed: dict[str, Device]) -> None:
    node = helper.make_node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[1, 1])
    inputs = {"x": (FLOAT, [1, 1, 4, 4]), "r": (FLOAT, [1, 5])}
    made = model([node], inputs, {"y": (FLOAT, [1, 1, 1, 1])})
    with pytest.raises(UnsupportedError, match="MaxRoiPool"):
        iree.compile(listed["iree:cpu"], made, {})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error code: -11\nStack dump:", CrashError),
        ("error: failed to legalize operation 'torch.operator' that", UnsupportedError),
        ("x.mlir:1:1: error: something else", ExecutionError),
    ],
)
def test_what_the_compiler_says(said: str, kind: type[Exception]) -> None:
    assert type(_compiler._explained(said)) is kind


@pytest.mark.usefixtures("home")
def test_strings_are_unfed(iree: Backend, listed: dict[str, Device]) -> None:
    executable = iree.compile(
        listed["iree:cpu"], model(ABS, {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])}), {}
    )
    with pytest.raises(UnfedError, match=r"'x': IREE's API takes no tensor\(string\)"):
        executable.run({"x": Tensor.from_numpy(np.array(["a"], object))})


@pytest.mark.parametrize(("name", "value"), [("cach", True), ("cache", "yes"), ("target", 7)])
def test_bad_options(iree: Backend, listed: dict[str, Device], name: str, value: Any) -> None:
    made = model(ABS, {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    with pytest.raises(UsageError, match=name[:4]):
        iree.compile(listed["iree:cpu"], made, {name: value})


def test_devices_are_slow_and_named(listed: dict[str, Device]) -> None:
    assert listed["iree:cpu"].slow and not listed["iree:cpu"].unavailable
    assert set(listed) >= {"iree:cpu", "iree:vulkan"}
    assert listed["iree:cpu"].versions["iree"]


def test_driver_that_dies_costs_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys\nif sys.argv[1] == 'vulkan': os.abort()\n"
    script += 'print(\'[{"name": "one"}, {"name": "two"}]\' if sys.argv[1] == \'hip\' else \'[]\')'
    monkeypatch.setattr(_devices, "_SCRIPT", script)
    found = {d.id: d for d in _devices.list_devices()}
    assert found["iree:hip"].name == "one" and found["iree:hip:1"].name == "two"
    assert found["iree:vulkan"].unavailable == "its driver ended the process with signal 6"
    assert found["iree:cpu"].unavailable == "its driver finds no device"


@pytest.mark.usefixtures("home")
def test_bound_inputs_and_outputs_stay_on_the_device(iree: Backend, device: Device) -> None:
    kind = (FLOAT, [3, 4])
    executable: Any = iree.compile(device, model(ABS, {"x": kind}, {"y": kind}), {})
    x = -np.arange(12, dtype=np.float32).reshape(3, 4)
    bound = executable.bind({"x": x})
    assert tuple(bound.names) == ("y",)
    for _ in range(2):
        (y,) = bound.run()
        np.testing.assert_array_equal(np.from_dlpack(y), -x)
    with pytest.raises(UsageError, match="no value for input 'x'"):
        executable.bind({})
    executable.close()
