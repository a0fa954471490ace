"""When is a result right? Structure, shape, dtype and values against the oracle's.

A value is right when `|got - expected| <= atol + rtol * |expected| + EPSILONS * eps * largest`.

rtol and atol are those of `torch.testing.assert_close` by dtype times FACTOR, or what the OpInfo
itself declares for the dtype (toleranceOverride, precisionOverride) where that is wider. The last
term is the rounding of an intermediate as large as the largest finite value expected of the tensor,
at the precision of the result: a sum that cancels keeps the absolute error of its terms (Higham,
Accuracy and Stability of Numerical Algorithms, 4.2). Integers and bool are exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from hal_torch.opinfo.database import dtype_name
from hal_torch.opinfo.samples import higher

__all__ = ["EPSILONS", "FACTOR", "Tolerance", "leaves", "mismatch", "tolerance_of"]

FACTOR = 10
"""assert_close compares two results of one precision; here one side is exact, the other has the
rounding of every step of a composite operator."""

EPSILONS = 4
"""How many such roundings a result may carry."""

_DEFAULTS = {
    # dtype: (rtol, atol), torch.testing.assert_close's, PyTorch 2.13
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex32: (1e-3, 1e-5),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Relative, absolute, and relative to the largest value expected."""

    rtol: float = 0.0
    atol: float = 0.0
    scale: float = 0.0

    def widest(self, other: Tolerance) -> Tolerance:
        """The larger of each."""
        return Tolerance(
            max(self.rtol, other.rtol), max(self.atol, other.atol), max(self.scale, other.scale)
        )

    def times(self, factor: float) -> Tolerance:
        """Every part `factor` times as wide."""
        return Tolerance(factor * self.rtol, factor * self.atol, factor * self.scale)


def tolerance_of(op: Any, dtype: torch.dtype, arguments: Iterable[torch.dtype] = ()) -> Tolerance:
    """The tolerance of the floating results of an OpInfo that is called with `dtype`; that of the
    least precise where some `arguments` are of other floating dtypes."""
    found = _default(dtype)
    for other in arguments:
        if other.is_floating_point or other.is_complex:
            found = found.widest(_default(other))
    for info in op.decorators:
        for decorator in getattr(info, "decorators", ()):
            declared = getattr(decorator, "d", None)
            value: Any = declared.get(dtype) if isinstance(declared, dict) else None
            if hasattr(value, "rtol"):
                found = found.widest(Tolerance(value.rtol, value.atol))
            elif isinstance(value, float):
                found = found.widest(Tolerance(0.0, value))
    return found


def _default(dtype: torch.dtype) -> Tolerance:
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = torch.float32  # the default of floating results of integers
    epsilon = torch.finfo(dtype).eps
    rtol, atol = _DEFAULTS.get(dtype, (epsilon, epsilon))  # float8: assert_close has none
    return Tolerance(FACTOR * rtol, FACTOR * atol, EPSILONS * epsilon)


def leaves(result: Any) -> list[Any]:
    """The tensors and scalars of a result, on the CPU; sparse tensors made dense."""
    return [_plain(item) for item in tree_flatten(result)[0]]


def _plain(item: Any) -> Any:
    if not isinstance(item, torch.Tensor):
        return item
    item = item.detach()
    if item.layout is not torch.strided:
        item = item.to_dense()
    # a copy also on the CPU: the operator may write to it again when it is called again
    return item.to("cpu", copy=True).resolve_conj().resolve_neg()


def mismatch(
    expected: Sequence[Any],
    got: Sequence[Any],
    dtypes: Sequence[torch.dtype | None],
    tolerance: Tolerance,
    values: Callable[[torch.Tensor, torch.Tensor, Tolerance], str] | None = None,
) -> str:
    """Why `got` is wrong, "" if it is right. `dtypes` has the dtype that each leaf must have, None
    where the rule of `_dtype_fits` decides. `values` judges a pair of tensors of equal shape."""
    if len(expected) != len(got):
        return f"{len(got)} results, expected {len(expected)}"
    for index, (want, have, dtype) in enumerate(zip(expected, got, dtypes, strict=True)):
        reason = _leaf(want, have, dtype, tolerance, values or _values)
        if reason:
            return f"result {index}: {reason}" if len(expected) > 1 else reason
    return ""


def _leaf(
    want: Any,
    have: Any,
    dtype: torch.dtype | None,
    tolerance: Tolerance,
    values: Callable[[torch.Tensor, torch.Tensor, Tolerance], str],
) -> str:
    if not isinstance(want, torch.Tensor) or not isinstance(have, torch.Tensor):
        if isinstance(want, (float, complex)) and isinstance(have, (int, float, complex)):
            return values(torch.tensor(want), torch.tensor(have), tolerance)
        if isinstance(want, torch.dtype) and isinstance(have, torch.dtype):
            return ""
        return "" if want == have else f"{have!r}, expected {want!r}"
    if have.shape != want.shape:
        return f"shape {tuple(have.shape)}, expected {tuple(want.shape)}"
    if dtype is not None and have.dtype != dtype:
        return f"dtype {dtype_name(have.dtype)}, expected {dtype_name(dtype)}"
    if higher(have.dtype) != higher(want.dtype):
        return f"dtype {dtype_name(have.dtype)}, expected {dtype_name(want.dtype)} or its like"
    return values(want, have, tolerance)


def _values(want: torch.Tensor, have: torch.Tensor, tolerance: Tolerance) -> str:
    if want.numel() == 0:
        return ""
    if not (have.is_floating_point() or have.is_complex()):
        tolerance = Tolerance()
    if not (tolerance.rtol or tolerance.atol):
        wrong = _as_signed(want) != _as_signed(have)
    else:
        dtype = higher(have.dtype)
        # the oracle's value as the result's dtype can hold it: what overflows there is infinite
        want = want.to(have.dtype).to(dtype)
        have = have.to(dtype)
        size = want.abs()
        largest = float(size[size.isfinite()].max()) if size.isfinite().any() else 0.0
        atol = tolerance.atol + tolerance.scale * largest
        close = torch.isclose(have, want, tolerance.rtol, atol, equal_nan=True)
        wrong = close.logical_not()
    count = int(wrong.sum())
    return "" if not count else _describe(want, have, wrong, count)


def _as_signed(item: torch.Tensor) -> torch.Tensor:
    # unsigned types beyond uint8 have few operators; equal bits are equal values
    signed = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
    return item.view(signed[item.dtype]) if item.dtype in signed else item


def _describe(want: torch.Tensor, have: torch.Tensor, wrong: torch.Tensor, count: int) -> str:
    flat = wrong.reshape(-1)
    error = torch.zeros(flat.shape, dtype=torch.float64)
    if have.is_floating_point() or have.is_complex():
        error = (have.reshape(-1) - want.reshape(-1)).abs().to(torch.float64)
        error = torch.where(flat, torch.nan_to_num(error, nan=math.inf), -1.0)
        worst = int(error.argmax())
    else:
        worst = int(flat.to(torch.uint8).argmax())
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), tuple(have.shape)))
    got, expected = have.reshape(-1)[worst].item(), want.reshape(-1)[worst].item()
    at = f" at {place}" if place else ""
    return f"{count} of {wrong.numel()} values differ, worst{at}: {got}, expected {expected}"
