"""Resize and Upsample.

An axis at a time: gathered taps times weights, or a product with the matrix of weights where there
are many. What torch.nn.functional.interpolate computes in just the same way is left to it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._integers import signed_view, widest_float
from hal_torch.kernels._interpolation import Axis, Mode, Request, as_tuple, plan
from hal_torch.kernels._saturate import rounded

__all__ = ["table"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]
Kernel = Callable[..., Any]
table = KernelTable()

_MODES = ("nearest", "linear", "cubic")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")
_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
_MANY_TAPS = 4
_STRING = {"T": {"string"}}


def _mode(given: Mapping[str, Any]) -> Mode:
    """The mode of a node's attributes. Raises UnsupportedError for a value of none."""
    mode = Mode(
        mode="linear" if given.get("mode") == "bilinear" else given.get("mode", "nearest"),
        coordinates=given.get("coordinate_transformation_mode", "half_pixel"),
        nearest=given.get("nearest_mode", "round_prefer_floor"),
        cubic_a=given.get("cubic_coeff_a", -0.75),
        exclude_outside=bool(given.get("exclude_outside", 0)),
        antialias=bool(given.get("antialias", 0)),
    )
    for name, value, known in (
        ("mode", mode.mode, _MODES),
        ("coordinate_transformation_mode", mode.coordinates, _COORDINATES),
        ("nearest_mode", mode.nearest, _NEAREST),
        (
            "keep_aspect_ratio_policy",
            given.get("keep_aspect_ratio_policy", "stretch"),
            ("stretch", "not_larger", "not_smaller"),
        ),
    ):
        if value not in known:
            raise UnsupportedError(f"{name} is {value!r}")
    if mode.antialias and mode.mode == "nearest":
        raise UnsupportedError("antialias with mode nearest")
    return mode


class _Resizer:
    """Resizes by one mode; plans and the tensors made of them are kept for shapes seen lately."""

    def __init__(self, mode: Mode, extrapolation: float, axes: Sequence[int] | None) -> None:
        self.mode = mode
        self.extrapolation = extrapolation
        self.axes = axes
        self.planned = functools.lru_cache(maxsize=16)(self._planned)
        self.uploaded = functools.lru_cache(maxsize=64)(_uploaded)

    def request(
        self,
        shape: Sequence[int],
        scales: Any,
        sizes: Any = None,
        roi: Any = None,
        policy: str = "stretch",
    ) -> Request:
        """What a run asks for, as a key of the plans."""
        rank = len(shape)
        axes = tuple(range(rank)) if self.axes is None else tuple(a % rank for a in self.axes)
        whole = as_tuple(sizes)
        return Request(
            shape=tuple(shape),
            axes=axes,
            scales=as_tuple(scales) if whole is None else None,
            sizes=None if whole is None else tuple(int(size) for size in whole),
            roi=as_tuple(roi) if self.mode.coordinates == "tf_crop_and_resize" else None,
            policy=policy,
        )

    def _planned(
        self, request: Request
    ) -> tuple[tuple[int, ...], tuple[Axis, ...], dict[str, Any] | None]:
        shape, axes = plan(request, self.mode)
        return shape, axes, _native(request, shape, axes, self.mode)

    def __call__(self, x: Tensor, request: Request) -> Tensor:
        shape, axes, native = self.planned(request)
        if 0 in shape:
            return x.new_empty(shape)
        if native is not None and x.dtype in (torch.float32, torch.float64):
            return F.interpolate(x, **native)
        if self.mode.mode == "nearest":
            return self._gathered(x, axes)
        made = x.to(_accumulator(x))
        for axis in axes:
            made = self._weighted(made, axis)
        return rounded(made, x.dtype)

    def strings(self, x: Host, request: Request) -> Host:
        """Strings, which have neighbours but no weights."""
        shape, axes, _ = self.planned(request)
        if 0 in shape:
            return np.empty(shape, dtype=object)
        for axis in axes:
            x = np.take(x, axis.indices[:, 0], axis=axis.axis)
        return x

    def _gathered(self, x: Tensor, axes: Sequence[Axis]) -> Tensor:
        dtype = x.dtype
        fill = torch.full((), self.extrapolation, dtype=dtype, device=x.device)
        x, fill = signed_view(x), signed_view(fill)
        for axis in axes:
            taps = self.uploaded(axis, x.dim(), x.device, None)
            x = x.index_select(axis.axis, taps.indices[0])
            if taps.outside is not None:
                x = x.masked_fill(taps.outside, fill)
        return x.view(dtype)

    def _weighted(self, x: Tensor, axis: Axis) -> Tensor:
        dtype = x.real.dtype if x.is_complex() else x.dtype
        taps = self.uploaded(axis, x.dim(), x.device, dtype)
        if taps.matrix is not None:
            matrix = taps.matrix.to(x.dtype)
            made = torch.matmul(x.movedim(axis.axis, -1), matrix).movedim(-1, axis.axis)
        else:
            made = x.index_select(axis.axis, taps.indices[0]) * taps.weights[0]
            for index, weight in zip(taps.indices[1:], taps.weights[1:], strict=True):
                made = made + x.index_select(axis.axis, index) * weight
        if taps.outside is not None:
            made = made.masked_fill(taps.outside, self.extrapolation)
        return made


