"""Fourier transforms, windows, and the mel filter bank.

Transforms are computed in double precision, where the device has it, and rounded once: ONNX's
official cases compare zeros of a spectrum within 1e-7.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._moving import Host, Run, integers

__all__ = ["table"]

table = KernelTable()

Tensor = torch.Tensor


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()  # Metal has no double


def _complex(x: Tensor) -> Tensor:
    """The signal of a tensor whose last axis holds the real part, or both parts."""
    wide = _wide(x)
    if x.shape[-1] == 1:
        return wide.squeeze(-1)
    if x.shape[-1] != 2:
        raise ValueError(f"the last axis holds 1 or 2 parts of a number, not {x.shape[-1]}")
    return torch.view_as_complex(wide.contiguous())


@table.specialized("DFT", 17, host=(1,), attributes=("axis", "inverse", "onesided"))
@table.specialized("DFT", 20, host=(1, 2), attributes=("inverse", "onesided"))
def dft(node: NodeInfo) -> Run:
    default = node.attributes.get("axis", -2)
    inverse, onesided = bool(node.attributes["inverse"]), bool(node.attributes["onesided"])

    def run(x: Tensor, length: Host | None = None, axis: Host | None = None) -> Tensor:
        at = default if axis is None else integers(axis)[0]
        at = at + x.ndim if at < 0 else at
        if not 0 <= at < x.ndim - 1:
            raise ValueError(f"axis {at} of {tuple(x.shape)} is no axis of the signal")
        size = x.shape[at]
        if length is not None:
            size = integers(length)[0]
        elif inverse and onesided:
            size = 2 * (size - 1)
        signal = _complex(x)
        found: Tensor
        if not x.numel() and x.shape[at]:  # MKL takes no empty batch
            count = size // 2 + 1 if onesided and not inverse else size
            shape = (*x.shape[:at], count, *x.shape[at + 1 : -1])
            return x.new_zeros((*shape, 1 if inverse and onesided else 2))
        if inverse and onesided:
            found = torch.fft.irfft(signal, size, at).unsqueeze(-1)
            return found.to(x.dtype)
        if inverse:
            found = torch.fft.ifft(signal, size, at)
        else:
            found = _forward(signal, size, at, onesided)
        return torch.view_as_real(found.resolve_conj()).to(x.dtype)

    return run


def _forward(signal: Tensor, size: int, axis: int, onesided: bool) -> Tensor:
    found: Tensor
    if onesided and not signal.is_complex():
        found = torch.fft.rfft(signal, size, axis)
        return found
    found = torch.fft.fft(signal, size, axis)
    return found.narrow(axis, 0, size // 2 + 1) if onesided else found


@table.kernel("STFT", 17, host=(1, 3))
def stft(
    signal: Tensor,
    step: Any,
    window: Tensor | None = None,
    length: Any = None,
    *,
    onesided: int = 1,
) -> Tensor:
    if length is not None:
        size = integers(length)[0]
    else:
        size = signal.shape[1] if window is None else window.shape[0]
    frames = _wide(signal).unfold(1, size, integers(step)[0])  # batch, frame, part, sample
    if window is not None:
        frames = frames * _wide(window)
    if not frames.numel():  # MKL takes no empty batch
        bins = size // 2 + 1 if onesided else size
        return signal.new_zeros((*frames.shape[:2], bins, 2))
    values = _complex(frames.movedim(2, 3))
    return torch.view_as_real(_forward(values, size, 2, bool(onesided))).to(signal.dtype)


def _cosines(node: NodeInfo, weights: tuple[float, ...]) -> Run:
    """A window that is a sum of cosines: sum over k of weights[k] * cos(2 pi k n / N), with N the
    size, or one less for a symmetric window."""
    dtype = dtype_of(node.output_types[0])
    periodic = bool(node.attributes["periodic"])
    device = node.arrays.device

    def run(size: Host) -> Tensor:
        count = integers(size)[0]
        angle = torch.arange(count, dtype=torch.float64)
        angle = angle * (2 * math.pi) / (count if periodic else count - 1)
        total = torch.zeros_like(angle)
        for k, weight in enumerate(weights[1:], 1):
            total = total + weight * (angle * k).cos()
        # the constant last, which makes the peak exactly 1, also where an integer type cuts it off
        return (total + weights[0]).to(dtype).to(device)

    return run


@table.specialized("HannWindow", 17, host=(0,), attributes=("periodic", "output_datatype"))
def hann_window(node: NodeInfo) -> Run:
    return _cosines(node, (0.5, -0.5))


@table.specialized("HammingWindow", 17, host=(0,), attributes=("periodic", "output_datatype"))
def hamming_window(node: NodeInfo) -> Run:
    return _cosines(node, (25 / 46, -21 / 46))


@table.specialized("BlackmanWindow", 17, host=(0,), attributes=("periodic", "output_datatype"))
def blackman_window(node: NodeInfo) -> Run:
    return _cosines(node, (0.42, -0.5, 0.08))


@table.specialized("MelWeightMatrix", 17, host=(0, 1, 2), attributes=("output_datatype",))
def mel_weight_matrix(node: NodeInfo) -> Run:
    dtype = dtype_of(node.output_types[0])

    def run(bands: Host, length: Host, rate: Host, low: Tensor, high: Tensor) -> Tensor:
        count, size = integers(bands)[0], integers(length)[0]
        lower, upper = (_mel(edge.reshape(())) for edge in (low, high))
        step = (upper - lower) / (count + 2)
        place = torch.arange(count + 2, dtype=lower.dtype, device=low.device)
        hertz = 700 * torch.expm1((place * step + lower) / 2595 * math.log(10))
        edges = torch.floor((size + 1) * hertz / integers(rate)[0])
        bins = torch.arange(size // 2 + 1, dtype=lower.dtype, device=low.device).unsqueeze(1)
        left, centre, right = edges[:-2], edges[1:-1], edges[2:]
        rising = (bins - left) / (centre - left)
        falling = (right - bins) / (right - centre)
        found = torch.where((bins >= left) & (bins < centre), rising, torch.zeros_like(rising))
        found = torch.where((bins > centre) & (bins < right), falling, found)
        return torch.where(bins == centre, torch.ones_like(found), found).to(dtype)

    return run


def _mel(hertz: Tensor) -> Tensor:
    """mel(f) = 2595 log10(1 + f / 700); the logarithm in the type of the frequency."""
    return _wide(torch.log1p(hertz / 700)) * (2595 / math.log(10))
