"""Execution: shapes that change, values in and out, bound inputs, and what is fused."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from hal_torch.arrays import TorchArrays
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import UsageError
from hal.types import ElementType

F = TensorProto.FLOAT
RNG = np.random.default_rng(3)


def made(nodes, inputs, outputs, weights=None, opset=20):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(n, t, s) for n, t, s in inputs],
        [info(n, t, None) for n, t in outputs],
        [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=14)
    return hal.Model(model.SerializeToString())


def node(op_type, inputs, outputs, **attributes):
    return helper.make_node(
        op_type, inputs.split(), outputs.split(), name=outputs.split()[0], **attributes
    )


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def compiled(torch_backend, torch_cpu):
    return lambda model, **options: torch_backend.compile(torch_cpu, model, options)


def run(executable, **inputs):
    found = executable.run({n: hal.Tensor.from_numpy(x) for n, x in inputs.items()})
    return {n: v.numpy() for n, v in found.items()}


@pytest.mark.parametrize("element_type", list(ElementType), ids=lambda e: e.onnx_name)
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5)], ids=str)
def test_every_type_comes_back_as_it_was_fed(element_type, shape):
    count = int(np.prod(shape))
    if element_type is ElementType.STRING:
        words = np.array([f"é{i}" for i in range(count)], dtype=object).reshape(shape)
        fed = hal.Tensor.from_numpy(words)
    else:
        codes = np.random.default_rng(5).bytes(element_type.nbytes(count))
        if element_type is ElementType.BOOL:
            codes = bytes(b & 1 for b in codes)
        packed = np.frombuffer(codes, np.uint8)
        tensor = hal.Tensor(element_type, shape, memoryview(packed))
        fed = hal.Tensor.from_numpy(tensor.bits(), element_type)  # spare bits cleared
    arrays = TorchArrays(torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held = arrays.from_tensor(fed)
        got = arrays.to_tensor(held, element_type)
    assert arrays.holds(held, element_type)
    again = arrays.from_host(arrays.to_host(held, element_type), element_type)
    assert bytes(arrays.to_tensor(again, element_type).data) == bytes(fed.data)
    assert (got.element_type, got.shape) == (element_type, shape)
    assert bytes(got.data) == bytes(fed.data)


def test_unaligned_input(compiled):
    octets = np.zeros(17, np.uint8)
    octets[1:] = np.arange(4, dtype=np.float32).view(np.uint8)
    fed = hal.Tensor(ElementType.FLOAT, (4,), memoryview(octets)[1:])
    model = made([node("Neg", "x", "y")], [("x", F, [4])], [("y", F)])
    got = compiled(model).run({"x": fed})["y"].numpy()
    np.testing.assert_array_equal(got, [0, -1, -2, -3])


def test_feeding_does_not_copy_and_running_does_not_write(compiled):
    x = floats(8)
    before = x.copy()
    fed = hal.Tensor.from_numpy(x)
    model = made([node("Identity", "x", "y"), node("Relu", "x", "z")], [("x", F, [8])],
                 [("y", F), ("z", F)])  # fmt: skip
    found = compiled(model).run({"x": fed})
    assert np.shares_memory(found["y"].numpy(), x)
    np.testing.assert_array_equal(x, before)


SHAPES = made(
    [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axis", "n1"),
        node("Concat", "n1 minus", "to", axis=0),
        node("Reshape", "x to", "flat"),
        node("MatMul", "flat w", "y"),
    ],
    [("x", F, ["n", 2, 3])],
    [("y", F)],
    {"zero": np.int64(0), "axis": np.int64([0]), "minus": np.int64([-1]), "w": floats(6, 4)},
)


@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_dynamic_shapes(compiled, mode):
    executable = compiled(SHAPES, mode=mode)
    w = compiled(SHAPES)
    for n in (1, 4, 4, 0):
        x = floats(n, 2, 3)
        got = run(executable, x=x)["y"]
        assert got.shape == (n, 4)
        np.testing.assert_allclose(got, run(w, x=x)["y"], rtol=1e-5, atol=1e-6)


def test_shape_arithmetic_does_not_touch_the_device(compiled):
    executable = compiled(SHAPES)
    where = {n.node: n.device for n in executable.placement().nodes}
    assert where == {"s": "", "n": "", "n1": "", "to": "", "flat": "torch:cpu", "y": "torch:cpu"}
    assert "to_device" not in executable.source


ADD = made([node("Add", "x y", "z")], [("x", F, ["n"]), ("y", F, ["n"])], [("z", F)])


def test_bound_inputs_are_read_anew_and_outputs_stay_torch(compiled):
    x, y = torch.ones(4), torch.full((4,), 2.0)
    bound = compiled(ADD).bind({"x": x, "y": y})
    assert bound.names == ("z",)
    (first,) = bound.run()
    assert isinstance(first, torch.Tensor)
    assert first.tolist() == [3.0] * 4
    x.fill_(10)
    assert bound.run()[0].tolist() == [12.0] * 4
    assert first.tolist() == [3.0] * 4, "an output is not overwritten by the next run"
    np.testing.assert_array_equal(np.from_dlpack(first), np.full(4, 3, np.float32))


def test_binding_takes_numpy_values_and_checks_them(compiled):
    executable = compiled(ADD)
    x = np.arange(3, dtype=np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    bound = executable.bind({"x": x, "y": hal.Tensor.from_numpy(frozen)})
    x[:] = 1
    assert bound.run()[0].tolist() == [1, 2, 3]
    with pytest.raises(
        UsageError, match=r"input 'x': expected tensor\(float\)\[n\], got tensor\(double\)"
    ):
        executable.bind({"x": torch.ones(3, dtype=torch.float64), "y": x})
    with pytest.raises(UsageError, match=r"input 'y': a object cannot be taken over"):
        executable.bind({"x": x, "y": object()})
    with pytest.raises(UsageError, match=r"input 'y' .* is missing"):
        executable.bind({"x": x})


def test_runs_from_several_threads(compiled):
    executable = compiled(SHAPES)
    inputs = [floats(n + 1, 2, 3) for n in range(8)]
    expected = [run(executable, x=x)["y"] for x in inputs]
    got = [None] * 8

    def work(i):
        for _ in range(20):
            got[i] = run(executable, x=inputs[i])["y"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


W, B = floats(8, 4, 3, 3) * 0.2, floats(8)
NORM = {"s": floats(8) + 2, "t": floats(8), "m": floats(8), "v": np.abs(floats(8)) + 0.5}
CHAINS = {
    "relu": [node("Relu", "c", "y")],
    "clip": [node("Clip", "c low high", "y")],
    "leaky": [node("LeakyRelu", "c", "y", alpha=0.2)],
    "norm-relu": [node("BatchNormalization", "c s t m v", "d", epsilon=1e-3),
                  node("Relu", "d", "y")],
    "scale-shift": [node("Mul", "c k", "d"), node("Add", "d k", "y")],
    "sum-relu": [node("Conv", "x w b", "e", pads=[1, 1, 1, 1]), node("Add", "c e", "d"),
                 node("Relu", "d", "y")],
    "sum-broadcast": [node("Add", "c one", "d"), node("Relu", "d", "y")],
    "used-twice": [node("Relu", "c", "d"), node("Mul", "c d", "y")],
    "sigmoid-mul": [node("Sigmoid", "c", "d"), node("Mul", "c d", "y")],
}  # fmt: skip
CONVOLUTIONS = {
    "same": {"pads": [1, 1, 1, 1]},
    "uneven": {"pads": [1, 0, 0, 2]},
    "stride-uneven": {"pads": [0, 0, 1, 1], "strides": [2, 2]},
    "dilated-uneven": {"pads": [0, 1, 2, 3], "dilations": [2, 2]},
    "auto": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
}


@pytest.mark.parametrize("how", CONVOLUTIONS)
@pytest.mark.parametrize("chain", CHAINS)
def test_fused_convolutions_are_right(compiled, chain, how):
    if chain == "sum-relu" and how != "same":
        pytest.skip("the sum's other side has the shape of 'same' only")
    model = made(
        [node("Conv", "x w b", "c", **CONVOLUTIONS[how]), *CHAINS[chain]],
        [("x", F, ["n", 4, None, None]), ("one", F, [1, 8, 1, 1])],
        [("y", F)],
        {"w": W, "b": B, **NORM, "k": floats(8, 1, 1), "low": np.float32(0), "high": np.float32(1)},
    )
    fused, plain = compiled(model), compiled(model, channels_last=False)
    assert fused.source.count("= k") < plain.source.count("= k") or chain in (
        "used-twice",
        "sigmoid-mul",
    )
    for n, size in ((2, 9), (1, 12), (0, 9)):
        x, one = floats(n, 4, size, size + 1), floats(1, 8, 1, 1)
        got, want = (run(e, x=x, one=one)["y"] for e in (fused, plain))
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert {p.device for p in fused.placement().nodes} == {"torch:cpu"}


def test_closed(compiled):
    executable = compiled(ADD)
    executable.close()
    with pytest.raises(hal.errors.ExecutionError, match="closed"):
        run(executable, x=floats(2), y=floats(2))
