"""Which input elements, with which weights, make each output element of Resize along one axis.

All of it is NumPy in float64 on the host: it depends on shapes and attributes alone. Formulas are
those of the standard's text for Resize; the cubic kernel is R. Keys' (IEEE TASSP 29(6), 1981).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Axis", "Mode", "Request", "as_tuple", "plan"]

Host = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True)
class Mode:
    """The attributes of Resize that say how to interpolate."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


@dataclasses.dataclass(frozen=True)
class Request:
    """What one run asks for: the input's shape, and scales or sizes for `axes`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    scales: tuple[float, ...] | None
    sizes: tuple[int, ...] | None
    roi: tuple[float, ...] | None
    policy: str = "stretch"


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """One axis to resize. Output i is the sum over taps j of weights[i, j] * x[indices[i, j]], or
    just x[indices[i, 0]] where there are no weights; outputs in `outside` are extrapolated."""

    axis: int
    size: int
    output: int
    scale: float
    indices: Host
    weights: Host | None
    outside: Host | None


def plan(request: Request, mode: Mode) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
    """The output's shape, and the axes that change. Raises ValueError for a request that does not
    fit the input."""
    count = len(request.axes)
    given = request.sizes if request.scales is None else request.scales
    if given is None or len(given) != count:
        raise ValueError(f"scales or sizes for {count} axes expected, got {given}")
    if request.roi is not None and len(request.roi) != 2 * count:
        raise ValueError(f"roi of {2 * count} numbers expected, got {len(request.roi)}")
    had = [request.shape[axis] for axis in request.axes]
    if request.scales is not None:
        scales = list(request.scales)
        if min(scales, default=1.0) <= 0:
            raise ValueError(f"scales {scales} are not all greater than 0")
        # In float32, as the standard's shape inference does it.
        sizes = [int(np.float32(size) * np.float32(s)) for size, s in zip(had, scales, strict=True)]
    else:
        sizes = list(request.sizes or ())
        if 0 in had and any(size and not old for size, old in zip(sizes, had, strict=True)):
            raise ValueError(f"an axis without elements cannot be resized to {sizes}")
        scales = [size / old if old else 1.0 for size, old in zip(sizes, had, strict=True)]
        if request.policy != "stretch":
            scale = min(scales) if request.policy == "not_larger" else max(scales)
            scales = [scale] * count
            sizes = [int(np.floor(scale * size + 0.5)) for size in had]
    shape = list(request.shape)
    axes: list[Axis] = []
    for i, axis in enumerate(request.axes):
        shape[axis] = sizes[i]
        roi = None if request.roi is None else (request.roi[i], request.roi[count + i])
        whole = roi is None or roi == (0.0, 1.0) or mode.coordinates != "tf_crop_and_resize"
        if sizes[i] == had[i] and scales[i] == 1.0 and whole:
            continue
        axes.append(_axis(axis, had[i], sizes[i], scales[i], roi, mode))
    return tuple(shape), tuple(axes)


def _axis(
    axis: int,
    size: int,
    output: int,
    scale: float,
    roi: tuple[float, float] | None,
    mode: Mode,
) -> Axis:
    position = _positions(size, output, scale, roi, mode.coordinates)
    outside: Host | None = None
    if mode.coordinates == "tf_crop_and_resize":
        outside = (position < 0) | (position > size - 1)
        outside = outside if outside.any() else None
    weights: Host | None = None
    if mode.mode == "nearest":
        indices = _nearest(position, mode.nearest, scale)[:, None]
    else:
        indices, weights = _taps(position, size, scale, mode)
    indices = np.clip(indices, 0, max(size - 1, 0)).astype(np.int64)
    return Axis(axis, size, output, scale, indices, weights, outside)


def _positions(
    size: int, output: int, scale: float, roi: tuple[float, float] | None, coordinates: str
) -> Host:
    """Where each output element lies along the input axis."""
    at = np.arange(output, dtype=np.float64)
    if coordinates == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if output > 1 else np.zeros(output)
    if coordinates == "align_corners":
        return at * (size - 1) / (output - 1) if output > 1 else np.zeros(output)
    if coordinates == "tf_half_pixel_for_nn":
        return (at + 0.5) / scale
    if coordinates == "half_pixel_symmetric":
        adjustment = output / (scale * size)
        return size / 2 * (1 - adjustment) + (at + 0.5) / scale - 0.5
    # tf_crop_and_resize. In float32 as far as the region's own type goes: whether the last element
    # is still inside is decided by its last bit.
    start, end = (np.float32(edge) for edge in roi or (0.0, 1.0))
    first = float(start * np.float32(size - 1))
    if output > 1:
        return at * float(end - start) * (size - 1) / (output - 1) + first
    return np.full(output, 0.5 * float(start + end) * (size - 1))


def _nearest(position: Host, how: str, scale: float) -> Host:
    if how == "simple":  # before version 11, which gave the choice; onnxruntime does it so
        how = "ceil" if scale < 1 else "floor"
    if how == "floor":
        return np.floor(position)
    if how == "ceil":
        return np.ceil(position)
    if how == "round_prefer_ceil":
        return np.floor(position + 0.5)
    return np.ceil(position - 0.5)


def _taps(position: Host, size: int, scale: float, mode: Mode) -> tuple[Host, Host]:
    """Neighbours and their weights. An antialiasing kernel is stretched by the downscaling."""
    stretch = min(scale, 1.0) if mode.antialias else 1.0
    reach = 1 if mode.mode == "linear" else 2
    first = int(np.floor(-reach / stretch)) + 1
    steps = np.arange(first, 2 - first)
    low = np.ceil(position) - 1  # of an element's own position the ratio is 1
    indices = low[:, None] + steps
    distance = np.abs(indices - position[:, None]) * stretch
    weights = np.maximum(1 - distance, 0) if reach == 1 else _keys(distance, mode.cubic_a)
    outside = (indices < 0) | (indices >= size)
    if mode.exclude_outside:
        weights = np.where(outside, 0, weights)
    if mode.antialias or mode.exclude_outside:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    used = np.flatnonzero((weights != 0).any(axis=0))
    if len(used):  # antialiasing's outermost taps often weigh nothing
        indices, weights = indices[:, used[0] : used[-1] + 1], weights[:, used[0] : used[-1] + 1]
    return indices, weights


def _keys(distance: Host, a: float) -> Host:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def as_tuple(values: Sequence[float] | Host | None) -> tuple[float, ...] | None:
    """A host input as a tuple; None for one that is absent or empty."""
    if values is None:
        return None
    return tuple(np.asarray(values, dtype=np.float64).reshape(-1).tolist()) or None
