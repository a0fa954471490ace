"""Arithmetic, comparisons and logic against ONNX's reference evaluator and NumPy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
INTEGERS = tuple(np.dtype(f"{s}int{b}").type for s in ("", "u") for b in (8, 16, 32, 64))
TOLERANCE = {"float32": 1e-5, "float64": 1e-7, "float16": 2e-3, "bfloat16": 2e-2}
NAMES = {"float32": "float", "float64": "double"}
UNARY = [
    "Abs",
    "Neg",
    "Sign",
    "Ceil",
    "Floor",
    "Round",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Erf",
]
BINARY = ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"]
COMPARISONS = ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]
LOGIC = "And Or Xor Not IsNaN IsInf Where BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot"
CUMULATIVE = ("CumSum", "CumProd")
OTHERS = ("Pow", "Clip", "Sum", "Mean", "Identity", "Constant")


def name(dtype: Any) -> str:
    plain = np.dtype(dtype).name
    return NAMES.get(plain, plain)


def tolerance(dtype: Any) -> dict[str, float]:
    rtol = TOLERANCE.get(np.dtype(dtype).name, 0.0)
    return {"rtol": rtol, "atol": rtol / 10}


def test_official_cases(official_failures: Any) -> None:
    operators = {*UNARY, *BINARY, *COMPARISONS, *LOGIC.split(), *CUMULATIVE, *OTHERS}
    assert official_failures(operators) == []


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("op_type", UNARY)
def test_unary_floats(check_node: Any, values: Any, op_type: str, dtype: Any) -> None:
    rtol = 1e-6 if op_type == "Erf" and dtype is np.float64 else tolerance(dtype)["rtol"]
    for shape in ((3, 4), (), (0, 3)):
        x = values(dtype, shape, special=True)
        check_node(op_type, [x], [name(dtype)], rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_unary_integers(check_node: Any, values: Any, dtype: Any) -> None:
    for op_type in ("Abs", "Sign", "BitwiseNot"):
        for shape in ((3, 4), (), (0, 3)):
            check_node(op_type, [values(dtype, shape)], [name(dtype)])


@pytest.mark.parametrize("dtype", (*FLOATS, *INTEGERS), ids=name)
@pytest.mark.parametrize("op_type", (*BINARY, *COMPARISONS))
def test_binary(check_node: Any, values: Any, op_type: str, dtype: Any) -> None:
    for left, right in (((3, 4), (4,)), ((), ()), ((0, 3), (3,)), ((2, 1, 3), (4, 1))):
        a, b = values(dtype, left, special=True), values(dtype, right)
        if op_type in ("Div", "Mod") and dtype in INTEGERS:
            b = np.where((b == 0) | (b == np.array(-1).astype(dtype)), 3, b).astype(dtype)
        out = "bool" if op_type in COMPARISONS else name(dtype)
        for constant in ((), (1,)):
            check_node(op_type, [a, b], [out], constant=constant, **tolerance(dtype))


def test_integer_division_truncates_and_survives_its_extremes(run_node: Any) -> None:
    a = np.array([7, -7, -(2**31), 5, -(2**31)], np.int32)
    b = np.array([-2, 2, -1, 0, 2], np.int32)
    for constant in ((), (1,)):
        (got,) = run_node("Div", [a, b], ["int32"], constant=constant)
        assert got.numpy().tolist() == [-3, -3, -(2**31), 0, -(2**30)]
    (got,) = run_node("Mod", [a, b], ["int32"])
    assert got.numpy().tolist() == [-1, 1, 0, 0, 0]
    (got,) = run_node("Mod", [a, b], ["int32"], {"fmod": 1})
    assert got.numpy().tolist() == [1, -1, 0, 0, 0]


def test_division_over_the_whole_range_of_unsigned_integers(check_node: Any) -> None:
    for dtype in (np.uint16, np.uint32, np.uint64):
        most = int(np.iinfo(dtype).max)
        half = most // 2 + 1
        numbers = [0, 1, 5, half - 1, half, half + 1, most - 1, most, half // 2 + 1, half // 2 * 3]
        a = np.array(numbers, dtype)[:, None]
        b = np.array([n for n in numbers if n], dtype)
        out = [name(dtype)]
        check_node("Div", [a, b], out, expected=[a // b])
        for fmod in (0, 1):
            check_node("Mod", [a, b], out, {"fmod": fmod}, expected=[a % b])


def test_mod_of_floats_has_the_zero_of_its_divisor(run_node: Any) -> None:
    a = np.array([0.0, 4.0, -4.0, -1.0], np.float32)
    b = np.array([-2.0, -2.0, 2.0, np.inf], np.float32)
    (got,) = run_node("Mod", [a, b], ["float"], opset=28)
    assert np.array_equal(got.numpy(), [0, 0, 0, np.inf])
    assert np.signbit(got.numpy()).tolist() == [True, True, False, False]


@pytest.mark.parametrize("base", (*FLOATS, np.int32, np.int64), ids=name)
@pytest.mark.parametrize("exponent", (*FLOATS, *INTEGERS), ids=name)
def test_pow_of_mixed_types(check_node: Any, base: Any, exponent: Any) -> None:
    x = np.array([1, 2, 3, 0.5, 7] if base in FLOATS else [1, 2, 3, 0, 7]).astype(base)
    y = np.array([3, 0, 2, 1, 5]).astype(exponent)
    for other, constant in ((y, ()), (y, (1,)), (y[2], (1,))):
        check_node("Pow", [x, other], [name(base)], constant=constant, **tolerance(base))


def test_pow_of_an_exponent_that_float32_lacks(check_node: Any) -> None:
    x = np.array([-1.0], np.float32)
    y = np.array([2**24 + 1], np.int64)
    for power, constant in ((y, ()), (y.reshape(()), (1,))):
        check_node("Pow", [x, power], ["float"], constant=constant, expected=[x])
    huge = np.array([2**63 + 1, 2**64 - 1], np.uint64)
    three = np.array([3, 3], np.int64)
    powers = [pow(3, int(e), 2**64) for e in huge]
    check_node(
        "Pow", [three, huge], ["int64"], expected=[np.array(powers, np.uint64).view(np.int64)]
    )


@pytest.mark.parametrize("dtype", (*FLOATS, *INTEGERS), ids=name)
def test_variadic_and_bounds(check_node: Any, values: Any, dtype: Any) -> None:
    x = [values(dtype, shape, special=True) for shape in ((3, 4), (4,), ())]
    operators = ("Max", "Min", "Sum", "Mean") if dtype in FLOATS else ("Max", "Min")
    for op_type in operators:
        check_node(op_type, x, [name(dtype)], **tolerance(dtype))
        check_node(op_type, x[:1], [name(dtype)], **tolerance(dtype))
    low, high = np.array(3, dtype), np.array(7, dtype)
    for bounds in ((low, high), (high, low), (None, high), (low, None)):
        for constant in ((), tuple(i + 1 for i, b in enumerate(bounds) if b is not None)):
            check_node("Clip", [x[0], *bounds], [name(dtype)], constant=constant)
    choice = np.array([True, False, True, False])
    check_node("Where", [choice, x[0], x[1]], [name(dtype)])


def test_clip_by_attributes(check_node: Any) -> None:
    for dtype in (np.float32, np.float64, np.float16):
        x = np.array([-9, 0.5, 9], dtype)
        clipped = [np.array([-1, 0.5, 2], dtype)]
        attributes = {"min": -1.0, "max": 2.0}
        check_node("Clip", [x], [name(dtype)], attributes, opset=7, expected=clipped)
        check_node("Clip", [x], [name(dtype)], {}, opset=7, expected=[x])


@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_bits(check_node: Any, values: Any, dtype: Any) -> None:
    x, y = values(dtype, (3, 4)), values(dtype, (4,))
    for op_type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        check_node(op_type, [x, y], [name(dtype)])
    bits = np.iinfo(dtype).bits
    amounts = np.array([0, 1, bits - 1, bits, bits + 2, 3, -1], np.int64).astype(dtype)
    for direction in ("LEFT", "RIGHT"):
        check_node(
            "BitShift",
            [values(dtype, (5, 7)), amounts],
            [name(dtype)],
            {"direction": direction},
            opset=28,
        )


@pytest.mark.parametrize("op_type", CUMULATIVE)
@pytest.mark.parametrize("dtype", (*FLOATS, np.int32, np.int64, np.uint32, np.uint64), ids=name)
def test_cumulative(check_node: Any, values: Any, op_type: str, dtype: Any) -> None:
    x = values(dtype, (3, 4))
    loose = {"rtol": tolerance(dtype)["rtol"] * 5, "atol": tolerance(dtype)["rtol"] * 3}
    for axis in (0, -1):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                attributes = {"exclusive": exclusive, "reverse": reverse}
                at = np.array(axis, np.int64)
                check_node(op_type, [x, at], [name(dtype)], attributes, opset=26, **loose)
    at = np.array(0, np.int64)
    check_node(op_type, [x[:0], at], [name(dtype)], {"exclusive": 1}, opset=26)


def test_small_floats_are_told_apart(check_node: Any) -> None:
    for dtype in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"):
        x = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, dtype))
        check_node("IsNaN", [x], ["bool"], expected=[np.isnan(x)])
        for positive in (0, 1):
            attributes = {"detect_positive": positive}
            infinite = np.isinf(x) & (np.signbit(x) | bool(positive))
            check_node("IsInf", [x], ["bool"], attributes, expected=[infinite])


def test_strings(check_node: Any) -> None:
    x = np.array([["a", "b"], ["é", "d"]], dtype=object)
    y = np.array(["a", "d"], dtype=object)
    check_node("Equal", [x, y], ["bool"], expected=[x == y])
    condition = np.array([True, False])
    check_node(
        "Where", [condition, x, y], ["string"], expected=[np.where(condition, x, y).astype(object)]
    )
    one = np.array("a", dtype=object)
    check_node("Equal", [one, one], ["bool"], expected=[np.array(True)])


def test_broadcasting_before_version_7(check_node: Any) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    y = np.arange(1, 4, dtype=np.float32)
    attributes = {"axis": 1, "broadcast": 1}
    check_node("Div", [x, y], ["float"], attributes, opset=6, expected=[x / y[:, None]])
    check_node("Less", [x, y], ["bool"], attributes, opset=6, expected=[x < y[:, None]])
    check_node("Sub", [x, y[0]], ["float"], {"broadcast": 1}, opset=6, expected=[x - y[0]])
    check_node("Div", [x, y], ["float"], attributes, opset=1, expected=[x / y[:, None]])
    check_node("Mul", [x, y], ["float"], attributes, opset=1, expected=[x * y[:, None]])
