"""Operators that change a tensor's shape and the order of its elements, not their values."""

from __future__ import annotations

import math
from typing import Any

import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels import _slicing
from hal_torch.kernels._moving import Host, Run, integers, moving

__all__ = ["table"]

table = KernelTable()
table.update(_slicing.table)

Tensor = torch.Tensor


@table.specialized("Reshape", 1, attributes=("shape", "consumed_inputs"))
def reshape_by_attribute(node: NodeInfo) -> Run:
    wanted = integers(node.attributes.get("shape", ()))
    return lambda x: x.reshape(_target(tuple(x.shape), wanted, False))


@moving(table, "Reshape", 5, 13, 14, 19, 21, 23, 24, 25, host=(1,), attributes=("allowzero",))
def reshape(node: NodeInfo) -> Run:
    as_written = bool(node.attributes.get("allowzero", 0))

    def run(x: Tensor, shape: Host) -> Tensor:
        return x.reshape(_target(tuple(x.shape), integers(shape), as_written))

    constant = node.constants[1]
    if constant is None:
        return run
    sizes = integers(constant)
    copied = [] if as_written else [i for i, size in enumerate(sizes) if size == 0]
    if 0 not in sizes or (as_written and -1 not in sizes):
        return lambda x, shape: x.reshape(sizes)

    def copying(x: Tensor, shape: Host) -> Tensor:
        if as_written or not x.numel() or copied[-1] >= x.ndim:
            return run(x, shape)
        target = list(sizes)
        for i in copied:
            target[i] = x.shape[i]
        return x.reshape(target)

    return copying


def _target(old: tuple[int, ...], sizes: tuple[int, ...], as_written: bool) -> list[int]:
    """The new shape: 0 copies the old size, -1 is what is left. Sizes that are copied cancel, so
    that -1 is known beside a copied 0."""
    if not as_written and any(size == 0 and i >= len(old) for i, size in enumerate(sizes)):
        raise ValueError(f"shape {sizes} copies a dimension that {old} does not have")
    copied = {i for i, size in enumerate(sizes) if size == 0 and not as_written}
    target = [old[i] if i in copied else size for i, size in enumerate(sizes)]
    if -1 in target:
        left = math.prod(d for i, d in enumerate(old) if i not in copied)
        taken = math.prod(size for size in sizes if size > 0)
        if as_written and 0 in sizes:
            raise ValueError(f"shape {sizes} has both 0 and -1")
        if left % taken:
            raise ValueError(f"{old} cannot be reshaped to {sizes}")
        target[target.index(-1)] = left // taken
    return target


@moving(table, "Flatten", 1, 9, 11, 13, 21, 23, 24, 25, attributes=("axis",))
def flatten(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]

    def run(x: Tensor) -> Tensor:
        at = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:]))

    return run


@moving(table, "Squeeze", 1, 11, attributes=("axes",))
@moving(table, "Squeeze", 13, 21, 23, 24, 25, host=(1,))
def squeeze(node: NodeInfo) -> Run:
    def run(x: Tensor, axes: Any = None) -> Tensor:
        if axes is None:
            return x.squeeze()
        found = integers(axes)
        for axis in found:
            if x.shape[axis] != 1:
                raise ValueError(f"axis {axis} of {tuple(x.shape)} cannot be squeezed")
        return x.squeeze(found)

    if node.version < 13:
        given = node.attributes.get("axes")
        return lambda x: run(x, given)
    constant = node.constants[1] if len(node.constants) > 1 else None
    if constant is None:
        return run
    one = integers(constant)
    return lambda x, axes: run(x, one)


@moving(table, "Unsqueeze", 1, 11, attributes=("axes",))
@moving(table, "Unsqueeze", 13, 21, 23, 24, 25, host=(1,))
def unsqueeze(node: NodeInfo) -> Run:
    def run(x: Tensor, axes: Any) -> Tensor:
        found = integers(axes)
        rank = x.ndim + len(found)
        if any(not -rank <= axis < rank for axis in found):
            raise ValueError(f"axes {found} are out of the range of rank {rank}")
        ordered = sorted(axis % rank for axis in found)
        if len(set(ordered)) < len(ordered):
            raise ValueError(f"axes {found} name an axis twice")
        for axis in ordered:
            x = x.unsqueeze(axis)
        return x

    if node.version < 13:
        given = node.attributes["axes"]
        return lambda x: run(x, given)
    constant = node.constants[1]
    if constant is None:
        return run
    axes = integers(constant)
    if len(axes) == 1:
        axis = axes[0]
        return lambda x, _: x.unsqueeze(axis)
    return lambda x, _: run(x, axes)


