"""Reductions over axes, and the positions of extremes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._integers import SIGNED, from_ordered, ordered, widest_float

__all__ = ["table"]

Tensor = torch.Tensor
Dims = tuple[int, ...]
Reduce = Callable[[Tensor, Dims, bool], Tensor]
Each = Callable[[Tensor], Tensor]

table = KernelTable()

_HALF = (torch.float16, torch.bfloat16)


@dataclasses.dataclass(frozen=True)
class _Reduction:
    """An operator: what it does over axes, and what is left of it over none of them."""

    op_type: str
    by_attribute: tuple[int, ...]
    """The versions that take the axes as an attribute."""
    by_input: tuple[int, ...]
    reduce: Reduce
    each: Each


def _integer_sum(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    """Modulo 2^64, which is right modulo any narrower width too."""
    bits = x.view(torch.int64) if x.dtype == torch.uint64 else x.to(torch.int64)
    return torch.sum(bits, dims, keep)


def _of_integers(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.view(torch.uint64) if dtype == torch.uint64 else x.to(dtype)


def _sum(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return torch.sum(x, dims, keep)
    return _of_integers(_integer_sum(x, dims, keep), x.dtype)


def _mean(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    """Of integers: the truncated quotient of the exact sum; of nothing 0, as it is undefined."""
    if x.dtype.is_floating_point:
        return torch.mean(x, dims, keep)
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    total = _integer_sum(x, dims, keep)
    if x.dtype == torch.uint64:
        wide = total.view(torch.uint64).to(widest_float(x.device)) / max(count, 1)
        return wide.to(torch.uint64)
    return torch.div(total, max(count, 1), rounding_mode="trunc").to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """Where a result is rounded once: float32 for half precision, the widest for integers."""
    if x.dtype in _HALF:
        return x.to(torch.float32)
    return x if x.dtype.is_floating_point else x.to(widest_float(x.device))


def _in_wide(function: Reduce) -> Reduce:
    def run(x: Tensor, dims: Dims, keep: bool) -> Tensor:
        return function(_wide(x), dims, keep).to(x.dtype)

    return run


def _each_in_wide(function: Each) -> Each:
    return lambda x: function(_wide(x)).to(x.dtype)


def _absolute(x: Tensor) -> Tensor:
    return x if x.dtype in SIGNED else x.abs()


def _square(x: Tensor) -> Tensor:
    signed = SIGNED.get(x.dtype)
    return torch.square(x) if signed is None else torch.square(x.view(signed)).view(x.dtype)


def _sum_square(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    if x.dtype in _HALF:
        return torch.sum(torch.square(x.to(torch.float32)), dims, keep).to(x.dtype)
    if x.dtype.is_floating_point:
        return torch.sum(torch.square(x), dims, keep)
    bits = x.view(torch.int64) if x.dtype == torch.uint64 else x.to(torch.int64)
    return _of_integers(torch.sum(torch.square(bits), dims, keep), x.dtype)


def _norm(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    return torch.sqrt(torch.sum(torch.square(x), dims, keep))


def _log_sum(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    return torch.log(torch.sum(x, dims, keep))


def _product(x: Tensor, dims: Dims, keep: bool) -> Tensor:
    """torch multiplies along one axis: those to reduce are made one, at the end."""
    rank = x.dim()
    at = sorted(dim % rank for dim in dims) if rank else []
    bits = x.view(SIGNED[x.dtype]) if x.dtype in SIGNED else x
    kept = [dim for dim in range(rank) if dim not in at]
    flat = bits.permute(*kept, *at).reshape(
        [x.shape[dim] for dim in kept] + [-1 if x.numel() else 0]
    )
    if not x.numel():
        count = 1
        for dim in at:
            count *= x.shape[dim]
        flat = bits.permute(*kept, *at).reshape([x.shape[dim] for dim in kept] + [count])
    dtype = torch.float32 if x.dtype in _HALF else bits.dtype
    found = torch.prod(flat, -1, dtype=dtype)
    if keep:
        found = found.reshape([1 if dim in at else x.shape[dim] for dim in range(rank)])
    return found.view(x.dtype) if x.dtype in SIGNED else found.to(x.dtype)


def _extreme(function: Callable[..., Tensor], sign: int) -> Reduce:
    def run(x: Tensor, dims: Dims, keep: bool) -> Tensor:
        if not x.numel():
            return _of_nothing(x, dims, keep, sign)
        return from_ordered(function(ordered(x), dims, keep), x.dtype)

    return run


def _of_nothing(x: Tensor, dims: Dims, keep: bool, sign: int) -> Tensor:
    """The least value of the type for a maximum, the largest for a minimum."""
    at = {dim % x.dim() for dim in dims}
    shape = [1 if d in at else n for d, n in enumerate(x.shape) if keep or d not in at]
    if x.dtype == torch.bool:
        value: float = sign < 0
    elif x.dtype.is_floating_point:
        value = -sign * float("inf")
    else:
        limits = torch.iinfo(x.dtype)
        value = limits.min if sign > 0 else limits.max
    return torch.full(shape, value, dtype=x.dtype, device=x.device)


_REDUCTIONS = (
    _Reduction("ReduceSum", (1, 11), (13,), _sum, lambda x: x),
    _Reduction("ReduceMean", (1, 11, 13), (18,), _mean, lambda x: x),
    _Reduction("ReduceMax", (1, 11, 12, 13), (18, 20), _extreme(torch.amax, 1), lambda x: x),
    _Reduction("ReduceMin", (1, 11, 12, 13), (18, 20), _extreme(torch.amin, -1), lambda x: x),
    _Reduction("ReduceProd", (1, 11, 13), (18,), _product, lambda x: x),
    _Reduction("ReduceL1", (1, 11, 13), (18,), lambda x, d, k: _sum(_absolute(x), d, k), _absolute),
    _Reduction("ReduceL2", (1, 11, 13), (18,), _in_wide(_norm), _absolute),
    _Reduction("ReduceSumSquare", (1, 11, 13), (18,), _sum_square, _square),
    _Reduction("ReduceLogSum", (1, 11, 13), (18, 28), _in_wide(_log_sum), _each_in_wide(torch.log)),
    _Reduction("ReduceLogSumExp", (1, 11, 13), (18, 28), _in_wide(torch.logsumexp), lambda x: x),
)

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "ReduceSum": torch.sum,
    "ReduceMean": torch.mean,
}
"""The torch function that does it alone where the axes are known and the type is a float's."""
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")


