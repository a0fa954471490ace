"""Conversions between all element types, against ml_dtypes and the standard's tables."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError, UnsupportedError
from hal.tensor import Tensor
from hal.types import ElementType

E = ElementType
FLOAT8 = (E.FLOAT8E4M3FN, E.FLOAT8E4M3FNUZ, E.FLOAT8E5M2, E.FLOAT8E5M2FNUZ)
FINITE = (E.FLOAT4E2M1, E.FLOAT6E2M3, E.FLOAT6E3M2)
FLOATS = (E.FLOAT, E.DOUBLE, E.FLOAT16, E.BFLOAT16, *FLOAT8, *FINITE)
SMALL = (E.INT4, E.UINT4, E.INT2, E.UINT2)
WIDE = (E.INT8, E.INT16, E.INT32, E.INT64, E.UINT8, E.UINT16, E.UINT32, E.UINT64)
INTEGERS = (*WIDE, *SMALL)
TYPES = (*FLOATS, *INTEGERS, E.BOOL)


def by_name(element_type: Any) -> str:
    return element_type.onnx_name if isinstance(element_type, ElementType) else str(element_type)


def every(element_type: ElementType) -> Any:
    """All values of a type of a byte or less; of others a spread with both ends and the ties."""
    if element_type is E.BOOL:
        return np.array([False, True])
    if element_type.bits <= 8:
        codes = np.arange(1 << element_type.bits, dtype=np.uint8)
        return Tensor.from_numpy(codes, element_type).numpy().copy()
    random = np.random.default_rng(5)
    dtype = element_type.dtype()
    if element_type in INTEGERS:
        limits = np.iinfo(dtype)
        whole = random.integers(limits.min, limits.max, 300, dtype, endpoint=True)
        whole[:4] = [limits.min, limits.max, 0, 1]
        return np.concatenate([whole, np.arange(128).astype(dtype)])
    scales = (1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0, 1e4, 1e6, 1e30)
    spread = [random.normal(size=40) * s for s in scales]
    edges = [
        0.0,
        -0.0,
        np.nan,
        np.inf,
        -np.inf,
        448,
        464,
        465,
        240,
        248,
        57344,
        61440,
        65504,
        65520,
    ]
    with np.errstate(over="ignore"):
        return np.concatenate([*spread, edges]).astype(dtype)


def representable(values: Any, to: ElementType) -> Any:
    """Those whose conversion the standard defines."""
    if to not in (*INTEGERS, *FINITE) or np.dtype(values.dtype).kind in "iub":
        return values
    wide = values.astype(np.float64)
    if to in FINITE:
        return values[~np.isnan(wide)]
    low = 0 if to.onnx_name.startswith("u") else -(2 ** (to.bits - 1))
    high = 2.0 ** (to.bits - (0 if to.onnx_name.startswith("u") else 1))
    return values[(np.trunc(wide) >= low) & (wide < high * (1 - 1e-7))]


def converted(values: Any, source: ElementType, to: ElementType, saturate: bool) -> Any:
    """By ml_dtypes, through float32, which holds every value that is narrower."""
    dtype = to.dtype()
    if to in SMALL:
        low = values.astype(np.float32) if source in FLOATS else values
        codes = (low.astype(np.int64) & ((1 << to.bits) - 1)).astype(np.uint8)
        return Tensor.from_numpy(codes, to).numpy()
    plain = values
    if source in SMALL:
        plain = values.astype(np.int8)
    elif not source.is_native:
        plain = values.astype(np.float32)
    if to in FLOAT8 and saturate:
        most = float(ml_dtypes.finfo(dtype).max)
        plain = np.clip(plain.astype(np.float32), -most, most)
    if not to.is_native and plain.dtype.kind in "iub":
        plain = plain.astype(np.float32)
    with np.errstate(all="ignore"):
        return plain.astype(dtype)


def test_official_cases(official_failures: Any) -> None:
    assert official_failures({"Cast", "CastLike", "BitCast"}) == []


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("to", TYPES, ids=by_name)
@pytest.mark.parametrize("source", TYPES, ids=by_name)
def test_every_pair(check_node: Any, source: ElementType, to: ElementType) -> None:
    x = representable(every(source), to)
    for saturate in (1, 0) if to in FLOAT8 else (1,):
        attributes = {"to": int(to), "saturate": saturate}
        want = [converted(x, source, to, bool(saturate))]
        check_node("Cast", [x], [to.onnx_name], attributes, opset=28, expected=want)


@pytest.mark.parametrize("to", [E.FLOAT16, E.BFLOAT16, E.FLOAT8E4M3FN, E.FLOAT4E2M1], ids=by_name)
def test_double_is_rounded_once(check_node: Any, to: ElementType) -> None:
    """A hair above a tie, which float32 would round to the tie."""
    half_step = {E.FLOAT16: 2**-11, E.BFLOAT16: 2**-8, E.FLOAT8E4M3FN: 2**-4, E.FLOAT4E2M1: 0.25}
    x = 1 + np.array([half_step[to] + 2**-40, half_step[to] - 2**-40, half_step[to]])
    want = np.array([1 + 2 * half_step[to], 1, 1]).astype(np.float32).astype(to.dtype())
    for sign in (1, -1):
        expected = [(want.astype(np.float32) * sign).astype(to.dtype())]
        attributes = {"to": int(to)}
        check_node("Cast", [x * sign], [to.onnx_name], attributes, opset=28, expected=expected)


@pytest.mark.parametrize("round_mode", ["up", "down", "nearest"])
def test_powers_of_two(check_node: Any, round_mode: str) -> None:
    x = np.array([1, 1.2, 1.5, 1.9, 2, 2.0**127, 2.0**-127, 2.0**-126, 3e38, np.nan], np.float32)
    want = {
        "up": [0, 1, 1, 1, 1, 127, -127, -126, 127],
        "down": [0, 0, 0, 0, 1, 127, -127, -126, 127],
        "nearest": [0, 0, 1, 1, 1, 127, -127, -126, 127],
    }[round_mode]
    powers = np.array([*np.ldexp(1.0, want), np.nan]).astype(ml_dtypes.float8_e8m0fnu)
    attributes = {"to": int(E.FLOAT8E8M0), "round_mode": round_mode}
    check_node("Cast", [x], ["float8e8m0"], attributes, expected=[powers])
    # Subnormals below the least power are clamped to it, infinity to the largest.
    ends = np.array([0.0, 2.0**-149, np.inf], np.float32)
    clamped = np.ldexp(1.0, [-127, -127, 127]).astype(ml_dtypes.float8_e8m0fnu)
    check_node("Cast", [ends], ["float8e8m0"], attributes, expected=[clamped])
    strict = {**attributes, "saturate": 0}
    nothing = np.full(3, np.nan).astype(ml_dtypes.float8_e8m0fnu)
    check_node("Cast", [ends], ["float8e8m0"], strict, expected=[nothing])
    back = np.ldexp(1.0, np.arange(-127, 128)).astype(np.float32)
    codes = back.astype(ml_dtypes.float8_e8m0fnu)
    check_node("Cast", [codes], ["float"], {"to": 1}, expected=[back])


def test_cast_like(check_node: Any) -> None:
    x = np.array([1.4, -2.6, 300.0], np.float32)
    for like, name in ((np.int32(0), "int32"), (np.float16(0), "float16")):
        target = np.asarray(like)
        check_node("CastLike", [x, target], [name], expected=[x.astype(target.dtype)])


def test_numbers_from_strings(check_node: Any) -> None:
    texts = np.array([["3.14", "1e-5", "1E8"], ["INF", "-inf", "NaN"]], dtype=object)
    numbers = [[3.14, 1e-5, 1e8], [np.inf, -np.inf, np.nan]]
    for to in (E.FLOAT, E.DOUBLE, E.FLOAT16, E.BFLOAT16, E.FLOAT8E5M2):
        with np.errstate(over="ignore"):
            want = np.array(numbers).astype(np.float32 if not to.is_native else to.dtype())
            want = want.astype(to.dtype())
        attributes = {"to": int(to), "saturate": 0}
        check_node("Cast", [texts], [to.onnx_name], attributes, expected=[want])
    whole = np.array(["7", "-3", "100.5", "9223372036854775807"], dtype=object)
    want = np.array([7, -3, 100, 2**63 - 1])
    check_node("Cast", [whole], ["int64"], {"to": 7}, expected=[want])
    small = np.array(["7", "-3"], dtype=object)
    check_node("Cast", [small], ["int4"], {"to": 22}, expected=[np.array([7, -3], ml_dtypes.int4)])
    flags = np.array(["1", "0", "true", "False"], dtype=object)
    want = np.array([True, False, True, False])
    check_node("Cast", [flags], ["bool"], {"to": 9}, expected=[want])


def test_a_string_that_is_no_number(run_node: Any) -> None:
    with pytest.raises(ExecutionError, match="Hello"):
        run_node("Cast", [np.array(["Hello World!"], dtype=object)], ["float"], {"to": 1})


def test_strings_from_numbers(check_node: Any) -> None:
    for x, want in (
        (np.array([0.1, 314.15926, -2, np.inf], np.float32), ["0.1", "314.15927", "-2.0", "inf"]),
        (np.array([0.1, 1e-8]), ["0.1", "1e-08"]),
        (np.array([-(2**63), 5]), [str(-(2**63)), "5"]),
        (np.array([2**64 - 1], np.uint64), [str(2**64 - 1)]),
        (np.array([0.5, 3], ml_dtypes.bfloat16), ["0.5", "3.0"]),
    ):
        check_node("Cast", [x], ["string"], {"to": 8}, expected=[np.array(want, dtype=object)])


BIT_GROUPS = (
    (E.INT8, E.UINT8, *FLOAT8, E.FLOAT8E8M0),
    (E.INT16, E.UINT16, E.FLOAT16, E.BFLOAT16),
    (E.INT32, E.UINT32, E.FLOAT),
    (E.INT64, E.UINT64, E.DOUBLE, E.COMPLEX64),
    (E.INT4, E.UINT4, E.FLOAT4E2M1),
    (E.INT2, E.UINT2),
)


@pytest.mark.parametrize("group", BIT_GROUPS, ids=lambda group: f"{group[0].bits}-bit")
def test_bits_are_kept(run_node: Any, group: tuple[ElementType, ...]) -> None:
    random = np.random.default_rng(2)
    size = (2, 8)
    octets = random.integers(0, 256, size=group[0].nbytes(16), dtype=np.uint8)
    for source, to in itertools.product(group, group):
        x = Tensor(source, size, memoryview(octets)).numpy()
        (got,) = run_node("BitCast", [x], [to.onnx_name], {"to": int(to)}, opset=26)
        assert (got.element_type, got.shape) == (to, size)
        assert bytes(got.data) == octets.tobytes(), (source.name, to.name)


def test_bits_of_another_width_are_refused(run_node: Any) -> None:
    with pytest.raises(UnsupportedError, match="float has 32 bits, int16 has 16"):
        run_node("BitCast", [np.zeros(2, np.float32)], ["int16"], {"to": 5}, opset=26)


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "uint2"])
def test_small_integers_are_written_as_integers(run_node: Any, name: str) -> None:
    x = np.array([0, 1], dtype=getattr(ml_dtypes, name))
    (got,) = run_node("Cast", [x], ["string"], {"to": int(ElementType.STRING)}, opset=25)
    assert got.numpy().tolist() == ["0", "1"]
