"""Pooling: MaxPool, AveragePool, LpPool, their global forms, MaxUnpool, MaxRoiPool."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._pooling import (
    global_indices,
    max_pool,
    max_pool_indices,
    sum_pool,
    tap_counts,
    torch_pads,
)
from hal_torch.kernels._roi import max_roi_pool
from hal_torch.kernels._window import WINDOW_ATTRIBUTES, Window, by_rank, widened

__all__ = ["table"]

Tensor = torch.Tensor
Kernel = Callable[..., Any]
table = KernelTable()
_MAX = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)
_AVERAGE = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _suits_torch(window: Window) -> bool:
    """Whether torch takes the padding: the same at both ends, at most half the kernel."""
    return window.is_symmetric and all(
        2 * pad <= kernel for pad, kernel in zip(window.begins, window.kernel, strict=True)
    )


@table.specialized(
    "MaxPool", 1, 8, 10, 11, 12, 22, attributes=(*WINDOW_ATTRIBUTES, "ceil_mode", "storage_order")
)
def max_pool_kernel(node: NodeInfo) -> Kernel:
    column_major = bool(node.attributes.get("storage_order", 0))
    is_integer = node.input_types[0] in ("tensor(int8)", "tensor(uint8)")

    def make(rank: int) -> Kernel:
        window = Window.of(node, node.attributes["kernel_shape"])
        pool = _MAX[rank - 1]
        kernel, strides, pads = window.kernel, window.strides, window.begins
        dilations, ceil_mode = window.dilations, window.ceil_mode

        def native(x: Tensor) -> Tensor:
            return pool(x, kernel, strides, pads, dilations, ceil_mode)

        def general(x: Tensor) -> Tensor:
            if is_integer:  # no device but the CPU pools integers, and that not along one axis
                return max_pool(x.float(), window).to(x.dtype)
            return max_pool(x, window)

        def with_indices(x: Tensor) -> tuple[Tensor, Tensor]:
            values, places = max_pool_indices(x, window)
            return values, global_indices(places, x.shape, column_major)

        if node.outputs > 1:
            return with_indices
        return native if _suits_torch(window) and not is_integer else general

    return by_rank(node, make)


@table.specialized(
    "AveragePool",
    1,
    7,
    10,
    11,
    19,
    22,
    attributes=(*WINDOW_ATTRIBUTES, "ceil_mode", "count_include_pad"),
)
def average_pool(node: NodeInfo) -> Kernel:
    include_pad = bool(node.attributes.get("count_include_pad", 0))

    def make(rank: int) -> Kernel:
        window = Window.of(node, node.attributes["kernel_shape"])
        pool = _AVERAGE[rank - 1]
        kernel, strides, pads, ceil_mode = (
            window.kernel,
            window.strides,
            window.begins,
            window.ceil_mode,
        )

        def native(x: Tensor) -> Tensor:
            return pool(x, kernel, strides, pads, ceil_mode, include_pad)

        def general(x: Tensor) -> Tensor:
            counts = torch.from_numpy(tap_counts(x.shape[2:], window, include_pad))
            wide = widened(x)
            total = sum_pool(wide, window)
            return (total / counts.to(device=x.device, dtype=wide.dtype)).to(x.dtype)

        return native if _suits_torch(window) and not window.is_dilated else general

    return by_rank(node, make)


@table.specialized("LpPool", 2, 11, 18, 22, attributes=(*WINDOW_ATTRIBUTES, "ceil_mode", "p"))
def lp_pool(node: NodeInfo) -> Kernel:
    p = node.attributes["p"]

    def make(rank: int) -> Kernel:
        window = Window.of(node, node.attributes["kernel_shape"])

        def run(x: Tensor) -> Tensor:
            wide = widened(x)
            powers = wide.square() if p == 2 else wide.abs().pow(p)
            sums = sum_pool(powers, window)
            return (sums.sqrt() if p == 2 else sums.pow(1 / p)).to(x.dtype)

        return run

    return by_rank(node, make)


@table.kernel("GlobalAveragePool", 1, 22)
def global_average_pool(x: Tensor) -> Tensor:
    return x if x.dim() <= 2 else x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


@table.kernel("GlobalMaxPool", 1, 22)
def global_max_pool(x: Tensor) -> Tensor:
    return x if x.dim() <= 2 else x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


@table.kernel("GlobalLpPool", 2, 22)
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    if x.dim() <= 2:
        return x.abs()
    axes = tuple(range(2, x.dim()))
    norms: Tensor = torch.linalg.vector_norm(widened(x), p, dim=axes, keepdim=True)
    return norms.to(x.dtype)


@table.specialized(
    "MaxUnpool", 9, 11, 22, host=(2,), attributes=("kernel_shape", "pads", "strides")
)
def max_unpool(node: NodeInfo) -> Kernel:
    """The indices are those of the input whose pooling this inverts: of the size that the window
    implies. A given output shape adds zeros behind it, or cuts."""
    window = Window.of(node, node.attributes["kernel_shape"])

    def run(x: Tensor, indices: Tensor, output_shape: Any = None) -> Tensor:
        sizes = [
            (size - 1) * window.strides[axis]
            - window.begins[axis]
            - window.ends[axis]
            + window.kernel[axis]
            for axis, size in enumerate(x.shape[2:])
        ]
        shape = [*x.shape[:2], *sizes]
        made = x.new_zeros(math.prod(shape))
        made = made.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(shape)
        if output_shape is None:
            return made
        wanted = [int(size) for size in np.asarray(output_shape).reshape(-1)]
        if wanted == shape:
            return made
        behind = [size - had for size, had in zip(wanted, shape, strict=True)]
        return F.pad(made, torch_pads([0] * len(shape), behind))

    return run


@table.kernel("MaxRoiPool", 1, 22)
def max_roi_pool_kernel(
    x: Tensor, rois: Tensor, *, pooled_shape: tuple[int, ...], spatial_scale: float = 1.0
) -> Tensor:
    return max_roi_pool(x, rois, pooled_shape, spatial_scale)
