"""How many operations an operator of products takes, for routing and for reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["product_operations"]

Shape = Sequence[int]


def product_operations(
    op_type: str, shapes: Sequence[Shape | None], outputs: float, *, group: int = 1
) -> tuple[str, float] | None:
    """The kind ("convolution", "grouped", "product") and the operations, two a multiply-add, of a
    node with inputs of these shapes, where known, and so many elements in its first output; None
    for an operator that is none of products.

    A convolution takes 2 * outputs * (channels of a group * kernel), a transposed one the same over
    its inputs; a matrix product 2 * outputs * inner; a recurrent layer 2 * weights * (steps *
    batch); attention 4 * queries * keys, over all of a query's numbers.
    """
    first = shapes[0] if shapes else None
    second = shapes[1] if len(shapes) > 1 else None
    if op_type in ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv") and second:
        transposed = op_type == "ConvTranspose" and first
        each = math.prod(first) if transposed and first else outputs
        return "grouped" if group > 1 else "convolution", 2.0 * each * math.prod(second[1:])
    if op_type in ("MatMul", "Gemm", "MatMulInteger", "FusedMatMul"):
        inner = first[-1] if first else (second[0] if second else 1)
        return "product", 2.0 * outputs * inner
    if op_type in ("LSTM", "GRU", "RNN") and first:
        weights = sum(math.prod(s) for s in shapes[1:3] if s)
        return "product", 2.0 * weights * math.prod(first[:2])
    if op_type in ("Attention", "MultiHeadAttention") and first and second:
        return "product", 4.0 * math.prod(first) * second[-2 if len(second) > 1 else -1]
    return None
