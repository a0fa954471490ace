"""Vision: GridSample, AffineGrid, RoiAlign, NonMaxSuppression, ImageDecoder."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._boxes import select_boxes
from hal_torch.kernels._grid import grid_sample
from hal_torch.kernels._integers import signed_view, widest_float
from hal_torch.kernels._roi import roi_align
from hal_torch.kernels._saturate import rounded
from hal_torch.kernels._window import widened

__all__ = ["table"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]
Kernel = Callable[..., Any]
table = KernelTable()

_MODES = {
    "bilinear": "linear",
    "linear": "linear",
    "nearest": "nearest",
    "bicubic": "cubic",
    "cubic": "cubic",
}
_PADDING = ("zeros", "border", "reflection")
_GRID_SAMPLE = ("align_corners", "mode", "padding_mode")


def _sampling(node: NodeInfo) -> tuple[str, str, bool]:
    """The mode, the padding and whether corners are aligned. Raises UnsupportedError."""
    mode, padding = node.attributes["mode"], node.attributes["padding_mode"]
    if mode not in _MODES:
        raise UnsupportedError(f"mode is {mode!r}")
    if padding not in _PADDING:
        raise UnsupportedError(f"padding_mode is {padding!r}")
    return _MODES[mode], padding, bool(node.attributes["align_corners"])


@table.specialized(
    "GridSample",
    16,
    20,
    22,
    types={"T1": {"string"}},
    host_only=True,
    attributes=_GRID_SAMPLE,
)
def grid_sample_strings(node: NodeInfo) -> Kernel:
    """Strings have neighbours but no weights; outside the image they are empty."""
    mode, padding, align = _sampling(node)
    if mode != "nearest":
        raise UnsupportedError(f"strings have no mode {mode}")

    def run(x: Host, grid: Host) -> Host:
        places = torch.arange(1, x.size + 1).reshape(x.shape)
        picked = grid_sample(
            places, torch.from_numpy(grid.astype(np.float64)), mode, padding, align
        )
        strings: Host = np.append(np.array([""], dtype=object), x.reshape(-1))
        return np.asarray(strings[picked.numpy()])

    return run


@table.specialized("GridSample", 16, 20, 22, attributes=_GRID_SAMPLE)
def grid_sample_kernel(node: NodeInfo) -> Kernel:
    mode, padding, align = _sampling(node)
    if node.input_types[0] == "tensor(string)":
        raise UnsupportedError("strings are sampled on the host")
    torch_mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)

    def is_torchs(rank: int) -> bool:
        """Whether torch's own operator does just this."""
        if mode == "cubic":
            return rank == 2
        return rank in (2, 3) and (mode == "linear" or padding != "reflection")

    def run(x: Tensor, grid: Tensor) -> Tensor:
        dtype = x.dtype
        if mode == "nearest" and not dtype.is_floating_point:
            at = widened(grid)
            return grid_sample(signed_view(x), at, mode, padding, align).view(dtype)
        if dtype.is_floating_point:
            image = widened(x)
        else:
            image = x if dtype.is_complex else x.to(widest_float(x.device))
        real = image.real.dtype if dtype.is_complex else image.dtype
        grid = grid.to(real)
        if not dtype.is_complex and is_torchs(x.dim() - 2) and image.numel():
            made = F.grid_sample(image, grid, torch_mode, padding, align)
        else:
            made = grid_sample(image, grid, mode, padding, align)
        if dtype.is_floating_point or dtype.is_complex:
            return made.to(dtype)
        return rounded(made.trunc(), dtype)

    return run


@table.kernel("AffineGrid", 20, host=(1,))
def affine_grid(theta: Tensor, size: Any, *, align_corners: int = 0) -> Tensor:
    sizes = [int(n) for n in np.asarray(size).reshape(-1)]
    if 0 in sizes:  # which PyTorch refuses
        return theta.new_zeros((sizes[0], *sizes[2:], len(sizes) - 2))
    return F.affine_grid(widened(theta), sizes, bool(align_corners)).to(theta.dtype)


@table.specialized(
    "RoiAlign",
    10,
    16,
    22,
    attributes=(
        "coordinate_transformation_mode",
        "mode",
        "output_height",
        "output_width",
        "sampling_ratio",
        "spatial_scale",
    ),
)
def roi_align_kernel(node: NodeInfo) -> Kernel:
    """Before version 16 there is no shift by half a pixel."""
    given = node.attributes
    shift = given.get("coordinate_transformation_mode", "output_half_pixel").lower()
    mode = given["mode"].lower()
    if shift not in ("half_pixel", "output_half_pixel"):
        raise UnsupportedError(f"coordinate_transformation_mode is {shift!r}")
    if mode not in ("avg", "max"):
        raise UnsupportedError(f"mode is {mode!r}")
    size = (given["output_height"], given["output_width"])

    def run(x: Tensor, rois: Tensor, batch_indices: Tensor) -> Tensor:
        return roi_align(
            x,
            rois,
            batch_indices,
            size,
            scale=given["spatial_scale"],
            samples=given["sampling_ratio"],
            half_pixel=shift == "half_pixel",
            take_max=mode == "max",
        )

    return run


@table.kernel("NonMaxSuppression", 10, 11, host=(2, 3, 4))
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Any = None,
    iou_threshold: Any = None,
    score_threshold: Any = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    def scalar(value: Any) -> float:
        return float(np.asarray(value).reshape(-1)[0])

    most = 0 if max_output_boxes_per_class is None else scalar(max_output_boxes_per_class)
    return select_boxes(
        boxes,
        scores,
        int(most),
        0.0 if iou_threshold is None else scalar(iou_threshold),
        None if score_threshold is None else scalar(score_threshold),
        bool(center_point_box),
    )


@table.specialized("ImageDecoder", 20, host_only=True, attributes=("pixel_format",))
def image_decoder(node: NodeInfo) -> Kernel:
    """Decodes with Pillow. What cannot be decoded becomes an image without pixels, as the standard
    wants it."""
    pixel_format = node.attributes["pixel_format"]
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise UnsupportedError(f"pixel_format is {pixel_format!r}")
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError(
            "decoding images needs Pillow, which is not installed", next_step="pip install pillow"
        ) from None

    def run(encoded: Host) -> Host:
        channels = 1 if pixel_format == "Grayscale" else 3
        try:
            with Image.open(io.BytesIO(encoded.tobytes())) as image:
                pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        # What Pillow's decoders raise for bytes that are no image, a broken one, or one too large.
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return np.zeros((0, 0, channels), dtype=np.uint8)
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        return np.ascontiguousarray(pixels[:, :, ::-1] if pixel_format == "BGR" else pixels)

    return run
