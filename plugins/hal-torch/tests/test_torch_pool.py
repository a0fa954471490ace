"""Pooling: the official cases, and what these leave out against onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

OPERATORS = (
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxUnpool",
)


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def ort_outputs(
    operator: str, inputs: Any, attributes: Any, opset: int, outputs: int = 1
) -> list[Any]:
    names = [f"x{i}" for i in range(len(inputs))]
    wanted = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, names, wanted, **attributes)
    types = [helper.np_dtype_to_tensor_dtype(inputs[0].dtype), TensorProto.INT64]
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in zip(names, inputs, strict=True)
        ],
        [
            helper.make_tensor_value_info(n, t, None)
            for n, t in zip(wanted, types[:outputs], strict=True)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: list[Any] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((9,), {"kernel_shape": [3], "pads": [0, 2], "strides": [2]}),
    ((9,), {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}),
    ((8, 7), {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1]}),
    ((8, 7), {"kernel_shape": [3, 3], "pads": [2, 0, 1, 2], "strides": [2, 3]}),
    ((8, 7), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((8, 7), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((8, 7), {"kernel_shape": [3, 2], "auto_pad": "VALID"}),
    ((8, 7), {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1}),
    ((5, 6, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 3], "ceil_mode": 1}),
]


@pytest.mark.parametrize(("sizes", "attributes"), WINDOWS)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_windows(run_node: Any, values: Any, operator: str, sizes: Any, attributes: Any) -> None:
    x = values(np.float32, (2, 3, *sizes))
    variants: list[dict[str, Any]] = [{}]
    if operator == "LpPool":
        variants = [{"p": 1}, {"p": 2}, {"p": 3}]
    elif operator == "AveragePool":
        variants = [{}, {"count_include_pad": 1}]
    for more in variants:
        given = {**attributes, **more}
        (want,) = ort_outputs(operator, [x], given, 19)
        (got,) = run_node(operator, [x], ["float"], given, opset=19)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("storage_order", [0, 1])
@pytest.mark.parametrize(("sizes", "attributes"), WINDOWS)
def test_max_pool_indices(
    run_node: Any, values: Any, sizes: Any, attributes: Any, storage_order: int
) -> None:
    x = values(np.float32, (2, 3, *sizes))
    given = {**attributes, "storage_order": storage_order}
    want = ort_outputs("MaxPool", [x], given, 12, 2)
    got = run_node("MaxPool", [x], ["float", "int64"], given, opset=12)
    np.testing.assert_array_equal(got[0].numpy(), want[0])
    np.testing.assert_array_equal(got[1].numpy(), want[1])


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_dilations(run_node: Any, values: Any, operator: str) -> None:
    x = values(np.float32, (1, 2, 9, 8))
    given = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 0, 2, 1], "strides": [2, 1]}
    (want,) = ort_outputs(operator, [x], given, 19)
    (got,) = run_node(operator, [x], ["float"], given, opset=19)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("sizes", [(7,), (7, 6), (4, 5, 6)])
def test_max_pool_of_integers(run_node: Any, values: Any, dtype: Any, sizes: Any) -> None:
    x = values(dtype, (2, 3, *sizes))
    rank = len(sizes)
    given = {"kernel_shape": [3] * rank, "pads": [1] * rank + [0] * rank}
    name = np.dtype(dtype).name
    want = ort_outputs("MaxPool", [x], given, 12, 2)
    got = run_node("MaxPool", [x], [name, "int64"], given, opset=12)
    (alone,) = run_node("MaxPool", [x], [name], given, opset=12)
    np.testing.assert_array_equal(got[0].numpy(), want[0])
    np.testing.assert_array_equal(got[1].numpy(), want[1])
    np.testing.assert_array_equal(alone.numpy(), want[0])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize(
    "operator",
    ["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"],
)
def test_types(run_node: Any, values: Any, operator: str, dtype: Any) -> None:
    x = values(np.float32, (2, 3, 6, 5)).astype(dtype)
    given = {} if operator.startswith("Global") else {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}
    name = {"float64": "double"}.get(str(x.dtype), str(x.dtype))
    (want,) = run_node(operator, [x.astype(np.float32)], ["float"], given)
    (got,) = run_node(operator, [x], [name], given)
    np.testing.assert_allclose(
        got.numpy().astype(np.float32), want.numpy().astype(dtype).astype(np.float32), rtol=1e-2
    )


@pytest.mark.parametrize("sizes", [(4,), (4, 5), (2, 3, 4), ()])
def test_global_lp_pool(run_node: Any, values: Any, sizes: Any) -> None:
    x = values(np.float32, (2, 3, *sizes))
    (got,) = run_node("GlobalLpPool", [x], ["float"], {"p": 3})
    axes = tuple(range(2, x.ndim))
    want = (np.abs(x) ** 3).sum(axis=axes, keepdims=True) ** (1 / 3) if sizes else np.abs(x)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)


def test_max_unpool_inverts_max_pool(run_node: Any, values: Any) -> None:
    x = values(np.float32, (2, 3, 8, 6))
    given = {"kernel_shape": [2, 2], "strides": [2, 2]}
    pooled, indices = run_node("MaxPool", [x], ["float", "int64"], given)
    inputs = [pooled.numpy(), indices.numpy()]
    (got,) = run_node("MaxUnpool", inputs, ["float"], given)
    (again,) = run_node("MaxPool", [got.numpy()], ["float"], given)
    assert got.shape == x.shape
    at = got.numpy() != 0
    np.testing.assert_array_equal(got.numpy()[at], x[at])
    np.testing.assert_array_equal(
        again.numpy()[pooled.numpy() > 0], pooled.numpy()[pooled.numpy() > 0]
    )


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.0625])
def test_max_roi_pool(run_node: Any, values: Any, scale: float) -> None:
    x = values(np.float32, (2, 3, 9, 8))
    rois = np.float32(
        [
            [0, 1, 1, 6, 6],
            [1, 0, 0, 3.4, 2.6],
            [0, 2, 5, 2, 5],
            [1, 4, 4, 20, 20],
            [0, -3, -2, 1, 1],
        ]
    )
    given = {"pooled_shape": [3, 2], "spatial_scale": scale}
    (want,) = ort_outputs("MaxRoiPool", [x, rois], given, 21)
    (got,) = run_node("MaxRoiPool", [x, rois], ["float"], given, opset=21)
    np.testing.assert_array_equal(got.numpy(), want)
    (none,) = run_node("MaxRoiPool", [x, rois[:0]], ["float"], given, opset=21)
    assert none.shape == (0, 3, 3, 2)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_no_elements(run_node: Any, operator: str) -> None:
    x = np.zeros((0, 3, 6, 5), np.float32)
    given = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}
    (got,) = run_node(operator, [x], ["float"], given)
    assert got.shape == (0, 3, 6, 5)
