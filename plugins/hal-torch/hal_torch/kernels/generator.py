"""Tensors made of a shape, a range, or chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal.types import ElementType
from hal_torch.arrays import DTYPES, dtype_of
from hal_torch.kernels._integers import widest_float
from hal_torch.kernels._random import normal, uniform

__all__ = ["table"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]
Function = Callable[..., Any]

table = KernelTable()

_HALF = (torch.float16, torch.bfloat16)


def _dtype(node: NodeInfo) -> torch.dtype:
    """That of the output. Raises UnsupportedError where it is not known or no number's."""
    try:
        return dtype_of(node.output_types[0])
    except KeyError:
        raise UnsupportedError(f"output type {node.output_types[0]!r}") from None


@table.specialized("ConstantOfShape", 9, 20, 21, 23, 24, 25, attributes=("value",), host=(0,))
def constant_of_shape(node: NodeInfo) -> Function:
    """One value all over; 0.0 in float32 unless given."""
    value = node.attributes.get("value")
    if value is None:
        device = node.arrays.device
        return lambda shape: torch.zeros(tuple(shape.tolist()), device=device)
    single: Tensor = value.reshape(())
    return lambda shape: single.expand(tuple(shape.tolist())).contiguous()


@table.specialized("EyeLike", 9, 22, attributes=("dtype", "k"))
def eye_like(node: NodeInfo) -> Function:
    """Ones on the diagonal `k` of a matrix of the input's shape."""
    dtype = _dtype(node)
    k: int = node.attributes["k"]

    def run(x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError(f"EyeLike takes a matrix, got {x.dim()} dimensions")
        rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        columns = torch.arange(x.shape[1], device=x.device)
        return (columns - rows == k).to(dtype)

    return run


@table.specialized("Range", 11, 27, attributes=("stash_type",), host=(0, 1, 2))
def range_(node: NodeInfo) -> Function:
    """start + i * delta for max(ceil((limit - start) / delta), 0) elements; float16 and bfloat16
    through `stash_type`."""
    dtype, device = _dtype(node), node.arrays.device
    if dtype in _HALF:
        stash = node.attributes.get("stash_type", 1)
        if stash not in (1, 11):
            raise UnsupportedError(f"stash_type is {stash}, expected 1 (float) or 11 (double)")
        compute = DTYPES[ElementType(stash)]
    else:
        compute = widest_float(device) if dtype.is_floating_point else torch.int64

    def run(start: Host, limit: Host, delta: Host) -> Tensor:
        if dtype.is_floating_point:
            first, last, step = (float(v.reshape(())) for v in (start, limit, delta))
        else:
            first, last, step = (int(v.reshape(())) for v in (start, limit, delta))
        if step == 0:
            raise ValueError("Range with a delta of 0")
        gap = last - first
        count = -(-gap // step) if isinstance(gap, int) else math.ceil(gap / step)
        steps = torch.arange(max(count, 0), dtype=compute, device=device)
        return (steps * step + first).to(dtype)

    return run


def _drawn(node: NodeInfo) -> Callable[[Sequence[int]], Tensor]:
    """A function from a shape to random numbers of the node's distribution and type."""
    dtype, device = _dtype(node), node.arrays.device
    if not dtype.is_floating_point or dtype.itemsize < 2:
        raise UnsupportedError(f"random numbers of {dtype}")
    compute = torch.float32 if dtype in _HALF else dtype
    get = node.attributes.get
    if node.op_type.startswith("RandomNormal"):
        factor, offset = get("scale", 1.0), get("mean", 0.0)
        draw = normal(device, get("seed"))
    else:
        offset = get("low", 0.0)
        factor = get("high", 1.0) - offset
        draw = uniform(device, get("seed"))
    return lambda shape: (draw(shape, compute) * factor + offset).to(dtype)


def _random(node: NodeInfo) -> Function:
    draw, shape = _drawn(node), tuple(node.attributes["shape"])
    return lambda: draw(shape)


def _random_like(node: NodeInfo) -> Function:
    draw = _drawn(node)
    return lambda x: draw(x.shape)


for _name, _own in (("RandomNormal", ("mean", "scale")), ("RandomUniform", ("low", "high"))):
    _attributes = ("dtype", "seed", *_own)
    table.specialized(_name, 1, 22, attributes=(*_attributes, "shape"), deterministic=False)(
        _random
    )
    table.specialized(f"{_name}Like", 1, 22, attributes=_attributes, deterministic=False)(
        _random_like
    )


@table.specialized("Bernoulli", 15, 22, attributes=("dtype", "seed"), deterministic=False)
def bernoulli(node: NodeInfo) -> Function:
    """One with the probability that the input gives."""
    dtype = _dtype(node)
    draw = uniform(node.arrays.device, node.attributes.get("seed"))

    def run(x: Tensor) -> Tensor:
        compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        return (draw(x.shape, compute) < x).to(dtype)

    return run


@table.specialized(
    "Multinomial", 7, 22, attributes=("dtype", "seed", "sample_size"), deterministic=False
)
def multinomial(node: NodeInfo) -> Function:
    """Classes drawn with replacement, a row a distribution, of unnormalized log-probabilities: the
    first class at which the cumulative distribution passes a uniform number."""
    dtype, size = _dtype(node), node.attributes["sample_size"]
    draw = uniform(node.arrays.device, node.attributes.get("seed"))

    def run(x: Tensor) -> Tensor:
        compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        rising = torch.softmax(x.to(compute), -1).cumsum(-1)
        # The last sum may miss 1 by rounding, or stay level over classes of no probability.
        drawn = draw((x.shape[0], size), compute) * rising[:, -1:]
        return torch.searchsorted(rising, drawn, right=True).clamp(max=x.shape[1] - 1).to(dtype)

    return run
