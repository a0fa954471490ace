"""Whether what a device gave is what was expected, and if not, how far from it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hal._minifloat import widen_bits
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType

__all__ = ["Difference", "compare", "differences", "relative_l2"]

_Array = np.ndarray[Any, Any]

_CHUNK = 1 << 20
_SMALL = 1 << 12


def compare(expected: Value, got: Value, *, rtol: float, atol: float) -> str:
    """Compare two values; "" when they agree, else the reason why not.

    ONNX type and shape must be the same. Numbers agree when |got - expected| <= atol + rtol *
    |expected|, the rule of numpy.testing.assert_allclose, evaluated in double precision (for
    integers the difference is exact): NaN agrees with NaN, an infinity with the same infinity. It
    holds for integers as well, as in ONNX's own runner; below 1 / rtol that means equality. Complex
    numbers are judged by their modulus. Booleans and strings must be equal. Sequences agree by
    length and item, maps by key, optionals when both are empty or their values agree.

    The reason states how many elements differ, the worst absolute and the worst relative error, and
    where they are.
    """
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _compare_tensors(expected, got, rtol, atol)
    if _type_of(expected) != _type_of(got):
        return f"expected {_type_of(expected)}, got {_type_of(got)}"
    if isinstance(expected, SequenceValue) and isinstance(got, SequenceValue):
        return _compare_sequences(expected, got, rtol, atol)
    if isinstance(expected, OptionalValue) and isinstance(got, OptionalValue):
        return _compare_optionals(expected, got, rtol, atol)
    if isinstance(expected, MapValue) and isinstance(got, MapValue):
        return _compare_maps(expected, got, rtol, atol)
    return f"expected {type(expected).__name__}, got {type(got).__name__}"


@dataclasses.dataclass(frozen=True)
class Difference:
    """An element that differs: `place` is its index, after the sequence's item if it is in one,
    e.g. "[0, 3]" or "item 2 [1]"; `error` is |got - expected|, NaN for strings."""

    place: str
    expected: Any
    got: Any
    error: float


def differences(
    expected: Value, got: Value, *, rtol: float, atol: float, limit: int = 10
) -> list[Difference]:
    """The first `limit` elements that `compare` finds differing, in their order. None where types,
    shapes, lengths or keys differ: then no element has a counterpart."""
    found: list[Difference] = []
    several = not isinstance(expected, Tensor)
    for item, (a, b) in enumerate(_tensor_pairs(expected, got)):
        if a is None or b is None or a.element_type is not b.element_type or a.shape != b.shape:
            continue
        prefix = f"item {item} " if several else ""
        if a.element_type is ElementType.STRING:
            x, y = a.bits().reshape(-1), b.bits().reshape(-1)
            error, differing = np.full(a.size, math.nan), x != y
        else:
            x, y = _numbers(a), _numbers(b)
            with np.errstate(all="ignore"):
                close, error, _ = _close(x, y, rtol, atol)
            differing = ~close
        for i in np.flatnonzero(differing)[: limit - len(found)]:
            place = prefix + _position(int(i), a.shape)
            found.append(Difference(place, x[i], y[i], float(error[i])))
    return found


def relative_l2(expected: Value, got: Value) -> float:
    """The relative L2 error ||got - expected|| / ||expected|| over all numbers of a value.

    0.0 when equal, whatever the norm. NaN in the same places and equal infinities are left out of
    both norms. Infinite where types, shapes, lengths, keys or strings differ, where only one side
    is NaN or infinite, and where `expected` is all zero and `got` is not.
    """
    error = norm = 0.0
    for a, b in _tensor_pairs(expected, got):
        if a is None or b is None or a.element_type is not b.element_type or a.shape != b.shape:
            return math.inf
        if a.element_type is ElementType.STRING:
            if not _same_bytes(a.data, b.data):
                return math.inf
            continue
        x, y = _numbers(a), _numbers(b)
        for start in range(0, a.size, _CHUNK):
            e, n = _squares(x[start : start + _CHUNK], y[start : start + _CHUNK])
            error += e
            norm += n
    if error == 0.0:
        return 0.0
    return math.sqrt(error / norm) if norm and math.isfinite(error) else math.inf


def _compare_tensors(expected: Tensor, got: Tensor, rtol: float, atol: float) -> str:
    if expected.element_type is not got.element_type or expected.shape != got.shape:
        return f"expected {expected.type} {list(expected.shape)}, got {got.type} {list(got.shape)}"
    if _same_bytes(expected.data, got.data):
        return ""
    if expected.element_type is ElementType.STRING:
        return _compare_strings(expected, got)
    x, y = _numbers(expected), _numbers(got)
    tally = _Tally(expected.shape)
    for start in range(0, expected.size, _CHUNK):
        tally.add(start, x[start : start + _CHUNK], y[start : start + _CHUNK], rtol, atol)
    return tally.reason(rtol, atol)


def _compare_strings(expected: Tensor, got: Tensor) -> str:
    try:
        pairs = list(zip(*(t.bits().ravel().tolist() for t in (expected, got)), strict=True))
    except ValueError as error:
        return str(error)
    differing = [i for i, (a, b) in enumerate(pairs) if a != b]
    if not differing:
        return ""
    a, b = pairs[differing[0]]
    return (
        f"{len(differing)} of {len(pairs)} strings differ, the first at "
        f"{_position(differing[0], expected.shape)}: expected {_short(a)}, got {_short(b)}"
    )


def _compare_sequences(
    expected: SequenceValue, got: SequenceValue, rtol: float, atol: float
) -> str:
    if len(expected.items) != len(got.items):
        return f"expected {len(expected.items)} items in the sequence, got {len(got.items)}"
    for i, (a, b) in enumerate(zip(expected.items, got.items, strict=True)):
        reason = compare(a, b, rtol=rtol, atol=atol)
        if reason:
            return f"item {i} of the sequence: {reason}"
    return ""


def _compare_optionals(
    expected: OptionalValue, got: OptionalValue, rtol: float, atol: float
) -> str:
    if expected.value is None or got.value is None:
        if expected.value is got.value:
            return ""
        return (
            "expected an empty optional, got one with a value"
            if expected.value is None
            else ("expected an optional with a value, got an empty one")
        )
    return compare(expected.value, got.value, rtol=rtol, atol=atol)


def _compare_maps(expected: MapValue, got: MapValue, rtol: float, atol: float) -> str:
    order = _key_order(expected, got)
    if order is None:
        return "the keys of the map differ"
    return compare(expected.values, _take(got.values, order), rtol=rtol, atol=atol)


def _key_order(expected: MapValue, got: MapValue) -> list[int] | None:
    """For each key of `expected` its index in `got`; None when the keys are not the same."""
    wanted, given = expected.keys.bits().ravel().tolist(), got.keys.bits().ravel().tolist()
    index = {key: i for i, key in enumerate(given)}
    if len(wanted) != len(given) or any(key not in index for key in wanted):
        return None
    return [index[key] for key in wanted]


def _take(tensor: Tensor, order: list[int]) -> Tensor:
    return Tensor.from_numpy(tensor.bits()[order], tensor.element_type)


def _type_of(value: Value) -> str:
    return value.type.replace(" ", "")


def _tensor_pairs(
    a: Value | None, b: Value | None
) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """The tensors of two values side by side; None where one side has none or another structure."""
    if a is None or b is None or _type_of(a) != _type_of(b):
        yield None, None
    elif isinstance(a, Tensor) and isinstance(b, Tensor):
        yield a, b
    elif isinstance(a, SequenceValue) and isinstance(b, SequenceValue):
        for x, y in itertools.zip_longest(a.items, b.items):
            yield from _tensor_pairs(x, y)
    elif isinstance(a, OptionalValue) and isinstance(b, OptionalValue):
        if a.value is not None or b.value is not None:
            yield from _tensor_pairs(a.value, b.value)
    elif isinstance(a, MapValue) and isinstance(b, MapValue):
        order = _key_order(a, b)
        yield a.values, None if order is None else _take(b.values, order)
    else:
        yield None, None


def _same_bytes(a: memoryview, b: memoryview) -> bool:
    if a.nbytes != b.nbytes:
        return False
    if a.nbytes <= _SMALL:
        return a.tobytes() == b.tobytes()
    # Comparing memoryviews goes element by element; NumPy does not.
    return bool((np.frombuffer(a, np.uint8) == np.frombuffer(b, np.uint8)).all())


def _numbers(tensor: Tensor) -> _Array:
    """The elements in one dimension: bool as bool, other integers as int64 or uint64, real numbers
    in their own type or the smallest that NumPy has, complex numbers as they are."""
    element_type, bits = tensor.element_type, tensor.bits().reshape(-1)
    if element_type is ElementType.BOOL:
        return np.not_equal(bits.view(np.uint8), 0)
    if element_type in (ElementType.INT4, ElementType.INT2):
        shift = 8 - element_type.bits
        bits = (bits << shift).view(np.int8) >> shift
    if bits.dtype.kind in "iu" and (element_type.is_native or element_type in _SMALL_INTEGERS):
        return bits.astype(np.int64 if bits.dtype.kind == "i" else np.uint64, copy=False)
    return bits if element_type.is_native else widen_bits(bits, element_type)


_SMALL_INTEGERS = frozenset(
    {ElementType.INT4, ElementType.UINT4, ElementType.INT2, ElementType.UINT2}
)


def _difference(x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """|y - x| and |x|."""
    if x.dtype.kind in "iu":
        # Unsigned arithmetic wraps, so the larger minus the smaller is exact at any distance.
        larger, smaller = np.maximum(x, y), np.minimum(x, y)
        return larger.view(np.uint64) - smaller.view(np.uint64), np.abs(x.astype(float))
    if x.dtype.kind == "b":
        return (x != y).astype(float), x.astype(float)
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    x, y = x.astype(wide, copy=False), y.astype(wide, copy=False)
    return np.abs(y - x), np.abs(x)


def _close(x: _Array, y: _Array, rtol: float, atol: float) -> tuple[_Array, _Array, _Array]:
    """Whether elements agree, |y - x| and |x|."""
    error, size = _difference(x, y)
    close = error <= atol + rtol * size
    if x.dtype.kind == "b":
        close = x == y
    elif not close.all() or size.max(initial=0.0) == np.inf:
        # An infinite element has no tolerance: its infinite limit would admit any number.
        close = (close & (size < np.inf) & (error < np.inf)) | _same(x, y)
    return close, error, size


def _same(x: _Array, y: _Array) -> _Array:
    """Whether two elements are the same: NaN as NaN, infinity as infinity."""
    same: _Array = (x == y) | ((x != x) & (y != y))
    return same


def _squares(x: _Array, y: _Array) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        error, size = _difference(x, y)
        error, size = error.astype(float), np.where(np.isfinite(size), size, 0.0)
        error = np.where(_same(x, y), 0.0, np.where(np.isnan(error), np.inf, error))
        return float(error @ error), float(size @ size)


class _Tally:
    """How many elements differ, and the worst of them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._count = 0
        self._absolute = _Worst()
        self._relative = _Worst()

    def add(self, start: int, x: _Array, y: _Array, rtol: float, atol: float) -> None:
        with np.errstate(all="ignore"):
            close, error, size = _close(x, y, rtol, atol)
            differing = ~close
            if not differing.any():
                return
            self._count += int(np.count_nonzero(differing))
            indices = np.flatnonzero(differing)
            error = error[indices].astype(float)
            # Where 0 is expected, a relative error says nothing.
            relative = np.where(size[indices] > 0, error / size[indices], -1.0)
            for worst, errors in ((self._absolute, error), (self._relative, relative)):
                errors = np.where(np.isnan(errors), np.inf, errors)
                i = int(errors.argmax())
                at = int(indices[i])
                worst.offer(float(errors[i]), start + at, x[at].item(), y[at].item())

    def reason(self, rtol: float, atol: float) -> str:
        if not self._count:
            return ""
        absolute, relative = self._absolute, self._relative
        text = (
            f"{self._count} of {math.prod(self._shape)} elements differ by more than {atol:g} + "
            f"{rtol:g} * |expected|: worst absolute error {absolute.error:.3g}"
        )
        if relative.error < 0:
            return f"{text} at {absolute.where(self._shape)}"
        if absolute.index != relative.index:
            text += f" at {absolute.where(self._shape)}"
        return f"{text}, worst relative error {relative.error:.3g} at {relative.where(self._shape)}"


@dataclasses.dataclass
class _Worst:
    error: float = -1.0
    index: int = 0
    expected: Any = None
    got: Any = None

    def offer(self, error: float, index: int, expected: Any, got: Any) -> None:
        if error > self.error:
            self.error, self.index, self.expected, self.got = error, index, expected, got

    def where(self, shape: tuple[int, ...]) -> str:
        return (
            f"{_position(self.index, shape)} (expected {_number(self.expected)}, "
            f"got {_number(self.got)})"
        )


def _position(index: int, shape: tuple[int, ...]) -> str:
    return str([int(i) for i in np.unravel_index(index, shape)])


def _number(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, (float, complex)) else str(value)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