@dataclasses.dataclass(frozen=True)
class _Taps:
    """An `Axis` on a device: an index and a weight a tap, or all weights as (input, output)."""

    indices: list[Tensor]
    weights: list[Tensor]
    matrix: Tensor | None
    outside: Tensor | None


def _uploaded(axis: Axis, rank: int, device: torch.device, dtype: torch.dtype | None) -> _Taps:
    behind = (1,) * (rank - 1 - axis.axis)
    outside = None
    if axis.outside is not None:
        outside = torch.from_numpy(axis.outside.reshape(-1, *behind)).to(device)
    count = axis.indices.shape[1]
    if axis.weights is not None and count > _MANY_TAPS:
        matrix = np.zeros((axis.size, axis.output))
        np.add.at(matrix, (axis.indices, np.arange(axis.output)[:, None]), axis.weights)
        return _Taps([], [], torch.from_numpy(matrix).to(dtype).to(device), outside)
    indices = [torch.from_numpy(axis.indices[:, i].copy()).to(device) for i in range(count)]
    weights = []
    if axis.weights is not None:
        shaped = [axis.weights[:, i].reshape(-1, *behind) for i in range(count)]
        weights = [torch.from_numpy(w.copy()).to(dtype).to(device) for w in shaped]
    return _Taps(indices, weights, None, outside)


def _accumulator(x: Tensor) -> torch.dtype:
    """What weighted sums are computed in: integers in the widest float, so that ties round as in
    exact arithmetic."""
    if x.dtype in (torch.float16, torch.bfloat16):
        return torch.float32
    if x.dtype.is_floating_point or x.dtype.is_complex:
        return x.dtype
    return widest_float(x.device)


def _native(
    request: Request, shape: Sequence[int], axes: Sequence[Axis], mode: Mode
) -> dict[str, Any] | None:
    """The arguments of torch.nn.functional.interpolate, if it computes just this."""
    rank = len(shape)
    sizes = tuple(shape[2:])
    if not 3 <= rank <= 5 or not axes or min(axis.axis for axis in axes) < 2:
        return None
    if any(axis.outside is not None for axis in axes):
        return None
    if mode.mode == "nearest":
        for name, shift in (("nearest", 0.0), ("nearest-exact", 0.5)):
            if all(_torch_nearest(axis, shift) for axis in axes):
                return {"size": sizes, "mode": name}
        return None
    if mode.antialias or mode.exclude_outside:
        return None
    name = {3: "linear", 4: "bilinear", 5: "trilinear"}[rank]
    if mode.mode == "cubic":
        if rank != 4 or mode.cubic_a != -0.75:
            return None
        name = "bicubic"
    if mode.coordinates == "align_corners":
        return {"size": sizes, "mode": name, "align_corners": True}
    half = mode.coordinates == "half_pixel" or (
        mode.coordinates == "pytorch_half_pixel" and min(axis.output for axis in axes) > 1
    )
    if half and all(axis.scale == axis.output / axis.size for axis in axes):
        return {"size": sizes, "mode": name, "align_corners": False}
    return None


