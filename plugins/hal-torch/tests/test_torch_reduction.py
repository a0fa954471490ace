"""Reductions, ArgMax and ArgMin against ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
INTEGERS = (np.int32, np.int64, np.uint32, np.uint64)
TOLERANCE = {"float32": 1e-5, "float64": 1e-9, "float16": 4e-3, "bfloat16": 3e-2}
NAMES = {"float32": "float", "float64": "double"}
REDUCTIONS = tuple(
    f"Reduce{n}"
    for n in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]
)
ARGUMENTS = ("ArgMax", "ArgMin")


def name(dtype: Any) -> str:
    plain = np.dtype(dtype).name
    return NAMES.get(plain, plain)


def test_official_cases(official_failures: Any) -> None:
    helpers = {"Abs", "Cast", "Constant", "Exp", "Log", "Mul", "Sqrt", "Size", "Sub"}
    assert official_failures({*REDUCTIONS, *ARGUMENTS, *helpers}) == []


def expected(op_type: str, x: Any, axes: tuple[int, ...] | None, keep: bool) -> Any:
    """The definition, in float64 (integers: in Python's), rounded once."""
    wide = x.astype(object if x.dtype.kind in "iu" else np.float64)
    each = {"L1": np.abs, "L2": np.square, "SumSquare": np.square, "LogSumExp": np.exp}
    reduce = {"Max": np.max, "Min": np.min, "Prod": np.prod}
    short = op_type.removeprefix("Reduce")
    if axes == ():
        found = each.get("L1" if short == "L2" else short, lambda v: v)(wide)
        found = np.log(found) if short.startswith("Log") else found
    else:
        found = reduce.get(short, np.sum)(
            each.get(short, lambda v: v)(wide), axis=axes, keepdims=keep
        )
        if short == "Mean":
            count = wide.size // max(np.asarray(found).size, 1)
            found = found / count if x.dtype.kind not in "iu" else np.trunc(found / count)
        elif short == "L2":
            found = np.sqrt(np.asarray(found, dtype=np.float64))
        elif short.startswith("Log"):
            found = np.log(np.asarray(found, dtype=np.float64))
    if x.dtype.kind in "iu":
        bits = np.iinfo(x.dtype).bits
        flat = [int(v) % (1 << bits) for v in np.ravel(found)]
        unsigned = np.array(flat, dtype=f"u{bits // 8}").reshape(np.shape(found))
        return unsigned.view(x.dtype)
    return np.asarray(found).astype(x.dtype)


# Logarithms of integers left the standard in version 28: it never said how they round.
@pytest.mark.parametrize(
    ("op_type", "dtype"),
    [
        pytest.param(op_type, dtype, id=f"{op_type}-{name(dtype)}")
        for op_type in REDUCTIONS
        for dtype in (*FLOATS, *INTEGERS)
        if dtype in FLOATS or "Log" not in op_type
    ],
)
def test_axes(check_node: Any, op_type: str, dtype: Any) -> None:
    random = np.random.default_rng(3)
    x = random.integers(1, 9, size=(2, 3, 4)).astype(dtype)
    if dtype in FLOATS and op_type != "ReduceLogSum":
        x = random.normal(size=(2, 3, 4)).astype(dtype)
    if dtype in INTEGERS and op_type in ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin"):
        x.ravel()[0] = np.iinfo(dtype).max
    rtol = TOLERANCE.get(np.dtype(dtype).name, 0.0)
    for axes in (None, (0,), (-1,), (0, 2), (0, 1, 2)):
        for keep in (0, 1):
            want = [expected(op_type, x, axes, bool(keep))]
            options: dict[str, Any] = {"rtol": rtol, "atol": rtol, "expected": want}
            attributes: dict[str, Any] = {"keepdims": keep}
            inputs = [x] if axes is None else [x, np.array(axes, np.int64)]
            for constant in ((), (1,))[: len(inputs)]:
                check_node(
                    op_type,
                    inputs,
                    [name(dtype)],
                    attributes,
                    opset=20,
                    constant=constant,
                    **options,
                )
            if axes is not None:
                attributes["axes"] = list(axes)
            older = 11 if op_type == "ReduceSum" else 13
            if older > 11 or dtype is not ml_dtypes.bfloat16:
                check_node(op_type, [x], [name(dtype)], attributes, opset=older, **options)
    no_axes = np.zeros(0, np.int64)
    for axes_given in ([], [no_axes]):
        attributes = {"noop_with_empty_axes": 1}
        want = [expected(op_type, x, (), True)]
        check_node(
            op_type,
            [x, *axes_given],
            [name(dtype)],
            attributes,
            opset=20,
            rtol=rtol,
            atol=rtol,
            expected=want,
        )


@pytest.mark.parametrize("op_type", REDUCTIONS)
def test_nothing_and_a_single_number(check_node: Any, op_type: str) -> None:
    empty = np.zeros((2, 0, 3), np.float32)
    neutral = {"Max": -np.inf, "Min": np.inf, "Prod": 1.0, "LogSum": -np.inf, "LogSumExp": -np.inf}
    neutral["Mean"] = np.nan
    value = neutral.get(op_type.removeprefix("Reduce"), 0.0)
    axes = np.array([1], np.int64)
    want = [np.full((2, 1, 3), value, np.float32)]
    check_node(op_type, [empty, axes], ["float"], opset=20, expected=want)
    want = [np.zeros((1, 0, 3), np.float32)]
    check_node(op_type, [empty, axes[:1] * 0], ["float"], opset=20, expected=want)
    want = [expected(op_type, np.array([2.0], np.float32), (0,), False)]
    check_node(op_type, [np.array(2.0, np.float32)], ["float"], opset=20, rtol=1e-6, expected=want)


def test_extremes_of_nothing_by_type(check_node: Any) -> None:
    axes = np.array([0], np.int64)
    for dtype in (np.int8, np.uint8, np.int32, np.uint32, np.uint64, np.int64):
        limits = np.iinfo(dtype)
        x = np.zeros((0, 2), dtype)
        for op_type, value in (("ReduceMax", limits.min), ("ReduceMin", limits.max)):
            want = [np.full((1, 2), value, dtype)]
            check_node(op_type, [x, axes], [name(dtype)], opset=20, expected=want)
    for op_type, value in (("ReduceMax", False), ("ReduceMin", True)):
        x = np.zeros((0, 2), bool)
        want = [np.full((1, 2), value)]
        check_node(op_type, [x, axes], ["bool"], opset=20, expected=want)


def test_bools(check_node: Any) -> None:
    x = np.array([[True, False], [True, True], [False, False]])
    for op_type in ("ReduceMax", "ReduceMin"):
        for keep in (0, 1):
            axes = np.array([1], np.int64)
            check_node(op_type, [x, axes], ["bool"], {"keepdims": keep}, opset=20)


def test_log_sum_exp_of_large_values(check_node: Any) -> None:
    x = np.array([1000.0, 1001.0, -np.inf], np.float32)
    want = [np.array([1001.3133], np.float32)]
    check_node("ReduceLogSumExp", [x], ["float"], opset=20, rtol=1e-6, expected=want)


@pytest.mark.parametrize("op_type", ARGUMENTS)
@pytest.mark.parametrize(
    "dtype", (*FLOATS, *INTEGERS, np.int8, np.uint8, np.int16, np.uint16), ids=name
)
def test_positions_of_extremes(check_node: Any, op_type: str, dtype: Any) -> None:
    random = np.random.default_rng(1)
    for shape in ((5,), (2, 3, 4)):
        x = random.integers(0, 4, size=shape).astype(dtype)
        if np.dtype(dtype).kind == "u":
            x.ravel()[-1] = np.iinfo(dtype).max
        elif dtype in FLOATS:
            x.ravel()[-2] = np.nan
        for axis in range(-len(shape), len(shape)):
            for keep in (0, 1):
                for last in (0, 1):
                    attributes = {"axis": axis, "keepdims": keep, "select_last_index": last}
                    check_node(op_type, [x], ["int64"], attributes)
