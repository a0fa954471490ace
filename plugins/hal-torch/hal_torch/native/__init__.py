"""Operators in C++ for `mode="compile"`, made by the compiler that TorchInductor needs anyway."""

from __future__ import annotations

import functools
import logging
import threading
from pathlib import Path
from typing import Any

import torch

__all__ = ["Native", "native"]

Tensor = torch.Tensor
_log = logging.getLogger(__name__)
_SOURCE = Path(__file__).with_name("small.cpp")


class Native:
    """The operators of `small.cpp`: `pack` and `padded` lay out constants, the others go into a
    graph."""

    def __init__(self) -> None:
        ops: Any = torch.ops.hal_torch_small
        self.width = int(ops.width())
        """Floats of a vector: `depthwise` takes as many channels or more."""
        self.pack = ops.pack.default
        self.product = ops.product.default
        self.pointwise = ops.pointwise.default
        self.depthwise = ops.depthwise.default

    def padded(self, bias: Tensor | None, groups: int, columns: int) -> Tensor:
        """A bias, or none, as `product` and `pointwise` take it: whole vectors for each group."""
        made = torch.zeros(groups, -(-columns // self.width) * self.width)
        if bias is not None:
            made[:, :columns] = bias.reshape(groups, columns)
        return made


def native() -> Native | None:
    """The operators; None where they cannot be made. The first call on a machine takes as long as
    a C++ compiler needs (14 s), later ones find its work in TorchInductor's cache."""
    with _LOCK:
        return _made()


_LOCK = threading.Lock()


@functools.cache
def _made() -> Native | None:
    try:
        from torch._inductor.codecache import CppCodeCache

        # Products are sums of fused multiplications; TorchInductor's own flags forbid these.
        source = _SOURCE.read_text(encoding="utf-8")
        _KEPT.append(
            CppCodeCache.load(source, extra_flags=("-ffp-contract=fast",), needs_vec_isa=True)
        )
        _describe()
        return Native()
    except Exception as error:  # noqa: BLE001 (no compiler, or another torch: PyTorch's own remain)
        _log.info("no operators in C++: %s: %s", type(error).__name__, error)
        return None


_KEPT: list[Any] = []
"""An operator is gone with its library."""


def _describe() -> None:
    """What a trace knows of the operators."""
    last = torch.channels_last

    def product(x: Tensor, weight: Tensor, bias: Tensor, columns: int) -> Tensor:
        return x.new_empty((*x.shape[:-1], columns))

    def pointwise(
        x: Tensor, weight: Tensor, bias: Tensor, other: Any, columns: int, low: float, high: float
    ) -> Tensor:
        shape = (x.shape[0], weight.shape[0] * columns, *x.shape[2:])
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=last)

    def depthwise(
        x: Tensor, weight: Tensor, bias: Tensor, window: list[int], low: float, high: float
    ) -> Tensor:
        shape = (*x.shape[:2], *window[:2])
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=last)

    for function in (product, pointwise, depthwise):
        torch.library.register_fake(f"hal_torch_small::{function.__name__}", function)
