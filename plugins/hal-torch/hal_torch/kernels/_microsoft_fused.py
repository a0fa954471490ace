"""Activations, matrix products, convolutions and small things of com.microsoft."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._microsoft_norm import DOMAIN
from hal_torch.kernels._moving import CARRIERS
from hal_torch.kernels._window import WINDOW_ATTRIBUTES, widened
from hal_torch.kernels.conv import conv

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor


# Activations


@table.kernel("Gelu", 1, domain=DOMAIN)
def gelu(x: Tensor) -> Tensor:
    return F.gelu(x)


@table.kernel("BiasGelu", 1, domain=DOMAIN)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(widened(x) + bias).to(x.dtype)


@table.kernel("FastGelu", 1, domain=DOMAIN)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    own = x if bias is None else widened(x) + bias
    return F.gelu(own, approximate="tanh").to(x.dtype)


@table.kernel("QuickGelu", 1, domain=DOMAIN)
def quick_gelu(x: Tensor, *, alpha: float = 1.7020000219345093) -> Tensor:
    own = widened(x)
    return (own * torch.sigmoid(own * alpha)).to(x.dtype)


@table.kernel("BiasSplitGelu", 1, domain=DOMAIN)
def bias_split_gelu(x: Tensor, bias: Tensor) -> Tensor:
    left, right = (widened(x) + bias).chunk(2, -1)
    return (left * F.gelu(right)).to(x.dtype)


@table.kernel("BiasAdd", 1, domain=DOMAIN)
def bias_add(x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    return (widened(x) + bias + skip).to(x.dtype)


def _activation(name: str, params: list[float]) -> Callable[[Tensor], Tensor]:
    """An activation by its ONNX name, with its own parameters in the standard's order."""

    def given(index: int, default: float) -> float:
        return params[index] if index < len(params) else default

    a, b = given(0, 0.0), given(1, 0.0)
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda y: y,
        "Relu": torch.relu,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "Softplus": F.softplus,
        "Softsign": F.softsign,
        "LeakyRelu": lambda y: F.leaky_relu(y, given(0, 0.01)),
        "Elu": lambda y: F.elu(y, given(0, 1.0)),
        "ThresholdedRelu": lambda y: torch.where(y > given(0, 1.0), y, 0),
        "HardSigmoid": lambda y: torch.clamp(y * given(0, 0.2) + given(1, 0.5), 0, 1),
        "Clip": lambda y: y.clamp(a, b),
    }
    if name not in known:
        raise UnsupportedError(f"activation {name!r} is none of {', '.join(filter(None, known))}")
    if name == "Clip" and len(params) < 2:
        raise UnsupportedError("the activation Clip needs its two limits")
    return known[name]


# Matrix products

TURNS = ("alpha", "transA", "transB", "transBatchA", "transBatchB")


def _turned(x: Tensor, trans: bool, batch: bool) -> Tensor:
    if batch and x.dim() > 2:
        x = x.movedim(0, -2)
    return x.transpose(-1, -2) if trans and x.dim() > 1 else x


@table.specialized("FusedMatMul", 1, domain=DOMAIN, attributes=TURNS)
@table.specialized("TransposeMatMul", 1, domain=DOMAIN, attributes=TURNS[:3])
def fused_matmul(node: NodeInfo) -> Callable[[Tensor, Tensor], Tensor]:
    get = node.attributes.get
    alpha = float(get("alpha", 1.0))
    turn_a, turn_b = bool(get("transA", 0)), bool(get("transB", 0))
    batch_a, batch_b = bool(get("transBatchA", 0)), bool(get("transBatchB", 0))

    def run(a: Tensor, b: Tensor) -> Tensor:
        y = torch.matmul(_turned(a, turn_a, batch_a), _turned(b, turn_b, batch_b))
        return y if alpha == 1 else y * alpha

    return run


@table.specialized(
    "FusedGemm",
    1,
    domain=DOMAIN,
    types={"float", "float16", "double"},
    attributes=(
        "activation",
        "activation_alpha",
        "activation_beta",
        "activation_gamma",
        "alpha",
        "beta",
        "transA",
        "transB",
    ),
)
def fused_gemm(node: NodeInfo) -> Callable[..., Tensor]:
    get = node.attributes.get
    named = [get(f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    params = [float(value) for value in named if value is not None]
    activation = _activation(str(get("activation", "")), params)
    alpha, beta = float(get("alpha", 1.0)), float(get("beta", 1.0))
    turn_a, turn_b = bool(get("transA", 0)), bool(get("transB", 0))

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if turn_a else a, b.T if turn_b else b
        y = a @ b * alpha if c is None else torch.addmm(c, a, b, alpha=alpha, beta=beta)
        return activation(y)

    return run


@table.specialized(
    "FusedConv",
    1,
    domain=DOMAIN,
    attributes=(*WINDOW_ATTRIBUTES, "group", "activation", "activation_params"),
)
def fused_conv(node: NodeInfo) -> Callable[..., Tensor]:
    """Conv, then the residual Z is added, then the activation."""
    attributes = {"group": 1, "auto_pad": "NOTSET", **node.attributes}
    params = [float(p) for p in attributes.pop("activation_params", ())]
    activation = _activation(str(attributes.pop("activation", "")), params)
    convolve = conv(dataclasses.replace(node, attributes=attributes))

    def run(x: Tensor, w: Tensor, b: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        y = convolve(x, w) if b is None else convolve(x, w, b)
        return activation(y if z is None else y + z)

    return run


# Others


@table.kernel("Inverse", 1, domain=DOMAIN)
def inverse(x: Tensor) -> Tensor:
    found: Tensor = torch.linalg.inv(widened(x))
    return found.to(x.dtype)


@table.kernel("Trilu", 1, domain=DOMAIN, host=(1,))
def trilu(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k.reshape(-1)[0])
    bits = x.view(CARRIERS.get(x.dtype, x.dtype))
    return (bits.triu(diagonal) if upper else bits.tril(diagonal)).view(x.dtype)


@table.kernel(
    "Unique",
    1,
    domain=DOMAIN,
    types={"float", "double", "int32", "int64", "int8", "uint8"},
    output_types=lambda node: (node.input_types[0], "tensor(int64)", "tensor(int64)"),
)
def unique(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct elements in the order of their first occurrence."""
    values, inverse_, counts = torch.unique(x, return_inverse=True, return_counts=True)
    places = torch.arange(len(x), device=x.device)
    first = torch.full_like(counts, len(x)).scatter_reduce_(0, inverse_, places, "amin")
    order = first.argsort()
    return values[order], order.argsort()[inverse_], counts[order]
