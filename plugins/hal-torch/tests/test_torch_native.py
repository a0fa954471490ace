"""The operators in C++ that mode "compile" puts into its graphs, against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hal_torch.native import native
from onnx import TensorProto, helper, numpy_helper

import hal

own = native()
if own is None:
    pytest.skip("no C++ compiler", allow_module_level=True)
LAST = torch.channels_last
NO_BOUNDS = (-math.inf, math.inf)


def drawn(*shape):
    rng = np.random.default_rng([*shape, 5])
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("depth", [1, 7, 64])
@pytest.mark.parametrize("columns", [1, 16, 17, 40, 70, 200])
@pytest.mark.parametrize("rows", [0, 1, 5, 49, 513])
def test_product(rows, columns, depth):
    x, weight, bias = drawn(rows, depth), drawn(columns, depth), drawn(columns)
    got = own.product(x, own.pack(weight[None]), own.padded(bias, 1, columns), columns)
    want = F.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bounds", [NO_BOUNDS, (0.0, math.inf), (-0.5, 0.25)])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(
    ("groups", "depth", "columns"), [(1, 16, 24), (1, 3, 130), (4, 34, 34), (3, 5, 68)]
)
@pytest.mark.parametrize("size", [1, 7, 33])
def test_pointwise(size, groups, depth, columns, summed, bounds):
    x = drawn(2, groups * depth, size, size)  # not channels last: the operator sees to it
    weight, bias = drawn(groups * columns, depth, 1, 1), drawn(groups * columns)
    other = drawn(2, groups * columns, size, size) if summed else None
    packed = own.pack(weight.reshape(groups, columns, depth))
    got = own.pointwise(x, packed, own.padded(bias, groups, columns), other, columns, *bounds)
    want = F.conv2d(x.double(), weight.double(), bias.double(), groups=groups)
    want = (want if other is None else want + other).clamp(*bounds)
    assert got.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [16, 23, 40, 96])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads", "dilation"),
    [
        ((14, 14), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((15, 13), (3, 3), (2, 2), (1, 0, 1, 2), (1, 1)),
        ((9, 20), (5, 1), (1, 3), (4, 0, 4, 2), (2, 1)),
        ((1, 2), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((6, 6), (3, 3), (1, 1), (3, 5, 3, 5), (1, 1)),
        ((8, 8), (3, 3), (2, 1), (-1, -2, 0, -1), (1, 1)),
        ((7, 7), (3, 3), (1, 1), (0, 0, 0, 0), (3, 3)),
    ],
)
def test_depthwise(channels, size, kernel, stride, pads, dilation):
    x, weight = drawn(2, channels, *size), drawn(channels, 1, *kernel)
    bias = drawn(channels)
    padded = F.pad(x.double(), (pads[1], pads[3], pads[0], pads[2]))
    want = F.conv2d(
        padded, weight.double(), bias.double(), stride, dilation=dilation, groups=channels
    ).clamp(-1, 1)
    taps = weight[:, 0].permute(1, 2, 0).contiguous()
    window = [*want.shape[2:], *stride, *pads[:2], *dilation]
    got = own.depthwise(x, taps, bias, window, -1.0, 1.0)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


def test_nan_and_infinity_stay():
    x = torch.tensor([[math.nan, 0.0], [math.inf, 1.0], [-math.inf, 1.0]])[:, :, None, None]
    packed = own.pack(torch.ones(1, 1, 2))
    bare = own.padded(None, 1, 1)
    got = own.pointwise(x, packed, bare, None, 1, *NO_BOUNDS).flatten()
    torch.testing.assert_close(got, torch.tensor([math.nan, math.inf, -math.inf]), equal_nan=True)
    got = own.pointwise(x, packed, bare, None, 1, 0.0, 6.0).flatten()
    torch.testing.assert_close(got, torch.tensor([math.nan, 6.0, 0.0]), equal_nan=True)


def test_one_thread_computes_what_two_do():
    x, weight = drawn(1, 64, 28, 28), drawn(1, 96, 64)
    packed, bias = own.pack(weight), own.padded(None, 1, 96)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(own.pointwise(x, packed, bias, None, 96, *NO_BOUNDS))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def block():
    """Two blocks of a MobileNet, with what its convolutions are followed by."""
    rng = np.random.default_rng(8)
    info, node = helper.make_tensor_value_info, helper.make_node

    def weight(*shape):
        return (rng.standard_normal(shape) / 4).astype(np.float32)

    weights = {
        "first": weight(16, 3, 3, 3), "wide": weight(32, 16, 1, 1), "deep": weight(32, 1, 3, 3),
        "narrow": weight(16, 32, 1, 1), "b": weight(16), "scale": weight(16), "mean": weight(16),
        "variance": np.abs(weight(16)), "cut": weight(24, 8, 1, 1), "each": weight(24, 1, 3, 3),
        "zero": np.array(0, np.float32), "six": np.array(6, np.float32),
        "row": weight(1, 24, 1, 1),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "first"], ["a"], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Conv", ["a", "wide"], ["c"]),
        node("Clip", ["c", "zero", "six"], ["d"]),
        node("Conv", ["d", "deep"], ["e"], group=32, auto_pad="SAME_UPPER"),
        node("HardSwish", ["e"], ["f"]),
        node("Conv", ["f", "narrow", "b"], ["g"]),
        node("BatchNormalization", ["g", "scale", "b", "mean", "variance"], ["h"]),
        node("Add", ["h", "a"], ["i"]),
        node("Relu", ["i"], ["j"]),
        node("Conv", ["j", "cut"], ["k"], group=2, strides=[2, 2]),
        node("Conv", ["k", "each"], ["l"], group=24, pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Add", ["l", "row"], ["m"]),
        node("GlobalAveragePool", ["m"], ["n"]),
        node("Add", ["l", "n"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["n", 3, 33, 33])],
        [info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return hal.Model(made.SerializeToString())


@pytest.mark.parametrize("made", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_net_in_compile_mode(torch_backend, torch_cpu, monkeypatch, made):
    if not made:  # as on a machine whose compiler does not take them
        monkeypatch.setattr("hal_torch.fusion._traced.native", lambda: None)
    calls = []
    monkeypatch.setattr(own, "pointwise", lambda *a, f=own.pointwise: calls.append(0) or f(*a))
    x = {"x": hal.Tensor.from_numpy(drawn(2, 3, 33, 33).numpy())}
    exact = torch_backend.compile(torch_cpu, block(), {"precision": "float64"}).run(x)["y"]
    got = torch_backend.compile(torch_cpu, block(), {"mode": "compile"}).run(x)["y"]
    np.testing.assert_allclose(got.numpy(), exact.numpy(), rtol=1e-4, atol=1e-5)
    assert len(calls) == (3 if made else 0)
