"""Slice, Pad and CenterCropPad: parts of a tensor, and what is put around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._moving import Host, Run, integers, moving

__all__ = ["table"]

table = KernelTable()

Tensor = torch.Tensor


@moving(table, "Slice", 1, attributes=("starts", "ends", "axes"))
def slice_1(node: NodeInfo) -> Run:
    starts, ends = node.attributes["starts"], node.attributes["ends"]
    axes = node.attributes.get("axes")
    fast = _basic_index(starts, ends, axes, None)
    if fast is not None:
        index = fast
        return lambda x: x[index]
    return lambda x: _sliced(x, starts, ends, axes, None)


@moving(table, "Slice", 10, 11, 13, host=(1, 2, 3, 4))
def slice_10(node: NodeInfo) -> Run:
    def run(
        x: Tensor, starts: Host, ends: Host, axes: Host | None = None, steps: Host | None = None
    ) -> Tensor:
        return _sliced(x, starts, ends, axes, steps)

    if any(c is None and t for c, t in zip(node.constants[1:], node.input_types[1:], strict=True)):
        return run
    known = [c if c is None else integers(c) for c in (*node.constants[1:], None, None)][:4]
    index = _basic_index(*known)
    if index is None:
        return run

    def fast(
        x: Tensor, starts: Host, ends: Host, axes: Host | None = None, steps: Host | None = None
    ) -> Tensor:
        if (axes is None) is not (known[2] is None) or (steps is None) is not (known[3] is None):
            return run(x, starts, ends, axes, steps)  # an input of unknown type, taken for absent
        return x[index]

    return fast


def _basic_index(starts: Any, ends: Any, axes: Any, steps: Any) -> tuple[slice, ...] | None:
    """The index that is the whole slice: axes counted from the front, steps forward."""
    axes = range(len(starts)) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if any(axis < 0 for axis in axes) or any(step <= 0 for step in steps):
        return None
    index = [slice(None)] * (max(axes, default=-1) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, end, step)
    return tuple(index)


def _sliced(x: Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> Tensor:
    starts, ends = integers(starts), integers(ends)
    axes = range(len(starts)) if axes is None else integers(axes)
    steps = (1,) * len(starts) if steps is None else integers(steps)
    index = [slice(None)] * x.ndim
    backward = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axis {axis} is out of the range of rank {x.ndim}")
        if step == 0:
            raise ValueError("a slice's step is not 0")
        axis %= x.ndim
        if step > 0:
            index[axis] = slice(start, end, step)
            continue
        backward.append(axis)  # PyTorch has no negative steps: taken forward, then turned
        taken = range(*slice(start, end, step).indices(x.shape[axis]))
        index[axis] = slice(taken[-1], taken[0] + 1, -step) if len(taken) else slice(0, 0)
    part = x[tuple(index)]
    return part.flip(backward) if backward else part


@moving(table, "Pad", 2, attributes=("mode", "pads", "value"))
def pad_2(node: NodeInfo) -> Run:
    mode, value = node.attributes["mode"], node.attributes["value"]
    pads = integers(node.attributes["pads"])
    _check_mode(mode, False)
    return lambda x: _padded(x, _by_axis(x.ndim, pads, None), mode, value)


@moving(
    table, "Pad", 11, 13, 18, 19, 21, 23, 24, 25, arrays=(0, 2), host=(1, 3), attributes=("mode",)
)
def pad_11(node: NodeInfo) -> Run:
    mode = node.attributes["mode"]
    _check_mode(mode, node.version >= 19)
    known = node.constants[2] if len(node.constants) > 2 else None
    fixed = None if known is None else known.item()

    def run(x: Tensor, pads: Host, value: Tensor | None = None, axes: Host | None = None) -> Tensor:
        where = _by_axis(x.ndim, integers(pads), None if axes is None else integers(axes))
        if mode == "constant" and value is not None and fixed is None:
            return _surrounded(x, where, value)
        return _padded(x, where, mode, 0 if fixed is None else fixed)

    return run


def _check_mode(mode: str, wraps: bool) -> None:
    known = ("constant", "reflect", "edge", *(("wrap",) if wraps else ()))
    if mode not in known:
        raise UnsupportedError(f"Pad has no mode {mode!r}, only {', '.join(known)}")


def _by_axis(rank: int, pads: Sequence[int], axes: Sequence[int] | None) -> list[tuple[int, int]]:
    """(before, after) of every axis."""
    axes = range(rank) if axes is None else axes
    if len(pads) != 2 * len(axes):
        raise ValueError(f"{len(pads)} pads for {len(axes)} axes")
    found = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} is out of the range of rank {rank}")
        found[axis] = (pads[i], pads[len(axes) + i])
    return found


def _padded(x: Tensor, pads: list[tuple[int, int]], mode: str, value: Any) -> Tensor:
    if not any(before or after for before, after in pads):
        return x
    if mode == "constant":
        return torch.constant_pad_nd(x, _last_first(pads), value)
    for axis, (before, after) in enumerate(pads):
        if before < 0 or after < 0:  # removed first: what is left is reflected
            kept = x.shape[axis] + min(before, 0) + min(after, 0)
            x = x.narrow(axis, max(-before, 0), max(kept, 0))
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
    if mode != "wrap" and _native(x, pads):
        return functional.pad(
            x, _last_first(pads[-2:]), "reflect" if mode == "reflect" else "replicate"
        )
    for axis, (before, after) in enumerate(pads):
        if before or after:
            x = x.index_select(axis, _sources(x, axis, before, after, mode))
    return x


def _last_first(pads: list[tuple[int, int]]) -> list[int]:
    return [p for pair in reversed(pads) for p in pair]


def _native(x: Tensor, pads: list[tuple[int, int]]) -> bool:
    """Whether PyTorch pads an image's rows and columns so in one call."""
    if x.ndim != 4 or x.dtype not in (torch.float32, torch.float64) or not x.numel():
        return False
    inner = all(max(pair) < size for pair, size in zip(pads, x.shape, strict=True))
    return inner and pads[0] == pads[1] == (0, 0)


