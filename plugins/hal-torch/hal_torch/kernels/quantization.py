"""Quantization, its inverse, and products of quantized tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal.types import ElementType
from hal_torch.arrays import DTYPES, FLOAT_TABLES
from hal_torch.kernels._integer_products import Convolution, integer_matmul
from hal_torch.kernels._integers import widest_float
from hal_torch.kernels._narrow import FLOAT8, float_values, narrowed

__all__ = ["INTEGER_RANGES", "table"]

Tensor = torch.Tensor
Function = Callable[..., Any]
E = ElementType

table = KernelTable()

INTEGER_RANGES: dict[ElementType, tuple[int, int]] = {
    E.UINT8: (0, 255),
    E.INT8: (-128, 127),
    E.UINT16: (0, 65535),
    E.INT16: (-32768, 32767),
    E.UINT4: (0, 15),
    E.INT4: (-8, 7),
    E.UINT2: (0, 3),
    E.INT2: (-2, 1),
}
"""The integers that a tensor is quantized to."""


def _element_type(type_: str) -> ElementType:
    try:
        return E.from_onnx_name(type_.removeprefix("tensor(").removesuffix(")"))
    except KeyError:
        raise UnsupportedError(f"the type {type_!r} is not known at compile") from None


@dataclasses.dataclass(frozen=True)
class _Granularity:
    """How scales and zero points lie over a tensor: one for all, one a slice, or one a block."""

    axis: int
    block: int

    def spread(self, value: Tensor, x: Tensor) -> Tensor:
        """The values in a shape that broadcasts to that of `x`."""
        if value.numel() == 1:
            return value.reshape(())
        if not self.block:
            shape = [1] * x.dim()
            shape[self.axis] = value.shape[0]
            return value.reshape(shape)
        length = x.shape[self.axis]
        return value.repeat_interleave(self.block, self.axis).narrow(self.axis, 0, length)


def _granularity(node: NodeInfo) -> _Granularity:
    return _Granularity(
        node.attributes.get("axis", 1), max(0, node.attributes.get("block_size") or 0)
    )


def _saturated(whole: Tensor, zero_point: Tensor | None, to: ElementType) -> Tensor:
    """Rounded quotients plus the zero point, within the range of an integer type."""
    if zero_point is not None:
        whole = whole + zero_point
    low, high = INTEGER_RANGES[to]
    clamped = whole.clamp(low, high)
    if to is E.UINT16:
        return clamped.to(torch.int32).to(torch.uint16)
    return clamped.to(DTYPES[to])


def _quantized(quotient: Tensor, zero_point: Tensor | None, to: ElementType, sat: bool) -> Tensor:
    wide = quotient.to(torch.float32) if quotient.dtype.itemsize < 4 else quotient
    zero = None if zero_point is None else zero_point.to(wide.dtype)
    if to in INTEGER_RANGES:
        return _saturated(torch.round(wide), zero, to)
    return narrowed(wide if zero is None else wide + zero, to, DTYPES[to], saturate=sat)


def _zero(constant: Any) -> bool:
    """Whether a zero point is known to do nothing."""
    return constant is not None and not bool(float_values(constant).to(torch.int32).any())


@table.specialized(
    "QuantizeLinear",
    *(10, 13, 19, 21, 23, 24, 25, 28),
    attributes=("axis", "saturate", "block_size", "output_dtype", "precision"),
)
def quantize_linear(node: NodeInfo) -> Function:
    """The quotient is taken in `precision`, else in the scale's type (float32 for the scales that
    are no such type: int32 and float8e8m0); halves are rounded to even before the zero point."""
    to = _element_type(node.output_types[0])
    if to not in INTEGER_RANGES and to not in FLOAT8 and to not in FLOAT_TABLES:
        raise UnsupportedError(f"quantization to {to.onnx_name}")
    precision = node.attributes.get("precision") or 0
    compute = torch.float32
    if precision:
        compute = DTYPES[E(precision)]
    elif node.input_types[1] in ("tensor(float16)", "tensor(bfloat16)"):
        compute = DTYPES[_element_type(node.input_types[1])]
    layout = _granularity(node)
    saturate = bool(node.attributes.get("saturate", 1))
    plain = len(node.constants) > 2 and _zero(node.constants[2])

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        divisor = layout.spread(float_values(scale), x).to(compute)
        zero = None
        if zero_point is not None and not plain:
            zero = layout.spread(float_values(zero_point), x)
        return _quantized(x.to(compute) / divisor, zero, to, saturate)

    return run


@table.specialized(
    "DequantizeLinear",
    *(10, 13, 19, 21, 23, 24, 25, 28),
    attributes=("axis", "block_size", "output_dtype"),
)
def dequantize_linear(node: NodeInfo) -> Function:
    """(x - zero point) * scale in float32, rounded once to the output's type."""
    dtype = DTYPES[_element_type(node.output_types[0])]
    whole = node.input_types[0] == "tensor(int32)"
    layout = _granularity(node)
    plain = len(node.constants) > 2 and _zero(node.constants[2])

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        values = x if whole else x.to(torch.float32)
        if zero_point is not None and not plain:
            zero = layout.spread(zero_point if whole else zero_point.to(torch.float32), x)
            values = values - zero
        factor = layout.spread(scale.to(torch.float32), x)
        return (values.to(torch.float32) * factor).to(dtype)

    return run


