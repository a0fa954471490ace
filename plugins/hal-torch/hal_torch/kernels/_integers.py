"""Exact integer arithmetic where torch has the dtype, but not the kernels.

torch stores uint16, uint32 and uint64 and computes little in them. In two's complement sums,
products and bit operations of an unsigned type are those of the signed type of that width, so they
are computed over a view, without a copy. Order is kept when the highest bit is flipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from hal.kernels import NodeInfo

__all__ = [
    "SIGNED",
    "always",
    "by_type",
    "divide",
    "from_ordered",
    "modular",
    "ordered",
    "remainder",
    "signed_view",
    "widest_float",
]

Tensor = torch.Tensor
Function = Callable[..., Any]

SIGNED: dict[torch.dtype, torch.dtype] = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}
"""The dtype of the same width in which torch computes."""

_STORED_ONLY = frozenset({"tensor(uint16)", "tensor(uint32)", "tensor(uint64)", ""})


def always(function: Function) -> Callable[[NodeInfo], Function]:
    """A specialized kernel that is this function for every node."""

    def specialized(node: NodeInfo) -> Function:
        return function

    return specialized


def by_type(plain: Function, unsigned: Function, *, of: int = 0) -> Callable[[NodeInfo], Function]:
    """A specialized kernel: `plain` for the types that torch computes in, else `unsigned`, which
    looks at the dtype itself. `of` is the input that decides."""

    def specialized(node: NodeInfo) -> Function:
        return unsigned if node.input_types[of] in _STORED_ONLY else plain

    return specialized


def signed_view(x: Tensor) -> Tensor:
    """The bits of an unsigned tensor as signed integers; any other tensor as it is."""
    signed = SIGNED.get(x.dtype)
    return x if signed is None else x.view(signed)


def modular(function: Function) -> Function:
    """The function over unsigned tensors by way of the signed type: right for whatever is the same
    in two's complement (sum, difference, product, bits, equality of shape and of values)."""

    def run(*tensors: Tensor) -> Tensor:
        dtype = tensors[0].dtype
        signed = SIGNED.get(dtype)
        if signed is None:
            found: Tensor = function(*tensors)
            return found
        found = function(*[x.view(signed) for x in tensors])
        return found.view(dtype)

    return run


def ordered(x: Tensor) -> Tensor:
    """Unsigned integers as signed ones in the same order; any other tensor as it is."""
    signed = SIGNED.get(x.dtype)
    return x if signed is None else x.view(signed) ^ torch.iinfo(signed).min


def from_ordered(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `ordered`."""
    signed = SIGNED.get(dtype)
    return x if signed is None else (x ^ torch.iinfo(signed).min).view(dtype)


@functools.cache
def _widest_float(device_type: str) -> torch.dtype:
    try:
        torch.zeros(1, dtype=torch.float64, device=device_type)
    except (TypeError, RuntimeError):  # what torch raises for a dtype that a device lacks
        return torch.float32
    return torch.float64


def widest_float(device: torch.device) -> torch.dtype:
    """float64 where the device computes in it, else float32.

    To be asked when a node is compiled: under a trace, tensors that have no values have any dtype.
    """
    return _widest_float(device.type)


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Integer quotients, truncated toward zero, of any integer dtype.

    Division by zero gives 0 and the least value by -1 itself (modulo 2^n): torch raises for the one
    and dies of a signal for the other on the CPU.
    """
    if a.dtype == torch.uint64:
        return _divide_unsigned(a.view(torch.int64), b.view(torch.int64))[0].view(torch.uint64)
    if a.dtype in SIGNED:
        return _quotient(a.to(torch.int64), b.to(torch.int64)).to(a.dtype)
    return _quotient(a, b)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    zero = b == 0
    if not b.dtype.is_signed:
        return torch.div(a, b.masked_fill(zero, 1), rounding_mode="trunc").masked_fill(zero, 0)
    minus = b == -1
    found = torch.div(a, b.masked_fill(zero | minus, 1), rounding_mode="trunc")
    return torch.where(minus, -a, found).masked_fill(zero, 0)


def remainder(a: Tensor, b: Tensor, *, truncated: bool) -> Tensor:
    """Integer remainders with the sign of `b` (of `a` when truncated); 0 for a divisor of 0."""
    if a.dtype == torch.uint64:
        return _divide_unsigned(a.view(torch.int64), b.view(torch.int64))[1].view(torch.uint64)
    dtype = a.dtype
    if dtype in SIGNED:
        a, b = a.to(torch.int64), b.to(torch.int64)
    zero = b == 0
    function = torch.fmod if truncated else torch.remainder
    return function(a, b.masked_fill(zero, 1)).masked_fill(zero, 0).to(dtype)


def _divide_unsigned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of 64-bit unsigned integers in the bits of signed ones.

    Halving the dividend makes it positive, and leaves the quotient short by one at most (Warren,
    Hacker's Delight, section 9-3); a divisor of 2^63 and more goes into anything at most once.
    """
    zero = b == 0
    big = b < 0
    least = torch.iinfo(torch.int64).min
    half = (a >> 1) & torch.iinfo(torch.int64).max
    quotient = torch.div(half, b.masked_fill(zero | big, 1), rounding_mode="trunc") << 1
    quotient = quotient.masked_fill(big, 0)
    rest = a - quotient * b
    more = (rest ^ least) >= (b ^ least)
    quotient = (quotient + more.to(torch.int64)).masked_fill(zero, 0)
    return quotient, (a - quotient * b).masked_fill(zero, 0)