def _sources(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Where each element of a padded axis comes from."""
    size = x.shape[axis]
    if not size:
        raise ValueError(f"axis {axis} of size 0 has nothing to pad with in mode {mode!r}")
    at = torch.arange(-before, size + after, device=x.device)
    if mode == "edge":
        return at.clamp(0, size - 1)
    if mode == "wrap":
        return at.remainder(size)
    # a triangle wave, so that pads longer than the axis go back and forth
    last = size - 1
    return last - (at.remainder(max(2 * last, 1)) - last).abs()


def _surrounded(x: Tensor, pads: list[tuple[int, int]], value: Tensor) -> Tensor:
    """Constant padding whose value is known on the device only."""
    shape = [max(size + sum(pair), 0) for size, pair in zip(x.shape, pads, strict=True)]
    found = value.reshape(()).expand(shape).clone()
    inner = found
    for axis, (before, after) in enumerate(pads):
        kept = max(x.shape[axis] + min(before, 0) + min(after, 0), 0)
        inner = inner.narrow(axis, min(max(before, 0), shape[axis]), kept)
        x = x.narrow(axis, min(max(-before, 0), x.shape[axis]), kept)
    inner.copy_(x)
    return found


@moving(table, "CenterCropPad", 18, host=(1,), attributes=("axes",))
def center_crop_pad(node: NodeInfo) -> Run:
    given = node.attributes.get("axes")

    def run(x: Tensor, shape: Host) -> Tensor:
        sizes = integers(shape)
        axes = range(x.ndim) if given is None else given
        pads = [(0, 0)] * x.ndim
        for axis, size in zip(axes, sizes, strict=True):
            more = size - x.shape[axis]
            half = abs(more) // 2  # of an odd difference the greater part is behind
            pads[axis] = (half, more - half) if more > 0 else (-half, more + half)
        return _padded(x, pads, "constant", 0)

    return run
