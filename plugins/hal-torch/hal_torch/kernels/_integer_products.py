"""Matrix products and convolutions of small integers, exact.

Hardware multiplies floats; no device of torch has both an int32 product and a fast one. Factors of
at most nine bits have products below 2^17, so that float32 adds up 128 of them without rounding,
and float64 2^36. What is longer than that goes through float64, or, on a device without it, in
pieces that float32 adds up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import NodeInfo
from hal_torch.kernels._integers import widest_float

__all__ = ["Convolution", "integer_matmul"]

Tensor = torch.Tensor

_EXACT = (1 << 24) // (255 * 255)
"""How many products of factors within [-255, 255] float32 adds up exactly."""


def _to_int32(x: Tensor) -> Tensor:
    """Whole floats as int32, modulo 2^32 as an int32 accumulator would have it."""
    return x.to(torch.int64).to(torch.int32) if x.dtype == torch.float64 else x.to(torch.int32)


def integer_matmul(a: Tensor, b: Tensor, wide: torch.dtype) -> Tensor:
    """a @ b in int32 for tensors of integers within [-255, 255]; `wide` is the device's widest
    float."""
    length = a.shape[-1]
    compute = torch.float32 if length <= _EXACT else wide
    if compute == torch.float64 or length <= _EXACT:
        return _to_int32(torch.matmul(a.to(compute), b.to(compute)))
    left, right = a.to(compute), b.to(compute)
    total: Any = 0
    for start in range(0, length, _EXACT):
        size = min(_EXACT, length - start)
        dim = -2 if b.dim() > 1 else -1
        part = torch.matmul(left.narrow(-1, start, size), right.narrow(dim, start, size))
        total = total + part.to(torch.int32)
    found: Tensor = total
    return found


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Convolution:
    """The attributes of a convolution of integers. Raises UnsupportedError for an `auto_pad` that
    the standard does not have."""

    def __init__(self, node: NodeInfo) -> None:
        get = node.attributes.get
        self._wide = widest_float(node.arrays.device)
        self._group = int(get("group", 1))
        self._pads: tuple[int, ...] = tuple(get("pads") or ())
        self._strides: tuple[int, ...] = tuple(get("strides") or ())
        self._dilations: tuple[int, ...] = tuple(get("dilations") or ())
        self._auto_pad = get("auto_pad", "NOTSET")
        if self._auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise UnsupportedError(f"auto_pad is {self._auto_pad!r}")

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        """The convolution in int32 of integers within [-255, 255]; zeros around `x`."""
        rank = x.dim() - 2
        function = _CONVOLUTIONS.get(rank)
        if function is None:
            raise ValueError(f"a convolution over {rank} dimensions, torch has 1 to 3")
        strides = self._strides or (1,) * rank
        dilations = self._dilations or (1,) * rank
        pads = self._padding(x.shape[2:], w.shape[2:], strides, dilations)
        if any(pads):
            x = F.pad(x, [p for d in reversed(range(rank)) for p in (pads[d], pads[d + rank])])
        window = math.prod(w.shape[2:])
        if w.shape[1] * window <= _EXACT or self._wide == torch.float32:
            return self._in_float32(function, x, w, strides, dilations, max(1, _EXACT // window))
        found = function(
            x.to(torch.float64), w.to(torch.float64), None, strides, 0, dilations, self._group
        )
        return _to_int32(found.round())

    def _in_float32(
        self,
        function: Callable[..., Tensor],
        x: Tensor,
        w: Tensor,
        strides: Sequence[int],
        dilations: Sequence[int],
        channels: int,
    ) -> Tensor:
        """A piece of the channels at a time. Rounding undoes what a transformed algorithm such as
        Winograd's adds: it is far less than a half."""
        x, w = x.to(torch.float32), w.to(torch.float32)
        count = w.shape[1]
        if count <= channels:
            return function(x, w, None, strides, 0, dilations, self._group).round().to(torch.int32)
        grouped = x.reshape(x.shape[0], self._group, count, *x.shape[2:])
        total: Any = 0
        for start in range(0, count, channels):
            size = min(channels, count - start)
            part = grouped.narrow(2, start, size).flatten(1, 2)
            kernel = w.narrow(1, start, size)
            found = function(part, kernel, None, strides, 0, dilations, self._group)
            total = total + found.round().to(torch.int32)
        whole: Tensor = total
        return whole

    def _padding(
        self,
        sizes: Sequence[int],
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> tuple[int, ...]:
        """What to add before and after each dimension: all the befores, then all the afters."""
        if self._auto_pad == "NOTSET":
            return self._pads or (0,) * (2 * len(sizes))
        if self._auto_pad == "VALID":
            return (0,) * (2 * len(sizes))
        totals = [
            max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
            for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        low = [t // 2 if self._auto_pad == "SAME_UPPER" else t - t // 2 for t in totals]
        return (*low, *(t - b for t, b in zip(totals, low, strict=True)))
