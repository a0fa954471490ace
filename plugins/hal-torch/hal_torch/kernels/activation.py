"""Activation functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._integers import SIGNED, always, widest_float

__all__ = ["softmax", "table"]

Tensor = torch.Tensor
Function = Callable[..., Any]

table = KernelTable()

_HALF = (torch.float16, torch.bfloat16)
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)

_UNARY: tuple[tuple[str, tuple[int, ...], Function], ...] = (
    ("Relu", (6, 13, 14), torch.relu),
    ("Sigmoid", (6, 13), torch.sigmoid),
    ("Tanh", (6, 13), torch.tanh),
    ("Softsign", (1, 22), F.softsign),
    ("HardSwish", (14, 22), F.hardswish),
    ("Mish", (18, 22), F.mish),
)
for _name, _versions, _function in _UNARY:
    table.specialized(_name, *_versions)(always(_function))


def _once(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Several steps on half precision are taken in float32, and rounded once."""

    @functools.wraps(function)
    def run(x: Tensor, *rest: Tensor, **attributes: Any) -> Tensor:
        if x.dtype in _HALF:
            wide = [r.to(torch.float32) for r in rest]
            return function(x.to(torch.float32), *wide, **attributes).to(x.dtype)
        return function(x, *rest, **attributes)

    return run


@table.kernel("Softplus", 1, 22)
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); beyond 40 that is x to the last bit of float64."""
    return F.softplus(x, 1.0, 40.0)


@table.specialized("LeakyRelu", 6, 16, attributes=("alpha",))
def leaky_relu(node: NodeInfo) -> Function:
    """`alpha` times what is negative."""
    alpha = node.attributes["alpha"]
    return lambda x: F.leaky_relu(x, alpha)


@table.specialized("Elu", 6, 22, attributes=("alpha",))
def elu(node: NodeInfo) -> Function:
    """alpha * (exp(x) - 1) of what is negative."""
    alpha = node.attributes["alpha"]
    return lambda x: F.elu(x, alpha)


@table.specialized("Celu", 12, 28, attributes=("alpha",))
def celu(node: NodeInfo) -> Function:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    alpha = node.attributes["alpha"]
    return lambda x: F.celu(x, alpha)


@table.specialized("Selu", 6, 22, attributes=("alpha", "gamma"))
def selu(node: NodeInfo) -> Function:
    """torch's own where the parameters are the usual ones, but not in float64: the standard's
    default is the float32 nearest to the constant that torch has."""
    alpha, gamma = node.attributes["alpha"], node.attributes["gamma"]
    usual = all(
        math.isclose(a, b, rel_tol=1e-7) for a, b in zip((alpha, gamma), _SELU, strict=True)
    )
    if usual and node.input_types[0] != "tensor(double)":
        return F.selu
    return _once(lambda x: F.elu(x, alpha) * gamma)


@table.specialized("Gelu", 20, attributes=("approximate",))
def gelu(node: NodeInfo) -> Function:
    """By erf, or its approximation by tanh."""
    approximate = node.attributes["approximate"]
    if approximate not in ("none", "tanh"):
        raise UnsupportedError(f"approximate is {approximate!r}, expected 'none' or 'tanh'")
    return lambda x: F.gelu(x, approximate=approximate)


@table.specialized("HardSigmoid", 6, 22, attributes=("alpha", "beta"))
def hard_sigmoid(node: NodeInfo) -> Function:
    """alpha * x + beta between 0 and 1."""
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    if beta == 0.5 and math.isclose(alpha, 1 / 6, rel_tol=1e-7):
        return F.hardsigmoid
    return _once(lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0))


@table.kernel("ThresholdedRelu", 10, 22)
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """x above `alpha`, else 0."""
    return torch.where(x > alpha, x, 0.0)


@table.specialized("PRelu", 7, 9, 16)
def prelu(node: NodeInfo) -> Function:
    """torch's own where the slope is one a channel, and known."""
    slope = node.constants[1]
    floats = node.input_types[0] in ("tensor(float)", "tensor(double)")
    if floats and slope is not None and slope.dim() and slope.numel() == slope.shape[0]:
        rank, weight = slope.dim() + 1, slope.reshape(-1)

        def run(x: Tensor, slope: Tensor) -> Tensor:
            if x.dim() == rank and x.shape[1] == weight.shape[0]:
                return torch.prelu(x, weight)
            return _prelu(x, slope)

        return run
    return _prelu


