"""What a convolution becomes in a program that is traced to a graph: an operator of
`hal_torch.native` where it has one pixel or one channel, else PyTorch's own, channels last."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from hal.kernels import NodeInfo
from hal_torch.kernels._window import Window
from hal_torch.native import Native, native

__all__ = ["ACTIVATIONS", "traced_convolution"]

Tensor = torch.Tensor
Kernel = Callable[[Tensor, "Tensor | None"], Tensor]

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
}
"""oneDNN's names of activations."""


def traced_convolution(
    info: NodeInfo, weight: Tensor, bias: Tensor | None, unary: tuple[str, list[float], str]
) -> Callable[..., Tensor]:
    """The function of a convolution, the sum of its result with a second argument if it is given
    one, and an activation."""
    window = Window.of(info, tuple(weight.shape[2:]))
    group = info.attributes["group"]
    attribute, scalars, _ = unary
    bounds = _bounds(attribute, scalars)
    own = native()
    made = None if own is None else _own(own, window, group, weight, bias, bounds)
    done = made is not None and bounds is not None
    kernel = made or _plain(window, group, weight, bias)
    shape, channels = tuple(weight.shape), weight.shape[1] * group

    def run(x: Tensor, other: Tensor | None = None) -> Tensor:
        if x.dim() != 4 or x.shape[1] != channels:
            raise ValueError(f"a convolution of {tuple(x.shape)} by {shape}")
        y = kernel(x.contiguous(memory_format=torch.channels_last), other)
        return y if done else ACTIVATIONS[attribute](y, *scalars)

    return run


def _plain(window: Window, group: int, weight: Tensor, bias: Tensor | None) -> Kernel:
    strides, dilations = list(window.strides), list(window.dilations)

    def run(x: Tensor, other: Tensor | None) -> Tensor:
        first, last = window.padding(tuple(x.shape[2:]))
        if first != last or min(first) < 0:
            x = F.pad(x, [n for pair in zip(first[::-1], last[::-1], strict=True) for n in pair])
            first = [0, 0]
        y = torch.convolution(x, weight, bias, strides, first, dilations, False, [0, 0], group)
        return y if other is None else y + other

    return run


def _bounds(attribute: str, scalars: list[float]) -> tuple[float, float] | None:
    """The least and largest value after an activation that only limits."""
    known = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf)}
    return (scalars[0], scalars[1]) if attribute == "hardtanh" else known.get(attribute)


def _own(
    own: Native,
    window: Window,
    group: int,
    weight: Tensor,
    bias: Tensor | None,
    bounds: tuple[float, float] | None,
) -> Kernel | None:
    """The convolution by an operator of ours, if there is one for it."""
    low, high = bounds or (-math.inf, math.inf)
    channels, depth = weight.shape[:2]
    if weight.shape[2:] == (1, 1) and not any((*window.begins, *window.ends)):
        each = channels // group
        packed = own.pack(weight.reshape(group, each, depth))
        added, strides = own.padded(bias, group, each), window.strides

        def pointwise(x: Tensor, other: Tensor | None) -> Tensor:
            if strides != (1, 1):
                x = x[:, :, :: strides[0], :: strides[1]]
                x = x.contiguous(memory_format=torch.channels_last)
            fits = other is not None and _fits(other, x, channels)
            y: Tensor = own.pointwise(x, packed, added, other if fits else None, each, low, high)
            return y if fits or other is None else y + other

        return pointwise
    if group == channels and depth == 1 and channels >= own.width:
        taps = weight[:, 0].permute(1, 2, 0).contiguous()
        shift = torch.zeros(channels) if bias is None else bias.contiguous()

        def depthwise(x: Tensor, other: Tensor | None) -> Tensor:
            first, _ = window.padding(tuple(x.shape[2:]))
            shape = [
                *window.outputs(tuple(x.shape[2:])),
                *window.strides,
                *first,
                *window.dilations,
            ]
            if other is None:
                y: Tensor = own.depthwise(x, taps, shift, shape, low, high)
                return y
            y = own.depthwise(x, taps, shift, shape, -math.inf, math.inf) + other
            return y if bounds is None else y.clamp(low, high)

        return depthwise
    return None


def _fits(other: Tensor, x: Tensor, channels: int) -> bool:
    return other.shape == (x.shape[0], channels, *x.shape[2:])