def _applied(operator: _Reduction, x: Tensor, dims: Dims, keep: bool, noop: bool) -> Tensor:
    if not dims:
        if noop or not x.dim():
            return operator.each(x)
        dims = tuple(range(x.dim()))
    return operator.reduce(x, dims, keep)


def _known(operator: _Reduction, node: NodeInfo, axes: Dims, keep: bool, noop: bool) -> Any:
    """The kernel for axes that are known at compile."""
    plain = _PLAIN.get(operator.op_type)
    if axes and plain is not None and node.input_types[0] in _FLOATS:
        # For a tensor of rank 0 these give the tensor itself, as they should.
        return lambda x, *_: plain(x, axes, keep)
    return lambda x, *_: _applied(operator, x, axes, keep, noop)


def _register(operator: _Reduction) -> None:
    def by_attribute(node: NodeInfo) -> Any:
        widest_float(node.arrays.device)  # so that the kernels find it known
        axes = tuple(node.attributes.get("axes") or ())
        return _known(operator, node, axes, bool(node.attributes["keepdims"]), False)

    def by_input(node: NodeInfo) -> Any:
        widest_float(node.arrays.device)
        keep = bool(node.attributes["keepdims"])
        noop = bool(node.attributes["noop_with_empty_axes"])
        given = node.input_types[1:2] not in ((), ("",)) or len(node.constants) > 1
        if len(node.constants) > 1 and node.constants[1] is not None:
            return _known(operator, node, tuple(node.constants[1].tolist()), keep, noop)
        if not given:
            return _known(operator, node, (), keep, noop)

        def run(x: Tensor, axes: Any = None) -> Tensor:
            dims = () if axes is None else tuple(axes.tolist())
            return _applied(operator, x, dims, keep, noop)

        return run

    table.specialized(operator.op_type, *operator.by_attribute, attributes=("axes", "keepdims"))(
        by_attribute
    )
    table.specialized(
        operator.op_type,
        *operator.by_input,
        attributes=("keepdims", "noop_with_empty_axes"),
        host=(1,),
    )(by_input)


for _operator in _REDUCTIONS:
    _register(_operator)


def _position(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        x = ordered(x)
        if not x.dim():
            return function(x)
        if not select_last_index:
            return function(x, axis, bool(keepdims))
        return x.shape[axis] - 1 - function(x.flip(axis), axis, bool(keepdims))

    return run


table.kernel("ArgMax", 1, 11, 12, 13)(_position(torch.argmax))
table.kernel("ArgMin", 1, 11, 12, 13)(_position(torch.argmin))