@table.kernel("PRelu", 6)
def prelu_by_channel(x: Tensor, slope: Tensor) -> Tensor:
    """A slope a channel, or one for all, before the operator broadcast."""
    channels = slope.numel() > 1 and x.dim() > 1
    return _prelu(x, slope.reshape([-1] + [1] * (x.dim() - 2)) if channels else slope.reshape(()))


@_once
def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    if x.dtype in SIGNED:
        return x  # nothing is below 0, and 0 times a slope is 0
    return torch.where(x > 0, x, x * slope)


@table.specialized("Shrink", 9, attributes=("bias", "lambd"))
def shrink(node: NodeInfo) -> Function:
    """Integers stay integers where the bias is whole; otherwise they go through floats."""
    bias, lambd = node.attributes["bias"], node.attributes["lambd"]
    widest = widest_float(node.arrays.device)

    @_once
    def of_floats(x: Tensor) -> Tensor:
        return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0.0))

    def run(x: Tensor) -> Tensor:
        if x.dtype.is_floating_point:
            return of_floats(x)
        if not (float(bias).is_integer() and x.dtype.is_signed):
            return of_floats(x.to(widest)).to(x.dtype)
        low, high, whole = math.ceil(-lambd), math.floor(lambd), int(bias)
        return torch.where(x < low, x + whole, torch.where(x > high, x - whole, 0))

    return run


@table.specialized("Swish", 24, attributes=("alpha",))
def swish(node: NodeInfo) -> Function:
    """x * sigmoid(alpha * x)."""
    alpha = node.attributes["alpha"]
    if alpha == 1.0:
        return F.silu
    return _once(lambda x: x * torch.sigmoid(x * alpha))


@table.specialized("SwiGLU", 28, attributes=("alpha",))
def swiglu(node: NodeInfo) -> Function:
    """swish(a) * b."""
    alpha = node.attributes["alpha"]
    if alpha == 1.0:
        return _once(lambda a, b: F.silu(a) * b)
    return _once(lambda a, b: a * torch.sigmoid(a * alpha) * b)


def softmax(x: Tensor, dim: int) -> Tensor:
    """Softmax along a dimension, rounded as ONNX's reference does: float16 on the CPU step by step,
    where torch would round once."""
    if x.dtype != torch.float16 or not x.is_cpu or not x.numel():
        return torch.softmax(x, dim)
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def _hardmax(x: Tensor, dim: int) -> Tensor:
    if not x.numel() or not x.dim():
        return torch.ones_like(x)
    return torch.zeros_like(x).scatter(dim, x.argmax(dim, keepdim=True), 1.0)


def _flattened(function: Function) -> Function:
    """Before version 13 all dimensions from `axis` on are one."""

    def specialized(node: NodeInfo) -> Function:
        axis = node.attributes["axis"]

        def run(x: Tensor) -> Tensor:
            at = axis + x.dim() if axis < 0 else axis
            if at == x.dim() - 1:
                plain: Tensor = function(x, -1)
                return plain
            rows = math.prod(x.shape[:at])
            columns = math.prod(x.shape[at:])
            found: Tensor = function(x.reshape(rows, columns), -1)
            return found.reshape(x.shape)

        return run

    return specialized


def _along(function: Function) -> Function:
    def specialized(node: NodeInfo) -> Function:
        axis = node.attributes["axis"]
        return lambda x: function(x, axis)

    return specialized


_ALONG_AN_AXIS: tuple[tuple[str, Function], ...] = (
    ("Softmax", softmax),
    ("LogSoftmax", torch.log_softmax),
    ("Hardmax", _hardmax),
)
for _name, _function in _ALONG_AN_AXIS:
    table.specialized(_name, 1, 11, attributes=("axis",))(_flattened(_function))
    table.specialized(_name, 13, attributes=("axis",))(_along(_function))
