"""Operators of com.microsoft that exported, fused and quantised models use, and the two that
onnxruntime's optimizer puts in ai.onnx's own domain.

They have no schema in the standard; onnxruntime's own operator documentation defines them, and the
tests compare with it. A version is the operator set of com.microsoft, which is 1.
"""

from __future__ import annotations

from hal.kernels import KernelTable
from hal_torch.kernels import (
    _microsoft_attention,
    _microsoft_dequantized,
    _microsoft_fused,
    _microsoft_gqa,
    _microsoft_nbits,
    _microsoft_norm,
    _microsoft_quantized,
)

__all__ = ["table"]

table = KernelTable()
for _part in (
    _microsoft_fused,
    _microsoft_norm,
    _microsoft_quantized,
    _microsoft_nbits,
    _microsoft_dequantized,
    _microsoft_attention,
    _microsoft_gqa,
):
    table.update(_part.table)
