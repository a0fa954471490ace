from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor
from hal._minifloat import widen_bits
from hal.compare import compare, relative_l2

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
EXTENDED = [e for e in ElementType if not e.is_native]
EXTENDED_FLOATS = [e for e in EXTENDED if "INT" not in e.name]


def differ(expected, got, rtol=1e-3, atol=1e-7):
    return compare(Tensor.from_numpy(expected), Tensor.from_numpy(got), rtol=rtol, atol=atol)


def allclose(expected, got, rtol, atol):
    """NumPy's verdict, in double precision as compare() promises."""
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    try:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(got.astype(wide), expected.astype(wide), rtol, atol)
    except AssertionError:
        return False
    return True


@st.composite
def pairs(draw, dtypes=(*FLOATS, "complex64", "complex128")):
    """Two arrays of one dtype and shape: alike, nearly alike, or not at all."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    expected = np.asarray(draw(hnp.arrays(dtype, shape)))
    got = expected.copy()
    if expected.size and draw(st.booleans()):
        with np.errstate(all="ignore"):
            factor = draw(st.sampled_from([0.99, 0.9989, 0.9991, 1.0, 1.0009, 1.0011, 1.1, -1.0]))
            got = np.asarray(got * np.array(factor).astype(dtype), dtype)
    if expected.size and draw(st.booleans()):
        got[np.unravel_index(draw(st.integers(0, got.size - 1)), shape)] = draw(
            hnp.from_dtype(dtype)
        )
    return expected, got


@given(pairs(), st.sampled_from([(1e-3, 1e-7), (0.0, 0.0), (0.0, 0.5), (1e-2, 0.0)]))
def test_floats_agree_with_assert_allclose(pair, tolerance):
    expected, got = pair
    with np.errstate(all="ignore"):  # where |z| overflows, NumPy's tolerance is infinite
        assume(not (np.isfinite(expected) & np.isinf(np.abs(expected))).any())
    assert (differ(expected, got, *tolerance) == "") == allclose(expected, got, *tolerance)


@given(pairs(tuple(INTEGERS)), st.sampled_from([(1e-3, 0.0), (0.0, 0.0), (0.0, 3.0)]))
def test_integers_differ_exactly(pair, tolerance):
    expected, got = pair
    rtol, atol = tolerance
    exact = all(
        abs(int(a) - int(b)) <= atol + rtol * abs(float(a))
        for a, b in zip(expected.ravel(), got.ravel(), strict=True)
    )
    assert (differ(expected, got, rtol, atol) == "") == exact


def test_integers_at_the_ends_of_their_range():
    low, high = np.array([-(2**63)]), np.array([2**63 - 1])
    assert "worst absolute error 1.84e+19" in differ(low, high, 0.0, 0.0)
    assert differ(high, high - 1, 0.0, 0.0)
    assert differ(np.array([2**64 - 1], np.uint64), np.array([0], np.uint64), 0.0, 0.0)


@pytest.mark.parametrize("kind", EXTENDED_FLOATS, ids=lambda e: e.name.lower())
def test_widening_matches_ml_dtypes(kind):
    count = 1 << min(kind.bits, 16)
    bits = np.arange(count).astype(kind.storage)
    values = bits.view(kind.dtype()).astype(np.float32)
    np.testing.assert_array_equal(widen_bits(bits, kind), values)
    assert (np.signbit(widen_bits(bits, kind)) == np.signbit(values))[~np.isnan(values)].all()


@pytest.mark.parametrize("kind", EXTENDED, ids=lambda e: e.name.lower())
def test_types_that_numpy_lacks(kind):
    one, two = (Tensor.from_numpy(np.array([1, 0, v]).astype(kind.dtype())) for v in (1, 0))
    if kind is ElementType.FLOAT8E8M0:  # has no zero
        one, two = (Tensor.from_numpy(np.array([1, 2, v]).astype(kind.dtype())) for v in (1, 4))
    assert compare(one, one, rtol=0, atol=0) == ""
    reason = compare(one, two, rtol=1e-3, atol=1e-7)
    assert reason.startswith("1 of 3 elements differ") and "[2]" in reason


def test_padding_of_packed_elements_is_no_value():
    clean, dirty = (
        Tensor(ElementType.INT4, (1,), memoryview(bytes([octet]))) for octet in (0x0F, 0xAF)
    )
    assert compare(clean, dirty, rtol=0, atol=0) == ""


def test_negative_small_integers():
    minus, plus = (Tensor.from_numpy(np.array([v], ml_dtypes.int4)) for v in (-8, 7))
    assert "worst absolute error 15" in compare(minus, plus, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("expected", "got", "equal"),
    [
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (1.0, math.nan, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (math.inf, 1e300, False),
        (1e300, math.inf, False),
        (0.0, -0.0, True),
        (0.0, 1e-7, True),
        (0.0, 1.1e-7, False),
    ],
)
def test_special_values(expected, got, equal):
    assert (differ(np.array(expected), np.array(got)) == "") is equal


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (
            np.zeros(2, np.float32),
            np.zeros(2),
            "expected tensor(float) [2], got tensor(double) [2]",
        ),
        (np.zeros((2, 1)), np.zeros((1, 2)), "expected tensor(double) [2, 1], got tensor(double)"),
        (np.zeros((0, 2)), np.zeros((0, 3)), "[0, 2], got tensor(double) [0, 3]"),
        (np.zeros(1, bool), np.zeros(1, np.uint8), "tensor(bool) [1], got tensor(uint8) [1]"),
    ],
)
def test_type_and_shape_are_exact(expected, got, words):
    assert words in differ(expected, got)


def test_booleans_are_exact_whatever_the_tolerance():
    assert differ(np.array([True]), np.array([False]), 10.0, 10.0)
    truthy = Tensor(ElementType.BOOL, (1,), memoryview(b"\x02"))
    assert compare(Tensor.from_numpy(np.array([True])), truthy, rtol=0, atol=0) == ""


def test_reason_names_count_worst_errors_and_their_places():
    expected = np.array([[1.0, 100.0], [0.5, 4.0]], np.float32)
    got = np.array([[1.0, 110.0], [0.75, 4.0]], np.float32)
    assert differ(expected, got) == (
        "2 of 4 elements differ by more than 1e-07 + 0.001 * |expected|: "
        "worst absolute error 10 at [0, 1] (expected 100, got 110), "
        "worst relative error 0.5 at [1, 0] (expected 0.5, got 0.75)"
    )


def test_where_zero_is_expected_no_relative_error_is_stated():
    assert differ(np.array([0.0, 2.0]), np.array([1.0, 3.0])).endswith(
        "worst absolute error 1 at [0] (expected 0, got 1), "
        "worst relative error 0.5 at [1] (expected 2, got 3)"
    )
    assert differ(np.array([0.0, 2.0]), np.array([1.0, 2.0])).endswith(
        "worst absolute error 1 at [0] (expected 0, got 1)"
    )


def test_worst_error_beyond_the_first_block():
    expected = np.ones((3, 1 << 20), np.float32)
    got = expected.copy()
    got[0, 7], got[2, 5] = 2.0, 4.0
    reason = differ(expected, got)
    assert reason.startswith("2 of 3145728 elements") and "3 at [2, 5]" in reason
    assert differ(expected, expected.copy()) == ""


def test_strings():
    expected, got = np.array(["a", "bé"], object), np.array(["a", "b"], object)
    assert differ(expected, expected.copy()) == ""
    assert (
        differ(expected, got) == "1 of 2 strings differ, the first at [1]: expected 'bé', got 'b'"
    )


def test_strings_that_are_damaged_are_a_reason_not_an_exception():
    damaged = Tensor(ElementType.STRING, (1,), memoryview(b"\0" * 8 + b"\x09" + b"\0" * 7))
    assert "offsets" in compare(Tensor.from_numpy(np.array(["a"], object)), damaged, rtol=0, atol=0)


def tensor(*values):
    return Tensor.from_numpy(np.array(values, np.float32))


def sequence(*items):
    return SequenceValue("seq(tensor(float))", items)


def optional(value, kind="optional(tensor(float))"):
    return OptionalValue(kind, value)


def mapping(keys, values):
    return MapValue(
        "map(string, tensor(float))",
        Tensor.from_numpy(np.array(keys, object)),
        Tensor.from_numpy(np.array(values, np.float32)),
    )


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (sequence(), sequence(), ""),
        (sequence(tensor(1)), sequence(tensor(1)), ""),
        (sequence(tensor(1)), sequence(), "expected 1 items in the sequence, got 0"),
        (sequence(tensor(1), tensor(2)), sequence(tensor(1), tensor(3)), "item 1 of the sequence"),
        (sequence(), tensor(1), "expected seq(tensor(float)), got tensor(float)"),
        (optional(None), optional(None), ""),
        (optional(tensor(1)), optional(tensor(1)), ""),
        (optional(tensor(1)), optional(tensor(2)), "1 of 1 elements"),
        (optional(None), optional(tensor(1)), "expected an empty optional"),
        (optional(tensor(1)), optional(None), "got an empty one"),
        (optional(None), optional(None, "optional(tensor(int64))"), "got optional(tensor(int64))"),
        (mapping(["a", "b"], [1, 2]), mapping(["b", "a"], [2, 1]), ""),
        (mapping(["a", "b"], [1, 2]), mapping(["a", "b"], [1, 3]), "1 of 2 elements"),
        (mapping(["a"], [1]), mapping(["c"], [1]), "the keys of the map differ"),
    ],
)
def test_containers(expected, got, words):
    reason = compare(expected, got, rtol=1e-3, atol=1e-7)
    assert words in reason and bool(words) == bool(reason)
    error = relative_l2(expected, got)
    assert error == 0.0 if not words else error > 0.0


@settings(max_examples=50)
@given(
    hnp.arrays(np.float32, (5,), elements=st.floats(-1e3, 1e3, width=32)),
    hnp.arrays(np.float32, (5,), elements=st.floats(-1e3, 1e3, width=32)),
)
def test_relative_l2_is_the_ratio_of_norms(expected, got):
    norm = np.linalg.norm(expected.astype(float))
    error = np.linalg.norm(got.astype(float) - expected.astype(float))
    want = 0.0 if error == 0 else error / norm if norm else math.inf
    assert relative_l2(Tensor.from_numpy(expected), Tensor.from_numpy(got)) == pytest.approx(want)


@pytest.mark.parametrize(
    ("expected", "got", "error"),
    [
        ([3.0, 4.0], [3.0, 4.5], 0.1),
        ([0.0], [0.0], 0.0),
        ([0.0], [1.0], math.inf),
        ([math.nan, 3.0], [math.nan, 3.3], 0.1),
        ([math.inf, 2.0], [math.inf, 2.2], 0.1),
        ([math.inf, 2.0], [-math.inf, 2.0], math.inf),
        ([1.0], [math.nan], math.inf),
    ],
)
def test_relative_l2_of_special_values(expected, got, error):
    assert relative_l2(tensor(*expected), tensor(*got)) == pytest.approx(error)


def test_relative_l2_is_infinite_for_other_types_shapes_and_strings():
    assert relative_l2(tensor(1), tensor(1, 1)) == math.inf
    assert relative_l2(tensor(1), Tensor.from_numpy(np.ones(1))) == math.inf
    a, b = (Tensor.from_numpy(np.array([s], object)) for s in "ab")
    assert (relative_l2(a, a), relative_l2(a, b)) == (0.0, math.inf)
