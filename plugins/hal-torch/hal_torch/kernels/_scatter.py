"""Operators that write elements into a copy of a tensor, by index."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._moving import CARRIERS, Run, moving

__all__ = ["table"]

table = KernelTable()

Tensor = torch.Tensor

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@moving(table, "Scatter", 9, arrays=(0, 2), attributes=("axis",))
@moving(table, "ScatterElements", 11, 13, arrays=(0, 2), attributes=("axis",))
def scatter_elements(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        return x.scatter(axis, _wrapped(indices, x.shape[axis]), updates)

    return run


@table.specialized("ScatterElements", 16, 18, attributes=("axis", "reduction"))
def scatter_elements_reduced(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]
    reduce = _reduction(node)

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        return reduce(x, axis, _wrapped(indices, x.shape[axis]), updates)

    return run


@table.specialized("ScatterND", 16, 18, attributes=("reduction",))
def scatter_nd_reduced(node: NodeInfo) -> Run:
    reduce = _reduction(node)

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        depth = indices.shape[-1]
        outer, inner = x.shape[:depth], math.prod(x.shape[depth:])
        place = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
        for size, at in zip(outer, indices.unbind(-1), strict=True):
            place = place * size + _wrapped(at, size)
        rows = place.reshape(-1, 1).expand(-1, inner)
        flat = x.reshape(math.prod(outer), inner)
        return reduce(flat, 0, rows, updates.reshape(-1, inner)).reshape(x.shape)

    return run


def _plain(node: NodeInfo) -> None:
    if node.attributes.get("reduction", "none") != "none":
        raise UnsupportedError("this row does not reduce")


@moving(table, "ScatterElements", 16, 18, arrays=(0, 2), attributes=("axis", "reduction"))
def scatter_elements_16(node: NodeInfo) -> Run:
    _plain(node)
    return scatter_elements(node)


@moving(table, "ScatterND", 11, 13, 16, 18, arrays=(0, 2), attributes=("reduction",))
def scatter_nd(node: NodeInfo) -> Run:
    _plain(node)
    return lambda x, indices, updates: x.index_put(indices.unbind(-1), updates)


def _wrapped(indices: Tensor, size: int) -> Tensor:
    at = indices.long()
    return torch.where(at < 0, at + size, at)


_Reduce = Callable[[Tensor, int, Tensor, Tensor], Tensor]


def _reduction(node: NodeInfo) -> _Reduce:
    """How updates come together with what stands at their place, for the node's element type.

    Raises UnsupportedError without a reduction: those rows come next.
    """
    name = node.attributes["reduction"]
    if name == "none":
        raise UnsupportedError("no reduction")
    if name not in REDUCTIONS:
        raise UnsupportedError(f"{node.label} has no reduction {name!r}")
    if node.input_types[0] == "tensor(string)":
        raise UnsupportedError(f"strings have no reduction {name!r}")
    reduce = REDUCTIONS[name]
    dtype = dtype_of(node.input_types[0])
    if dtype.is_complex and name in ("max", "min"):
        raise UnsupportedError(f"complex numbers have no reduction {name!r}")
    if dtype == torch.bool:  # or, and
        over = "amax" if name in ("add", "max") else "amin"
        return lambda x, axis, at, u: (
            x.byte().scatter_reduce(axis, at, u.byte(), over, include_self=True).bool()
        )
    carrier = CARRIERS.get(dtype)
    if carrier is None:
        return lambda x, axis, at, u: x.scatter_reduce(axis, at, u, reduce, include_self=True)
    # sums and products modulo 2^n are those of the signed integer of the same bits; with the
    # highest bit turned its order is the unsigned one
    turn = torch.iinfo(carrier).min if name in ("max", "min") else 0

    def unsigned(x: Tensor, axis: int, at: Tensor, u: Tensor) -> Tensor:
        own, new = x.view(carrier), u.view(carrier)
        if turn:
            own, new = own ^ turn, new ^ turn
        found = own.scatter_reduce(axis, at, new, reduce, include_self=True)
        return (found ^ turn if turn else found).view(dtype)

    return unsigned


@moving(table, "TensorScatter", 24, arrays=(0, 1), attributes=("axis", "mode"))
def tensor_scatter(node: NodeInfo) -> Run:
    axis, mode = node.attributes["axis"], node.attributes["mode"]
    if mode not in ("linear", "circular"):
        raise UnsupportedError(f"{node.label} has no mode {mode!r}")

    def run(cache: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
        length, longest = update.shape[axis], cache.shape[axis]
        steps = torch.arange(length, device=cache.device)
        at = steps if starts is None else starts.reshape(-1, 1) + steps
        if mode == "circular":
            at = at % longest
        along = [1] * cache.ndim
        along[axis] = length
        if starts is not None:
            along[0] = cache.shape[0]
        return cache.scatter(axis, at.reshape(along).expand(update.shape), update)

    return run
