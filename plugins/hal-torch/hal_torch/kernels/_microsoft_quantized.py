"""Eight-bit operators of com.microsoft: what they take is dequantized, what they give quantized."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._integer_products import integer_matmul
from hal_torch.kernels._integers import widest_float
from hal_torch.kernels._microsoft_norm import DOMAIN
from hal_torch.kernels._pooling import max_pool, sum_pool, tap_counts
from hal_torch.kernels._window import WINDOW_ATTRIBUTES, Window
from hal_torch.kernels.quantization import qlinear_conv

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor

RANGES = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint4": (0, 15),
    "int4": (-8, 7),
}


def _real(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """A tensor quantized as a whole, as float."""
    wide = x.to(torch.float32)
    if zero is not None:
        wide = wide - zero.reshape(()).to(torch.float32)
    return wide * scale.reshape(())


def _quantized(y: Tensor, scale: Tensor, zero: Tensor | None, dtype: torch.dtype) -> Tensor:
    """y over the scale, to the nearest (ties to even), plus the zero point, saturated."""
    whole = torch.round(y / scale.reshape(()))
    if zero is not None:
        whole = whole + zero.reshape(()).to(torch.float32)
    limits = torch.iinfo(dtype)
    return whole.clamp(limits.min, limits.max).to(dtype)


Binary = Callable[[Tensor, Tensor], Tensor]


def _binary(function: Binary) -> Callable[..., Tensor]:
    def run(
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor | None,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor | None,
        c_scale: Tensor,
        c_zero: Tensor | None = None,
    ) -> Tensor:
        y = function(_real(a, a_scale, a_zero), _real(b, b_scale, b_zero))
        return _quantized(y, c_scale, c_zero, a.dtype)

    return run


table.kernel("QLinearAdd", 1, domain=DOMAIN)(_binary(torch.add))
table.kernel("QLinearMul", 1, domain=DOMAIN)(_binary(torch.mul))


@table.kernel("QLinearSigmoid", 1, domain=DOMAIN)
def qlinear_sigmoid(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    return _quantized(torch.sigmoid(_real(x, x_scale, x_zero)), y_scale, y_zero, x.dtype)


@table.kernel("QLinearLeakyRelu", 1, domain=DOMAIN)
def qlinear_leaky_relu(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Tensor:
    y = torch.nn.functional.leaky_relu(_real(x, x_scale, x_zero), alpha)
    return _quantized(y, y_scale, y_zero, x.dtype)


@table.kernel("QLinearSoftmax", 1, domain=DOMAIN)
def qlinear_softmax(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    opset: int,
    axis: int = -1,
) -> Tensor:
    """`opset` is that of the Softmax it stands for: before 13, all axes from `axis` on count."""
    real = _real(x, x_scale, x_zero)
    if opset >= 13:
        y = real.softmax(axis)
    else:
        first = axis % x.dim()
        y = real.flatten(first).softmax(-1).view(x.shape)
    return _quantized(y, y_scale, y_zero, x.dtype)


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous()


@table.kernel("QLinearGlobalAveragePool", 1, domain=DOMAIN)
def qlinear_global_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    channels_last: int = 0,
) -> Tensor:
    axes = list(range(1, x.dim() - 1)) if channels_last else list(range(2, x.dim()))
    y = _real(x, x_scale, x_zero).mean(axes, keepdim=True)
    return _quantized(y, y_scale, y_zero, x.dtype)


@table.specialized(
    "QLinearAveragePool",
    1,
    domain=DOMAIN,
    attributes=(*WINDOW_ATTRIBUTES, "ceil_mode", "channels_last", "count_include_pad"),
)
def qlinear_average_pool(node: NodeInfo) -> Callable[..., Tensor]:
    window = Window.of(node, node.attributes.get("kernel_shape") or ())
    last = bool(node.attributes.get("channels_last", 0))
    include = bool(node.attributes.get("count_include_pad", 0))

    def run(
        x: Tensor,
        x_scale: Tensor,
        x_zero: Tensor | None,
        y_scale: Tensor,
        y_zero: Tensor | None = None,
    ) -> Tensor:
        real = _real(x, x_scale, x_zero)
        real = _channels_first(real) if last else real
        taps = tap_counts(real.shape[2:], window, include)
        mean = sum_pool(real, window) / torch.as_tensor(taps, device=x.device)
        y = _quantized(mean, y_scale, y_zero, x.dtype)
        return _channels_last(y) if last else y

    return run


@table.specialized("NhwcMaxPool", 1, domain=DOMAIN, attributes=(*WINDOW_ATTRIBUTES, "ceil_mode"))
def nhwc_max_pool(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    window = Window.of(node, node.attributes.get("kernel_shape") or ())

    def run(x: Tensor) -> Tensor:
        wide = _channels_first(x).to(torch.float32)  # which torch pools on every device
        return _channels_last(max_pool(wide, window).to(x.dtype))

    return run


@table.kernel("QLinearConcat", 1, domain=DOMAIN, output_types=lambda node: (node.input_types[1],))
def qlinear_concat(y_scale: Tensor, y_zero: Tensor, *given: Tensor, axis: int) -> Tensor:
    parts = [_real(*given[i : i + 3]) for i in range(0, len(given), 3)]
    return _quantized(torch.cat(parts, axis), y_scale, y_zero, y_zero.dtype)


@table.kernel("QLinearWhere", 1, domain=DOMAIN, output_types=lambda node: (node.input_types[1],))
def qlinear_where(
    condition: Tensor,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    z_scale: Tensor,
    z_zero: Tensor,
) -> Tensor:
    chosen = torch.where(condition, _real(x, x_scale, x_zero), _real(y, y_scale, y_zero))
    return _quantized(chosen, z_scale, z_zero, x.dtype)


# Products


def _centred(x: Tensor, zero: Tensor | None) -> Tensor:
    """x minus a zero point for all, or one a column (with B's own batch axes), in int32."""
    wide = x.to(torch.int32)
    return wide if zero is None else wide - _spread(zero, x.dim()).to(torch.int32)


def _spread(value: Tensor, rank: int) -> Tensor:
    """A scale or zero point in a shape that broadcasts to a product of this rank."""
    if value.numel() == 1:
        return value.reshape(())
    return value.unsqueeze(-2) if 1 < value.dim() < rank else value


def _gemm_type(node: NodeInfo) -> Sequence[str]:
    quantized = len(node.input_types) > 8 and node.input_types[8]
    return (node.input_types[8] if quantized else node.input_types[1],)


@table.specialized(
    "QGemm",
    1,
    domain=DOMAIN,
    attributes=("alpha", "transA", "transB"),
    output_types=_gemm_type,
)
def qgemm(node: NodeInfo) -> Callable[..., Tensor]:
    """The exact product plus C, scaled; quantized if the output's scale is given."""
    get = node.attributes.get
    alpha, turn_a, turn_b = float(get("alpha", 1.0)), get("transA", 0), get("transB", 0)
    wide = widest_float(node.arrays.device)

    def run(
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor,
        c: Tensor | None = None,
        y_scale: Tensor | None = None,
        y_zero: Tensor | None = None,
    ) -> Tensor:
        a, b = a.T if turn_a else a, b.T if turn_b else b
        total = integer_matmul(_centred(a, a_zero), _centred(b, b_zero), wide)
        if c is not None:
            total = total + c
        real = total.to(torch.float32) * (_spread(a_scale, 2) * _spread(b_scale, 2) * alpha)
        if y_scale is None:
            return real
        return _quantized(real, y_scale, y_zero, a.dtype if y_zero is None else y_zero.dtype)

    return run


@table.specialized(
    "MatMulIntegerToFloat", 1, domain=DOMAIN, output_types=lambda node: (node.input_types[2],)
)
def matmul_integer_to_float(node: NodeInfo) -> Callable[..., Tensor]:
    wide = widest_float(node.arrays.device)

    def run(
        a: Tensor,
        b: Tensor,
        a_scale: Tensor,
        b_scale: Tensor,
        a_zero: Tensor | None = None,
        b_zero: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        total = integer_matmul(_centred(a, a_zero), _centred(b, b_zero), wide).to(torch.float32)
        y = total * (_spread(a_scale, total.dim()) * _spread(b_scale, total.dim()))
        return (y if bias is None else y + bias).to(a_scale.dtype)

    return run


@table.specialized("DynamicQuantizeMatMul", 1, domain=DOMAIN)
def dynamic_quantize_matmul(node: NodeInfo) -> Callable[..., Tensor]:
    """A is quantized to uint8 as DynamicQuantizeLinear does."""
    wide = widest_float(node.arrays.device)

    def run(
        a: Tensor,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        low = a.amin().clamp(max=0) if a.numel() else a.new_zeros(())
        high = a.amax().clamp(min=0) if a.numel() else a.new_zeros(())
        scale = (high - low) / 255
        scale = torch.where(scale == 0, 1, scale)
        zero = torch.round(-low / scale).clamp(0, 255)
        numbers = (torch.round(a / scale) + zero).clamp(0, 255) - zero
        total = integer_matmul(numbers, _centred(b, b_zero), wide).to(torch.float32)
        y = total * (scale * _spread(b_scale, total.dim()))
        return y if bias is None else y + bias

    return run


@table.specialized(
    "QLinearConv",
    1,
    domain=DOMAIN,
    attributes=(*WINDOW_ATTRIBUTES, "channels_last", "group"),
    output_types=lambda node: (node.input_types[7],),
)
def microsoft_qlinear_conv(node: NodeInfo) -> Callable[..., Tensor]:
    """QLinearConv, with the channels of x and y in the last place if `channels_last`."""
    attributes = {"group": 1, "auto_pad": "NOTSET", **node.attributes}
    last = bool(attributes.pop("channels_last", 0))
    convolve = qlinear_conv(dataclasses.replace(node, attributes=attributes))

    def run(x: Tensor, *given: Tensor) -> Tensor:
        y: Tensor = convolve(_channels_first(x) if last else x, *given)
        return _channels_last(y) if last else y

    return run


# Quantization itself


def _along(value: Tensor, x: Tensor, axis: int | None) -> Tensor:
    if value.numel() == 1:
        return value.reshape(())
    shape = [1] * x.dim()
    shape[1 if axis is None else axis] = value.numel()
    return value.reshape(shape)


def _quantized_type(node: NodeInfo) -> Sequence[str]:
    given = node.input_types[2:3]
    return given if given and given[0] else ("tensor(uint8)",)


@table.specialized(
    "QuantizeLinear", 1, domain=DOMAIN, attributes=("axis",), output_types=_quantized_type
)
def quantize_linear(node: NodeInfo) -> Callable[..., Tensor]:
    axis: int | None = node.attributes.get("axis")
    (type_,) = _quantized_type(node)
    name = type_.removeprefix("tensor(").removesuffix(")")
    if name not in RANGES:
        raise UnsupportedError(f"it quantizes to none of {', '.join(RANGES)}, but {type_}")
    low, high = RANGES[name]

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        whole = torch.round(x.to(torch.float32) / _along(scale, x, axis))
        if zero is not None:
            whole = whole + _along(zero.to(torch.float32), x, axis)
        clamped = whole.clamp(low, high)
        return clamped.to(torch.int32).to(dtype_of(type_))

    return run


@table.specialized(
    "DequantizeLinear",
    1,
    domain=DOMAIN,
    attributes=("axis",),
    output_types=lambda node: (node.input_types[1],),
)
def dequantize_linear(node: NodeInfo) -> Callable[..., Any]:
    axis: int | None = node.attributes.get("axis")

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        wide = x.to(torch.int64)
        if zero is not None:
            wide = wide - _along(zero.to(torch.int64), x, axis)
        real = wide.to(torch.float32) * _along(scale.to(torch.float32), x, axis)
        return real.to(scale.dtype)

    return run
