"""Convolutions: Conv, ConvTranspose, DeformConv, Col2Im."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._fold import fold
from hal_torch.kernels._pooling import torch_pads
from hal_torch.kernels._sample import sample_zeros
from hal_torch.kernels._window import WINDOW_ATTRIBUTES, Window, by_rank

__all__ = ["table"]

Tensor = torch.Tensor
Kernel = Callable[..., Tensor]
table = KernelTable()


@table.specialized("Conv", 1, 11, 22, attributes=(*WINDOW_ATTRIBUTES, "group"))
def conv(node: NodeInfo) -> Kernel:
    group = node.attributes["group"]

    def make(rank: int) -> Kernel:
        # Only the padding of SAME asks for the kernel's size, and then at run time.
        window = Window.of(node, node.attributes.get("kernel_shape") or (1,) * rank)
        strides, dilations, none = list(window.strides), list(window.dilations), [0] * rank
        begins = list(window.begins)

        def symmetric(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return torch.convolution(x, w, b, strides, begins, dilations, False, none, group)

        def general(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            real = Window.of(node, w.shape[2:])
            first, last = real.padding(x.shape[2:])
            if first != last or min(first) < 0:
                x = F.pad(x, torch_pads(first, last))
                first = none
            return torch.convolution(x, w, b, strides, first, dilations, False, none, group)

        return symmetric if window.is_symmetric else general

    return by_rank(node, make)


@table.specialized(
    "ConvTranspose",
    1,
    11,
    22,
    attributes=(*WINDOW_ATTRIBUTES, "group", "output_padding", "output_shape"),
)
def conv_transpose(node: NodeInfo) -> Kernel:
    group = node.attributes["group"]
    given = node.attributes

    def make(rank: int) -> Kernel:
        window = Window.of(node, given.get("kernel_shape") or (1,) * rank)
        strides, dilations, none = list(window.strides), list(window.dilations), [0] * rank
        extra = list(given.get("output_padding") or none)[-rank:]
        # Some exporters give the whole shape, batch and channels included.
        wanted = list(given.get("output_shape") or ())[-rank:]
        begins = list(window.begins)

        def symmetric(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return torch.convolution(x, w, b, strides, begins, dilations, True, extra, group)

        def general(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            full = [
                (size - 1) * stride + (k - 1) * dilation + 1
                for size, stride, k, dilation in zip(
                    x.shape[2:], strides, w.shape[2:], dilations, strict=True
                )
            ]
            targets = wanted
            if window.is_same and not targets:
                targets = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
            first, change = list(window.begins), list(window.ends)
            for axis in range(rank):
                if targets:
                    total = max(full[axis] + extra[axis] - targets[axis], 0)
                    less = total // 2
                    first[axis] = less if window.auto_pad == "SAME_UPPER" else total - less
                    change[axis] = targets[axis] - full[axis] + first[axis]
                else:
                    change[axis] = extra[axis] - window.ends[axis]
            # What lies beyond the full result has no contribution but the bias.
            grows = max(change) > 0
            y = torch.convolution(
                x, w, None if grows else b, strides, none, dilations, True, none, group
            )
            y = F.pad(y, torch_pads([-p for p in first], change))
            if grows and b is not None:
                y = y + b.reshape(-1, *(1,) * rank)
            return y

        fits = all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
        return symmetric if window.is_symmetric and fits and not wanted else general

    return by_rank(node, make)


@table.specialized(
    "DeformConv",
    19,
    22,
    attributes=("dilations", "group", "kernel_shape", "offset_group", "pads", "strides"),
)
def deform_conv(node: NodeInfo) -> Kernel:
    """Deformable convolution over any number of spatial axes: N-linear samples, zero outside."""
    group, parts = node.attributes["group"], node.attributes["offset_group"]

    def run(
        x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        window = Window.of(node, w.shape[2:])
        batch, channels = x.shape[:2]
        outputs = window.outputs(x.shape[2:])
        taps, points = math.prod(window.kernel), math.prod(outputs)
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        shifts = offset.to(wide).reshape(batch, parts, taps, window.rank, *outputs)
        at = [
            shifts[:, :, :, axis] + _base(window, axis, outputs, x.device)
            for axis in range(window.rank)
        ]
        image = x.to(wide).reshape(batch * parts, channels // parts, *x.shape[2:])
        positions = [p.reshape(batch * parts, taps * points) for p in at]
        columns = sample_zeros(image, positions).reshape(
            batch, parts, channels // parts, taps, points
        )
        if mask is not None:
            columns = columns * mask.to(wide).reshape(batch, parts, 1, taps, points)
        columns = columns.reshape(batch, group, channels // group * taps, points)
        weight = w.to(wide).reshape(group, w.shape[0] // group, -1)
        y = torch.matmul(weight, columns).reshape(batch, w.shape[0], *outputs)
        if b is not None:
            y = y + b.to(wide).reshape(-1, *(1,) * window.rank)
        return y.to(x.dtype)

    return run


def _base(window: Window, axis: int, outputs: Sequence[int], device: torch.device) -> Tensor:
    """Where an axis of the undeformed taps lies: taps first, then the spatial axes."""
    steps = torch.arange(outputs[axis], device=device) * window.strides[axis]
    shape = [1] * window.rank
    shape[axis] = -1
    steps = steps.reshape(1, *shape) - window.begins[axis]
    taps = torch.arange(window.kernel[axis], device=device) * window.dilations[axis]
    taps = taps.reshape(shape).expand(window.kernel).reshape(-1, *(1,) * window.rank)
    return taps + steps


@table.specialized("Col2Im", 18, host=(1, 2), attributes=("dilations", "pads", "strides"))
def col2im(node: NodeInfo) -> Kernel:
    if node.input_types[0] == "tensor(string)":
        raise UnsupportedError("strings cannot be added")

    def run(x: Tensor, image_shape: Any, block_shape: Any) -> Tensor:
        sizes = [int(size) for size in np.asarray(image_shape).reshape(-1)]
        window = Window.of(node, [int(size) for size in np.asarray(block_shape).reshape(-1)])
        return fold(x, sizes, window)

    return run
