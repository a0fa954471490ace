"""TopK and Unique."""

from __future__ import annotations

from typing import Any

import torch

from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._moving import Run, integers, moving

__all__ = ["table"]

table = KernelTable()

Tensor = torch.Tensor

WIDE = 2048
"""From this length of the axis on the few are picked by one key: a stable sort of 50,000 takes 3 ms
on an x86 core, one of 1,000 takes 13 µs."""

SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def _ordered(x: Tensor) -> Tensor:
    """Values that sort as those of x do, of a dtype that PyTorch sorts everywhere."""
    if x.dtype in SIGNED:  # with the highest bit turned, the signed order is the unsigned one
        signed = SIGNED[x.dtype]
        return x.view(signed) ^ torch.iinfo(signed).min
    return x.byte() if x.dtype == torch.bool else x


def _whole(x: Tensor) -> Tensor:
    """Integers in the order of a float16, bfloat16, float32 or float64 tensor's values: equal for
    both zeros and for all NaNs, which stand above infinity."""
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    bits = torch.int64 if x.dtype == torch.float64 else torch.int32
    most = torch.iinfo(bits).max
    found = (x + 0.0).view(bits)  # -0.0 + 0.0 is 0.0
    found = torch.where(found < 0, found ^ most, found)
    return torch.where(x.isnan(), most, found)


@table.kernel("TopK", 1)
def top_k_1(x: Tensor, *, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    return _top(x, k, axis, True)


@table.kernel("TopK", 10, host=(1,))
@table.kernel("TopK", 11, 24, host=(1,))
def top_k(
    x: Tensor, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    return _top(x, integers(k)[0], axis, bool(largest))


def _top(x: Tensor, k: int, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    size = x.shape[axis]
    if not 0 <= k <= size:
        raise ValueError(f"k is {k}, but the axis has {size} elements")
    if k == size or size < WIDE or x.dtype in (torch.float64, torch.int64, torch.uint64):
        order = _ordered(x).sort(dim=axis, descending=largest, stable=True)
        at = order.indices.narrow(axis, 0, k)
        return (
            order.values.narrow(axis, 0, k)
            if x.dtype == order.values.dtype
            else _taken(x, axis, at)
        ), at
    key = (_whole(x) if x.is_floating_point() else _ordered(x)).long() << 32
    along = [1] * x.ndim
    along[axis] = size
    place = torch.arange(size, device=x.device).reshape(along)
    key = key + (size - 1 - place if largest else place)  # equal values: the lower index first
    top = key.topk(k, axis, largest).values & 0xFFFFFFFF
    at = size - 1 - top if largest else top
    return _taken(x, axis, at), at


def _taken(x: Tensor, axis: int, at: Tensor) -> Tensor:
    carrier = SIGNED.get(x.dtype)
    return x.gather(axis, at) if carrier is None else x.view(carrier).gather(axis, at).view(x.dtype)


def _unique_rows(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(first, inverse, counts) of the different rows of a matrix, in ascending order."""
    rows = x.shape[0]
    if not x.numel():  # rows of no element are all the same
        found = min(rows, 1)
        zeros = x.new_zeros(rows, dtype=torch.int64)
        return zeros[:found], zeros, torch.full_like(zeros[:found], rows)
    if x.shape[1] == 1:
        y, inverse, counts = torch.unique(x[:, 0], return_inverse=True, return_counts=True)
    else:
        y, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True, dim=0)
    places = torch.arange(rows, device=x.device)
    first = places.new_full((y.shape[0],), rows).scatter_reduce(0, inverse, places, "amin")
    return first, inverse, counts


@moving(table, "Unique", 11, 28, attributes=("axis", "sorted"), ranked=True)
def unique(node: NodeInfo) -> Run:
    axis = node.attributes.get("axis")
    ascending = bool(node.attributes["sorted"])
    dtype = dtype_of(node.input_types[0]) if node.input_types[0] else None

    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own = x if dtype in (None, x.dtype) else x.view(dtype)  # its carrier sorts otherwise
        moved = x.reshape(-1) if axis is None else x.movedim(axis, 0)
        keys = own.reshape(-1) if axis is None else own.movedim(axis, 0)
        first, inverse, counts = _unique_rows(_keys(keys))
        if not ascending:
            order = first.argsort()
            place = torch.empty_like(order)
            place[order] = torch.arange(order.shape[0], device=x.device)
            first, counts, inverse = first[order], counts[order], place[inverse]
        y = moved.index_select(0, first)
        return (y if axis is None else y.movedim(0, axis)), first, inverse, counts

    return run


def _keys(x: Tensor) -> Tensor:
    """A row of real numbers for each element along the first axis, equal and ordered as it is."""
    if x.is_complex():  # by the real part, then by the imaginary one
        return _whole(torch.view_as_real(x)).reshape(x.shape[0], -1)
    found = _whole(x) if x.is_floating_point() else _ordered(x)
    return found.reshape(x.shape[0], -1) if x.numel() else found.new_zeros(x.shape[0], 0)
