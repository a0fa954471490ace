"""Gradient over any array type: the part of the graph that its kernel is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import hal
from hal.errors import UnsupportedError
from hal.kernels import KernelBackend, KernelTable, NumpyArrays

CPU = hal.Device("test:cpu", "cpu")
DOMAIN = "ai.onnx.preview.training"


def model(**attributes: Any) -> hal.Model:
    """y = -x + exp(x) * z, and the gradient of y."""
    nodes = [
        helper.make_node("Exp", ["x"], ["e"], name="exp"),
        helper.make_node("Mul", ["e", "z"], ["m"], name="mul"),
        helper.make_node("Sub", ["m", "x"], ["y"], name="sub"),
        helper.make_node("Gradient", domain=DOMAIN, name="gradient", **attributes),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(n, TensorProto.DOUBLE, [2]) for n in "xz"],
        [info("d", TensorProto.DOUBLE, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return hal.Model(helper.make_model(graph, opset_imports=opsets).SerializeToString())


def backend(*names: str) -> KernelBackend:
    table = KernelTable()
    table.kernel("Exp", 13)(np.exp)
    table.kernel("Mul", 14)(np.multiply)
    table.kernel("Sub", 14)(np.subtract)

    def differences(*values: Any, body: Callable[..., Any], count: int) -> Any:
        """Central differences: the functions of the test are by element."""
        step = 1e-6
        made = []
        for i in range(count):
            ends = [body(*values[:i], values[i] + s, *values[i + 1 :])[0] for s in (step, -step)]
            made.append((ends[0] - ends[1]) / (2 * step))
        return tuple(made)

    for name in names:
        table.kernel(name, 1, domain=DOMAIN)(differences)
    return KernelBackend([CPU], table, NumpyArrays())


@pytest.mark.parametrize(
    ("names", "want"),
    [
        ({"xs": ["x"], "zs": ["z"]}, lambda x, z: np.exp(x) * z - 1),
        ({"xs": ["x"]}, lambda x, z: np.exp(x) * z - 1),
        ({"xs": ["z"]}, lambda x, z: np.exp(x)),
        ({"xs": ["e"]}, lambda x, z: z),
    ],
    ids=["x-z", "x-alone", "z", "intermediate"],
)
def test_the_body_leads_from_the_named_tensors_to_y(names, want):
    inputs = [*names["xs"], *names.get("zs", [])]
    made = model(inputs=inputs, outputs=["d"], y="y", **names)
    x, z = np.array([0.5, 1.0]), np.array([2.0, 3.0])
    executable = backend("Gradient").compile(CPU, made, {})
    got = executable.run({"x": hal.Tensor.from_numpy(x), "z": hal.Tensor.from_numpy(z)})
    np.testing.assert_allclose(got["d"].numpy(), want(x, z), rtol=1e-7)


def test_without_a_row_the_node_is_unsupported():
    made = model(inputs=["x"], outputs=["d"], xs=["x"], y="y")
    with pytest.raises(UnsupportedError) as caught:
        backend().compile(CPU, made, {})
    assert caught.value.nodes == ("gradient",)
    assert "gradient (Gradient-1): no kernel" in str(caught.value)
