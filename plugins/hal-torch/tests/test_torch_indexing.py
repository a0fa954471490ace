"""Gather, scatter, search and sort, over every element type that the standard allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError, UnsupportedError
from hal.tensor import Tensor
from hal.types import ElementType

NUMBERS = [*(f"{s}int{n}" for s in ("u", "") for n in (8, 16, 32, 64))]
NUMBERS += ["float16", "float32", "float64"]
ALL = [*NUMBERS, "bool", "complex64", "bfloat16", "str"]
Check = Callable[..., None]

OFFICIAL = [
    "Gather",
    "GatherElements",
    "GatherND",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "TensorScatter",
    "NonZero",
    "Compress",
    "OneHot",
    "TopK",
    "Unique",
]


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if dtype == "str":
        return np.array(
            [f"s{i}" if i else "" for i in rng.integers(0, 6, shape).flat], object
        ).reshape(shape)
    if dtype == "bfloat16":
        return rng.integers(-8, 9, shape).astype(ml_dtypes.bfloat16)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    if kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def ints(*given: int) -> Any:
    return np.array(given, dtype=np.int64)


def name_of(x: Any) -> str:
    return ElementType.from_dtype(x.dtype).onnx_name


def test_official_cases(official_failures: Callable[..., list[str]]) -> None:
    assert not official_failures(OFFICIAL)


@pytest.mark.parametrize("constant", [(), (1,)], ids=["given", "constant"])
@pytest.mark.parametrize("dtype", ALL)
def test_gather(check_node: Check, dtype: str, constant: tuple[int, ...]) -> None:
    x = values((3, 4, 5), dtype)
    out = [name_of(x)]
    rng = np.random.default_rng(1)
    for axis in (0, -2):
        for at in (np.array(-1), ints(0, 2, -3), ints(0, 2, 1), np.int32([[0, 1], [-1, 2]])):
            check_node("Gather", [x, at], out, {"axis": axis}, constant=constant)
        check_node("Gather", [x, np.zeros((0, 2), np.int64)], out, {"axis": axis})
        at = rng.integers(-3, 3, (3, 4, 5))
        want = [np.take_along_axis(x, at, axis)]
        check_node("GatherElements", [x, at], out, {"axis": axis}, constant=constant, expected=want)
    for batch, shape in ((0, (2, 2)), (0, (2, 3, 3)), (1, (3, 2, 2)), (2, (3, 4, 1))):
        at = rng.integers(-3, 3, shape)
        check_node("GatherND", [x, at], out, {"batch_dims": batch}, constant=constant)
    for scalar in (np.array(2), np.array(-1, np.int32)):  # a vector's element has no dimension
        check_node("Gather", [x[0, 0], scalar], out, {"axis": 0}, constant=constant)


@pytest.mark.parametrize("dtype", ALL)
def test_scatter(check_node: Check, dtype: str) -> None:
    x = values((3, 4, 5), dtype)
    out = [name_of(x)]
    updates = values((3, 4, 2), dtype, 2)
    at = np.broadcast_to(np.int32([-1, 1]), (3, 4, 2))
    check_node("ScatterElements", [x, at, updates], out, {"axis": -1})
    nd = np.array([[0, 1], [2, -1]])
    check_node("ScatterND", [x, nd, values((2, 5), dtype, 3)], out)
    check_node("ScatterND", [x, np.array([[2], [0]]), values((2, 4, 5), dtype, 3)], out)
    new = values((3, 2, 5), dtype, 4)
    check_node("TensorScatter", [x, new], out)
    check_node("TensorScatter", [x, new, ints(0, 1, 2)], out, {"axis": 1})
    check_node("TensorScatter", [x, new, ints(3, 1, 2)], out, {"mode": "circular"})


def test_scatter_by_its_old_name(check_node: Check) -> None:
    x, at = np.zeros((2, 3), np.float32), np.array([[1, -1]])
    want = np.array([[0, 2, 3], [0, 0, 0]], np.float32)
    new = np.array([[2, 3]], np.float32)
    check_node("Scatter", [x, at, new], ["float"], {"axis": 1}, opset=9, expected=[want])


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # of the reference
@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", [*NUMBERS, "bool", "complex64"])
def test_scatter_reductions(check_node: Check, dtype: str, reduction: str) -> None:
    if dtype == "complex64" and reduction in ("max", "min"):
        pytest.skip("complex numbers have no order")
    x = values((3, 4, 5), dtype)
    near = {"rtol": 4e-3, "atol": 4e-3} if dtype == "float16" else {"rtol": 1e-5, "atol": 1e-6}
    at = np.random.default_rng(5).integers(-3, 3, (2, 3, 2))
    attributes = {"reduction": reduction, "axis": 1}
    given = [x, at, values((2, 3, 2), dtype, 6)]
    check_node("ScatterElements", given, [name_of(x)], attributes, **near)
    nd = np.array([[0, 1], [2, -1], [0, 1], [0, -3]])
    given = [x, nd, values((4, 5), dtype, 7)]
    check_node("ScatterND", given, [name_of(x)], {"reduction": reduction}, **near)


@pytest.mark.parametrize("dtype", ALL)
def test_choice(check_node: Check, dtype: str) -> None:
    x = values((3, 4, 5), dtype)
    out = [name_of(x)]
    keep = np.array([True, False, True])
    for axis in (0, -1):
        check_node("Compress", [x, keep], out, {"axis": axis}, opset=28)
    check_node("Compress", [x, keep], out, opset=28)
    check_node("NonZero", [x], ["int64"], expected=[np.array(np.nonzero(x.astype(bool)))])
    pair = values((2,), dtype, 8)
    index = np.array([[0, -1, 5], [2, -5, 1]])
    hot = (np.where(index < 0, index + 4, index)[..., None] == np.arange(4)) & (index >= -4)[
        ..., None
    ]
    for axis in (0, -1, 1):
        want = np.where(np.moveaxis(hot, -1, axis), pair[1], pair[0]).astype(pair.dtype)
        given = [index.astype(np.float32), np.array([4], np.float32), pair]
        check_node("OneHot", given, out, {"axis": axis}, opset=28, expected=[want])


def test_one_hot_9_has_no_negative_indices(check_node: Check) -> None:
    given = [ints(-1, 1), np.array(2), ints(0, 1)]
    check_node("OneHot", given, ["int64"], opset=9, expected=[np.array([[0, 0], [0, 1]])])
    check_node("OneHot", given, ["int64"], opset=11, expected=[np.array([[0, 1], [0, 1]])])


def test_non_zero_of_a_scalar(check_node: Check) -> None:
    x = np.array(3, np.float32)
    check_node("NonZero", [x], ["int64"], expected=[np.zeros((0, 1), np.int64)])


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", [*NUMBERS, "bfloat16"])
def test_top_k_gives_the_lower_of_equal_indices(
    check_node: Check, dtype: str, largest: int
) -> None:
    x = values((2, 40), dtype)
    x[:, 10:20] = x[:, :10]
    for y in (x, np.concatenate([x] * 60, 1)):  # below and above the size where the way changes
        for k, axis in ((1, 1), (7, -1), (2, 0)):
            attributes = {"largest": largest, "axis": axis}
            check_node("TopK", [y, ints(k)], [name_of(x), "int64"], attributes)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_top_k_of_what_is_no_number(check_node: Check, dtype: str) -> None:
    x = np.array([1, np.nan, -0.0, 0.0, np.inf, -np.nan, -np.inf, 3], dtype)
    for y in (x, np.concatenate([x] * 300)):
        for largest in (0, 1):
            attributes = {"largest": largest, "axis": 0}
            check_node("TopK", [y, ints(6)], [name_of(x), "int64"], attributes)


def test_top_k_by_attribute(check_node: Check) -> None:
    x = np.arange(4, dtype=np.float32)
    want = [np.array([3, 2], np.float32), ints(3, 2)]
    check_node("TopK", [x], ["float", "int64"], {"k": 2, "axis": 0}, opset=7, expected=want)


def by_numpy(y: Any, axis: int | None, ascending: int) -> list[Any]:
    own = y.astype(np.float32) if y.dtype == ml_dtypes.bfloat16 else y
    _, first, inverse, counts = np.unique(
        own, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not ascending:
        order = np.argsort(first)
        inverse = np.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    return [np.take(y, first, axis), first, inverse, counts]


@pytest.mark.parametrize("ascending", [0, 1])
@pytest.mark.parametrize("dtype", ALL)
def test_unique(check_node: Check, dtype: str, ascending: int) -> None:
    x = values((3, 4, 5), dtype)
    x = np.concatenate([x, x[::-1]], 0)
    types = [name_of(x), "int64", "int64", "int64"]
    want = by_numpy(x, None, ascending)
    check_node("Unique", [x], types, {"sorted": ascending}, opset=28, expected=want)
    if dtype == "str":
        return
    for axis in (0, 1, -1):
        attributes = {"sorted": ascending, "axis": axis}
        want = by_numpy(x, axis, ascending)
        check_node("Unique", [x], types, attributes, opset=28, expected=want)


def test_unique_of_nothing_and_of_nan(check_node: Check) -> None:
    types = ["float", "int64", "int64", "int64"]
    for x in (np.zeros(0, np.float32), np.array([np.nan, 1, np.nan, -0.0, 0.0], np.float32)):
        check_node("Unique", [x], types)
    for shape in ((0, 3), (3, 0)):
        check_node("Unique", [np.zeros(shape, np.float32)], types, {"axis": 0})


def test_indices_out_of_range(run_node: Callable[..., list[Tensor]]) -> None:
    x = np.zeros((2, 3), np.float32)
    for at in (ints(2), ints(-3), ints(0, 5)):
        with pytest.raises(ExecutionError):
            run_node("Gather", [x, at], ["float"])
    with pytest.raises(ExecutionError, match="k is 4"):
        run_node("TopK", [x, ints(4)], ["float", "int64"])


def test_strings_are_not_reduced(run_node: Callable[..., list[Tensor]]) -> None:
    x = np.array(["a", "b"], object)
    with pytest.raises(UnsupportedError, match="strings have no reduction"):
        run_node("ScatterElements", [x, ints(0), x[:1]], ["string"], {"reduction": "add"})
