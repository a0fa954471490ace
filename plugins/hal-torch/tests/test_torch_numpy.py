"""NumPy arrays through a session: what comes out is the caller's own, copied only where it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hal_torch._compat import is_alone
from onnx import TensorProto, helper, numpy_helper

import hal

F = TensorProto.FLOAT
RNG = np.random.default_rng(11)
WIDE = RNG.standard_normal((64, 64)).astype(np.float32)


def opened(nodes, outputs, weights=None, shape=(64, 64), **options):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), o.split(), **a) for op, i, o, a in nodes],
        "g",
        [info("x", F, shape)],
        [info(name, F, None) for name in outputs],
        [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return hal.load(model.SerializeToString(), device="torch:cpu", options=options)


SHARED = {
    "the input": ([("Identity", "x", "y", {})], ["y"]),
    "a view of the input": ([("Transpose", "x", "y", {})], ["y"]),
    "a part of the input": ([("Split", "x", "y z", {"num_outputs": 2})], ["y", "z"]),
    "a constant": ([("Identity", "w", "y", {}), ("Relu", "x", "z", {})], ["y", "z"]),
    "one value twice": ([("Relu", "x", "y", {}), ("Identity", "y", "z", {})], ["y", "z"]),
    "views of one another": (
        [("Relu", "x", "y", {}), ("Flatten", "y", "z", {"axis": 0})],
        ["y", "z"],
    ),
    "parts of one": (
        [("Relu", "x", "r", {}), ("Split", "r", "y z", {"num_outputs": 2})],
        ["y", "z"],
    ),
}


@pytest.mark.parametrize("mode", ["eager", "compile"])
@pytest.mark.parametrize("name", SHARED)
def test_results_share_no_memory(name, mode):
    nodes, outputs = SHARED[name]
    with opened(nodes, outputs, {"w": WIDE + 1}, mode=mode) as session:
        x = WIDE.copy()
        first = session.run(None, {"x": x})
        kept = [array.copy() for array in first]
        np.testing.assert_array_equal(x, WIDE)
        for array in first:
            assert array.flags.writeable
            array[:] = 7
            np.testing.assert_array_equal(x, WIDE)
        for i, array in enumerate(first):
            assert not any(np.shares_memory(array, other) for other in (x, *first[:i]))
        for array, want in zip(session.run(None, {"x": x}), kept, strict=True):
            np.testing.assert_array_equal(array, want)


def test_a_result_of_its_own_is_not_copied(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "hal_torch.arrays.is_alone", lambda t: seen.append((t.data_ptr(), is_alone(t))) or True
    )
    with opened([("Relu", "x", "y", {})], ["y"]) as session:
        (y,) = session.run(None, {"x": WIDE})
    assert seen == [(y.ctypes.data, True)]


def test_images_come_in_c_order():
    weight = RNG.standard_normal((8, 4, 3, 3)).astype(np.float32)
    nodes = [("Conv", "x w", "y", {"pads": [1, 1, 1, 1]})]
    x = RNG.standard_normal((1, 4, 16, 16)).astype(np.float32)
    with opened(nodes, ["y"], {"w": weight}, x.shape) as session:
        (y,) = session.run(None, {"x": x})
    assert y.flags.c_contiguous
    want = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=1)
    np.testing.assert_allclose(y, want.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", ["backwards", "unaligned", "read-only", "turned"])
def test_feeds_may_lie_in_any_way(how):
    x = WIDE.copy()
    if how == "backwards":
        x = x[::-1]
    elif how == "turned":
        x = x.T
    elif how == "unaligned":
        x = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(64, 64)
    else:
        x.flags.writeable = False
    with opened([("Neg", "x", "y", {})], ["y"]) as session:
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x)