@moving(table, "Transpose", 1, 13, 21, 23, 24, 25, attributes=("perm",))
def transpose(node: NodeInfo) -> Run:
    perm = node.attributes.get("perm")
    if perm is None:
        return lambda x: x.permute(tuple(range(x.ndim - 1, -1, -1)))
    order = tuple(perm)
    return lambda x: x.permute(order)


@moving(table, "Concat", 1, 4, 11, 13, arrays=None, attributes=("axis",))
def concat(node: NodeInfo) -> Run:
    axis = node.attributes.get("axis", 1)  # the first version's default, which its schema lacks
    return lambda *xs: torch.cat(xs, axis)


@moving(table, "Split", 2, 11, attributes=("axis", "split"))
@moving(table, "Split", 13, host=(1,), attributes=("axis",))
@moving(table, "Split", 18, host=(1,), attributes=("axis", "num_outputs"))
def split(node: NodeInfo) -> Run:
    axis = node.attributes["axis"]
    given = node.attributes.get("split")
    parts = node.attributes.get("num_outputs") or len(node.output_types)

    def run(x: Tensor, sizes: Any = None) -> tuple[Tensor, ...]:
        total = x.shape[axis]
        if sizes is None:
            sizes = given
        if sizes is not None:
            lengths = integers(sizes)
        else:
            most = -(-total // parts)
            lengths = tuple(max(0, min(most, total - i * most)) for i in range(parts))
        if sum(lengths) != total or min(lengths) < 0:
            raise ValueError(f"split {lengths} is no split of {total}")
        return torch.split(x, list(lengths), axis)

    return run


@moving(table, "Tile", 6, 13, host=(1,))
def tile(node: NodeInfo) -> Run:
    def run(x: Tensor, repeats: Host) -> Tensor:
        times = integers(repeats)
        if len(times) != x.ndim:
            raise ValueError(f"{len(times)} repeats for {x.ndim} dimensions")
        return x.repeat(times)

    return run


@moving(table, "Expand", 8, 13, host=(1,))
def expand(node: NodeInfo) -> Run:
    def run(x: Tensor, shape: Host) -> Tensor:
        return x.expand(_broadcast(tuple(x.shape), integers(shape)))

    return run


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> list[int]:
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    found = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise ValueError(f"{one} does not broadcast with {other}")
        found.append(b if a == 1 else a)
    return found


@moving(table, "DepthToSpace", 1, 11, 13, 28, attributes=("blocksize", "mode"))
def depth_to_space(node: NodeInfo) -> Run:
    size = node.attributes["blocksize"]
    columns_first = _columns_first(node)

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        depth = c // (size * size)
        if columns_first:
            moved = x.reshape(n, depth, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
        else:
            moved = x.reshape(n, size, size, depth, h, w).permute(0, 3, 4, 1, 5, 2)
        return moved.reshape(n, depth, h * size, w * size)

    return run


@moving(table, "SpaceToDepth", 1, 13, 28, attributes=("blocksize", "mode"))
def space_to_depth(node: NodeInfo) -> Run:
    size = node.attributes["blocksize"]
    order = (0, 1, 3, 5, 2, 4) if _columns_first(node) else (0, 3, 5, 1, 2, 4)

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows, columns = h // size, w // size
        moved = x.reshape(n, c, rows, size, columns, size).permute(order)
        return moved.reshape(n, c * size * size, rows, columns)

    return run


def _columns_first(node: NodeInfo) -> bool:
    mode = node.attributes.get("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"{node.label} has no mode {mode!r}")
    return bool(mode == "CRD")


@moving(table, "Trilu", 14, host=(1,), attributes=("upper",))
def trilu(node: NodeInfo) -> Run:
    part = torch.triu if node.attributes["upper"] else torch.tril

    def run(x: Tensor, k: Host | None = None) -> Tensor:
        # torch counts diagonals in int32 on some devices; beyond the edge all are alike
        most = max(x.shape[-2:], default=0) + 1
        diagonal = 0 if k is None else max(-most, min(most, integers(k)[0]))
        return part(x, diagonal)

    return run


@moving(table, "ReverseSequence", 10, 28, attributes=("batch_axis", "time_axis"))
def reverse_sequence(node: NodeInfo) -> Run:
    batch_axis = node.attributes["batch_axis"]
    time_axis = node.attributes["time_axis"]

    def run(x: Tensor, lengths: Tensor) -> Tensor:
        along = [1] * x.ndim
        along[time_axis] = x.shape[time_axis]
        steps = torch.arange(x.shape[time_axis], device=x.device).reshape(along)
        along = [1] * x.ndim
        along[batch_axis] = x.shape[batch_axis]
        limits = lengths.reshape(along)
        source = torch.where(steps < limits, limits - 1 - steps, steps)
        return x.gather(time_axis, source.expand(x.shape))

    return run