def _torch_nearest(axis: Axis, shift: float) -> bool:
    """Whether torch picks the same elements, by its own arithmetic in float32."""
    at = np.arange(axis.output, dtype=np.float32) + np.float32(shift)
    picked = np.floor(at * np.float32(axis.size / axis.output))
    return bool(np.array_equal(np.minimum(picked, axis.size - 1), axis.indices[:, 0]))


def _resizer(node: NodeInfo, **more: Any) -> _Resizer:
    if node.input_types[0] == "tensor(string)":
        raise UnsupportedError("strings are resized on the host")
    return _any_resizer(node, **more)


def _any_resizer(node: NodeInfo, **more: Any) -> _Resizer:
    given = {**node.attributes, **more}
    return _Resizer(_mode(given), given.get("extrapolation_value", 0.0), given.get("axes"))


_SIMPLE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "simple"}
_RESIZE = (
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
)


def _strings(resizer: _Resizer) -> Callable[[Host, Request], Host]:
    if resizer.mode.mode != "nearest":
        raise UnsupportedError(f"strings have no mode {resizer.mode.mode}")
    return resizer.strings


@table.specialized("Upsample", 7, attributes=("mode", "scales"), types=_STRING, host_only=True)
def upsample_7_strings(node: NodeInfo) -> Kernel:
    resizer, scales = _any_resizer(node, **_SIMPLE), node.attributes["scales"]
    resize = _strings(resizer)
    return lambda x: resize(x, resizer.request(x.shape, scales))


@table.specialized("Upsample", 7, attributes=("mode", "scales"))
def upsample_7(node: NodeInfo) -> Kernel:
    resizer, scales = _resizer(node, **_SIMPLE), node.attributes["scales"]
    return lambda x: resizer(x, resizer.request(x.shape, scales))


@table.specialized("Upsample", 9, attributes=("mode",), types=_STRING, host_only=True)
@table.specialized("Resize", 10, attributes=("mode",), types=_STRING, host_only=True)
def resize_10_strings(node: NodeInfo) -> Kernel:
    resizer = _any_resizer(node, **_SIMPLE)
    resize = _strings(resizer)
    return lambda x, scales: resize(x, resizer.request(x.shape, scales))


@table.specialized("Upsample", 9, host=(1,), attributes=("mode",))
@table.specialized("Resize", 10, host=(1,), attributes=("mode",))
def resize_10(node: NodeInfo) -> Kernel:
    resizer = _resizer(node, **_SIMPLE)
    return lambda x, scales: resizer(x, resizer.request(x.shape, scales))


@table.specialized(
    "Resize", 11, 13, 18, 19, attributes=_RESIZE, types={"T1": {"string"}}, host_only=True
)
def resize_strings(node: NodeInfo) -> Kernel:
    resizer = _any_resizer(node)
    resize = _strings(resizer)
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")

    def run(x: Host, roi: Any = None, scales: Any = None, sizes: Any = None) -> Host:
        return resize(x, resizer.request(x.shape, scales, sizes, roi, policy))

    return run


@table.specialized("Resize", 11, 13, 18, 19, host=(1, 2, 3), attributes=_RESIZE)
def resize(node: NodeInfo) -> Kernel:
    resizer = _resizer(node)
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")

    def run(x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
        return resizer(x, resizer.request(x.shape, scales, sizes, roi, policy))

    return run
