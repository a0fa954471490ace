"""Tensors of a shape, a range, or chance."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from hal.errors import ExecutionError, UnsupportedError
from hal.tensor import Tensor
from hal.types import ElementType

E = ElementType
FLOATS = {1: np.float32, 10: np.float16, 11: np.float64, 16: ml_dtypes.bfloat16}


def test_official_cases(official_failures: Any) -> None:
    own = {"ConstantOfShape", "EyeLike", "Range", "Bernoulli"}
    assert official_failures(own) == []


@pytest.mark.parametrize("element_type", [e for e in E if e not in (8, 14, 15, 27, 28)])
def test_constant_of_shape(check_node: Any, element_type: ElementType) -> None:
    value = np.ones(1, np.float32).astype(element_type.dtype())
    proto = TensorProto(data_type=int(element_type), dims=[1])
    proto.raw_data = bytes(Tensor.from_numpy(value).data)
    for shape in ((2, 3), (), (0, 2)):
        for constant in ((), (0,)):
            check_node(
                "ConstantOfShape",
                [np.array(shape, np.int64)],
                [element_type.onnx_name],
                {"value": proto},
                constant=constant,
                expected=[np.full(shape, value[0])],
            )


def test_zeros_of_shape(check_node: Any) -> None:
    shape = np.array([2, 3], np.int64)
    check_node("ConstantOfShape", [shape], ["float"], expected=[np.zeros((2, 3), np.float32)])


@pytest.mark.parametrize("k", [0, 1, -2, 9])
def test_eye_like(check_node: Any, k: int) -> None:
    for dtype, name in ((np.float32, "float"), (np.uint64, "uint64"), (bool, "bool")):
        x = np.zeros((3, 4), dtype)
        eye = np.eye(3, 4, k)
        check_node("EyeLike", [x], [name], {"k": k}, opset=22, expected=[eye.astype(dtype)])
        attributes = {"k": k, "dtype": 16}
        want = [eye.astype(ml_dtypes.bfloat16)]
        check_node("EyeLike", [x], ["bfloat16"], attributes, opset=22, expected=want)


def test_eye_like_wants_a_matrix(run_node: Any) -> None:
    with pytest.raises(ExecutionError, match="takes a matrix, got 1 dimensions"):
        run_node("EyeLike", [np.zeros(3, np.float32)], ["float"], opset=22)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, *FLOATS.values()])
def test_range(check_node: Any, dtype: Any) -> None:
    bounds = [(0, 10, 3), (10, 0, -3), (5, 5, 1), (0, 5, -1), (-3, 2, 1), (0, 9, 3)]
    if np.dtype(dtype).kind != "i":
        bounds += [(1.5, 3.7, 0.3)]
    name = {"float32": "float", "float64": "double"}.get(np.dtype(dtype).name)
    for triple in bounds:
        inputs = [np.array(v, dtype) for v in triple]
        for constant in ((), (0, 1, 2)):
            out = [name or np.dtype(dtype).name]
            check_node("Range", inputs, out, opset=27, constant=constant, rtol=1e-6)


def test_range_of_large_integers(check_node: Any) -> None:
    start = 2**62 + 1
    inputs = [np.array(v, np.int64) for v in (start, start + 3, 1)]
    want = [np.array([start, start + 1, start + 2])]
    check_node("Range", inputs, ["int64"], expected=want)


def test_range_without_a_step(run_node: Any) -> None:
    inputs = [np.array(v, np.int64) for v in (0, 3, 0)]
    with pytest.raises(ExecutionError, match="delta of 0"):
        run_node("Range", inputs, ["int64"])


@pytest.mark.parametrize(
    ("opset", "dtype"),
    [(7, 1), (7, 10), (7, 11), (22, 1), (22, 10), (22, 11), (22, 16)],
    ids=str,
)
@pytest.mark.parametrize("op_type", ["RandomNormal", "RandomUniform"])
@pytest.mark.parametrize("like", [False, True], ids=["shape", "like"])
def test_distributions(run_node: Any, op_type: str, like: bool, dtype: int, opset: int) -> None:
    normal = op_type == "RandomNormal"
    own = {"mean": 3.0, "scale": 2.0} if normal else {"low": -1.0, "high": 3.0}
    attributes: dict[str, Any] = {**own, "dtype": dtype}
    inputs = [np.zeros((100, 200), np.int32)] if like else []
    if not like:
        attributes["shape"] = [100, 200]
    op_type += "Like" if like else ""
    out = [E(dtype).onnx_name]
    (got,) = run_node(op_type, inputs, out, attributes, opset=opset)
    values = got.numpy().astype(np.float64)
    assert values.shape == (100, 200)
    # Five standard errors of the mean and of the deviation over 20,000 draws.
    deviation = 2.0 if normal else 4 / np.sqrt(12)
    assert values.mean() == pytest.approx(3.0 if normal else 1.0, abs=0.08)
    assert values.std() == pytest.approx(deviation, abs=0.06)
    assert normal or (values.min() >= -1.0 and values.max() <= 3.0)
    assert len(np.unique(values)) > 200
    (again,) = run_node(op_type, inputs, out, attributes, opset=opset)
    assert bytes(again.data) != bytes(got.data)
    seeded = {**attributes, "seed": 7.5}
    first, second = (run_node(op_type, inputs, out, seeded, opset=opset)[0] for _ in range(2))
    assert bytes(first.data) == bytes(second.data)
    other = run_node(op_type, inputs, out, {**seeded, "seed": 7.25}, opset=opset)[0]
    assert bytes(other.data) != bytes(first.data)


def test_like_strings_and_like_itself(run_node: Any) -> None:
    words = np.array([["a", "b"]], dtype=object)
    (got,) = run_node("RandomNormalLike", [words], ["float"], {"dtype": 1})
    assert got.shape == (1, 2)
    (got,) = run_node("RandomUniformLike", [np.zeros(3, np.float16)], ["float16"])
    assert got.element_type is E.FLOAT16
    with pytest.raises(UnsupportedError, match=r"random numbers of torch\.int32"):
        run_node("RandomUniformLike", [np.zeros(3, np.int32)], ["int32"])


def test_bernoulli(run_node: Any) -> None:
    chances = np.repeat([0.0, 0.25, 1.0], 4000).astype(np.float32)
    for out, attributes in (("float", {}), ("bool", {"dtype": 9}), ("uint64", {"dtype": 13})):
        (got,) = run_node("Bernoulli", [chances], [out], {"seed": 3.0, **attributes})
        drawn = got.numpy().astype(np.float64).reshape(3, -1)
        assert set(np.unique(drawn)) == {0.0, 1.0}
        assert (drawn[0].any(), drawn[2].all()) == (False, True)
        assert drawn[1].mean() == pytest.approx(0.25, abs=0.035)
        (again,) = run_node("Bernoulli", [chances], [out], {"seed": 3.0, **attributes})
        assert bytes(again.data) == bytes(got.data)


def test_multinomial(run_node: Any) -> None:
    odds = np.array([[0.1, 0.2, 0.7, 0.0], [1.0, 0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(odds).astype(np.float32) + 5  # not normalized
    attributes = {"sample_size": 8000, "seed": 1.0}
    (got,) = run_node("Multinomial", [logs], ["int32"], attributes)
    drawn = got.numpy()
    assert (drawn.shape, drawn.dtype) == ((2, 8000), np.int32)
    shares = [np.bincount(row, minlength=4) / 8000 for row in drawn]
    assert np.allclose(shares, odds, atol=0.03)
    assert not (shares[0][3] or shares[1][1:].any())
    (again,) = run_node("Multinomial", [logs], ["int32"], attributes)
    assert bytes(again.data) == bytes(got.data)
    (single,) = run_node("Multinomial", [logs.astype(np.float16)], ["int64"], {"dtype": 7})
    assert (single.shape, single.element_type) == ((2, 1), E.INT64)
