"""Operators that pick elements by index or by condition."""

from __future__ import annotations

from typing import Any

import torch

from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels import _scatter, _sorting
from hal_torch.kernels._moving import Run, integers, moving

__all__ = ["table"]

table = KernelTable()
table.update(_scatter.table)
table.update(_sorting.table)

Tensor = torch.Tensor


@moving(table, "Gather", 1, 11, 13, attributes=("axis",))
def gather(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]

    def run(x: Tensor, indices: Tensor) -> Tensor:
        dim = axis + x.ndim if axis < 0 else axis
        if not x.is_cpu:  # one kernel, which takes negative indices too
            return x[(slice(None),) * dim + (indices.long(),)]
        flat = indices.reshape(-1)
        flat = torch.where(flat < 0, flat + x.shape[dim], flat)
        return _selected(x, dim, flat, tuple(indices.shape))

    if node.constants[1] is None:
        return run
    values = node.constants[1].cpu()
    if not values.ndim:
        at = int(values)
        return lambda x, _: x.select(axis, at)
    if values.numel() and int(values.min()) < 0:
        return run
    flat, shape = node.constants[1].reshape(-1), tuple(values.shape)
    return lambda x, _: _selected(x, axis + x.ndim if axis < 0 else axis, flat, shape)


def _selected(x: Tensor, dim: int, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    found = x.index_select(dim, flat)
    if len(shape) == 1:
        return found
    return found.reshape((*x.shape[:dim], *shape, *x.shape[dim + 1 :]))


@moving(table, "GatherElements", 11, 13, attributes=("axis",))
def gather_elements(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]

    def run(x: Tensor, indices: Tensor) -> Tensor:
        at = indices.long()
        return x.gather(axis, torch.where(at < 0, at + x.shape[axis], at))

    return run


@moving(table, "GatherND", 11, 12, 13, attributes=("batch_dims",))
def gather_nd(node: NodeInfo) -> Run:
    batch = node.attributes.get("batch_dims", 0)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        index: list[Tensor] = []
        for axis in range(batch):  # each batch picks from its own part
            along = [1] * (indices.ndim - 1)
            along[axis] = x.shape[axis]
            index.append(torch.arange(x.shape[axis], device=x.device).reshape(along))
        index.extend(indices.unbind(-1))
        return x[tuple(index)]

    return run


@moving(table, "NonZero", 9, 13, ranked=True)
def non_zero(node: NodeInfo) -> Run:
    return lambda x: x.nonzero().t()


@moving(table, "Compress", 9, 11, 28, attributes=("axis",))
def compress(node: NodeInfo) -> Run:
    given = node.attributes.get("axis")

    def run(x: Tensor, condition: Tensor) -> Tensor:
        axis = given
        if axis is None:
            x, axis = x.reshape(-1), 0
        kept = condition.reshape(-1)[: x.shape[axis]].nonzero().reshape(-1)
        return x.index_select(axis, kept)

    return run


@moving(table, "OneHot", 9, 11, 28, arrays=(2,), host=(1,), attributes=("axis",), constraint="T3")
def one_hot(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]
    wraps = node.version >= 11

    def run(indices: Tensor, depth: Any, values: Tensor) -> Tensor:
        classes = int(integers(depth)[0])
        at = indices.long()
        if wraps:
            at = torch.where(at < 0, at + classes, at)
        dim = axis + indices.ndim + 1 if axis < 0 else axis
        along = [1] * (indices.ndim + 1)
        along[dim] = classes
        hot = at.unsqueeze(dim) == torch.arange(classes, device=indices.device).reshape(along)
        return torch.where(hot, values[1], values[0])

    return run