@table.kernel("DynamicQuantizeLinear", 11)
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 over the range of the values and 0; the scale of a tensor of zeros is 1 / 255."""
    if x.numel():
        low, high = torch.aminmax(x)
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    else:
        low = high = torch.zeros((), dtype=x.dtype, device=x.device)
    span = high - low
    scale = torch.where(span == 0, 1.0, span) / 255.0
    zero = torch.round((-low / scale).clamp(0.0, 255.0))
    y = _saturated(torch.round(x / scale), zero, E.UINT8)
    return y, scale, zero.to(torch.uint8)


def _centred(x: Tensor, zero_point: Tensor | None, *, rows: bool = False) -> Tensor:
    """8-bit integers minus their zero point, which is one for all, or one a row or column."""
    values = x.to(torch.int16)
    if zero_point is None:
        return values
    zero = zero_point.to(torch.int16)
    if zero.numel() == 1:
        return values - zero.reshape(())
    return values - (zero.unsqueeze(-1) if rows and zero.dim() == 1 else zero)


@table.specialized("MatMulInteger", 10)
def matmul_integer(node: NodeInfo) -> Function:
    """Exact, in int32; zero points of `a` by row and of `b` by column."""
    wide = widest_float(node.arrays.device)

    def run(
        a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
    ) -> Tensor:
        return integer_matmul(_centred(a, a_zero, rows=True), _centred(b, b_zero), wide)

    return run


def _scales(scale: Tensor, *, rows: bool = False) -> Tensor:
    if scale.numel() == 1:
        return scale.reshape(())
    return scale.unsqueeze(-1) if rows and scale.dim() == 1 else scale


@table.specialized("QLinearMatMul", 10, 21)
def qlinear_matmul(node: NodeInfo) -> Function:
    """The exact product, scaled in the widest float of the device."""
    to = _element_type(node.output_types[0])
    small = _element_type(node.input_types[0]) in FLOAT8
    wide = widest_float(node.arrays.device)

    def run(
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor,
        y_scale: Tensor,
        y_zero: Tensor,
    ) -> Tensor:
        if small:
            left = float_values(a) - _scales(float_values(a_zero), rows=True)
            product = torch.matmul(left, float_values(b) - _scales(float_values(b_zero)))
        else:
            product = integer_matmul(_centred(a, a_zero, rows=True), _centred(b, b_zero), wide)
        factor = _scales(a_scale, rows=True).to(torch.float32) * _scales(b_scale).to(torch.float32)
        factor = factor / _scales(y_scale, rows=True).to(torch.float32)
        zero = _scales(float_values(y_zero), rows=True)
        return _quantized(product.to(wide) * factor.to(wide), zero, to, True)

    return run


_CONV = ("group", "pads", "strides", "dilations", "kernel_shape", "auto_pad")


def _by_channel(value: Tensor, rank: int, *, first: bool) -> Tensor:
    """A value an output channel, for weights (`first`) or for the result."""
    if value.numel() == 1:
        return value.reshape(())
    return value.reshape([-1] + [1] * (rank - (1 if first else 2)))


@table.specialized("ConvInteger", 10, attributes=_CONV)
def conv_integer(node: NodeInfo) -> Function:
    """Exact, in int32; what surrounds the input counts as its zero point."""
    convolution = Convolution(node)

    def run(
        x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
    ) -> Tensor:
        if w_zero is not None:
            w_zero = _by_channel(w_zero, w.dim(), first=True)
        return convolution(_centred(x, x_zero), _centred(w, w_zero))

    return run


@table.specialized("QLinearConv", 10, attributes=_CONV)
def qlinear_conv(node: NodeInfo) -> Function:
    """The exact convolution and bias, scaled in the widest float of the device."""
    convolution = Convolution(node)
    wide = widest_float(node.arrays.device)
    to = _element_type(node.output_types[0])

    def run(
        x: Tensor,
        x_scale: Tensor,
        x_zero: Tensor,
        w: Tensor,
        w_scale: Tensor,
        w_zero: Tensor,
        y_scale: Tensor,
        y_zero: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        rank = x.dim()
        centred = _centred(w, _by_channel(w_zero, rank, first=True))
        total = convolution(_centred(x, x_zero), centred)
        if bias is not None:
            total = total + bias.reshape([-1] + [1] * (rank - 2))
        factor = x_scale.reshape(()) * _by_channel(w_scale, rank, first=False)
        scaled = total.to(wide) * (factor / y_scale.reshape(())).to(wide)
        return _quantized(scaled, y_zero.reshape(()), to, True)

    return run
