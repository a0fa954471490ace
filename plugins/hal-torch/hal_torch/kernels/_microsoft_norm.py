"""Layer normalizations of com.microsoft, with the sums and embeddings fused into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._window import widened

__all__ = ["DOMAIN", "rms_norm", "table"]

table = KernelTable()
DOMAIN = "com.microsoft"
Tensor = torch.Tensor


def rms_norm(x: Tensor, scale: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x over its root mean square along the last axis, times the scale; and that root's inverse."""
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return x * inverse * scale, inverse


def _statistics(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return mean, torch.rsqrt(variance + epsilon)


def _with_float_statistics(node: NodeInfo) -> Sequence[str]:
    return (node.input_types[0], "tensor(float)", "tensor(float)", node.input_types[0])


@table.kernel("SkipLayerNormalization", 1, domain=DOMAIN, output_types=_with_float_statistics)
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    node: NodeInfo,
) -> tuple[Tensor, ...] | Tensor:
    total = widened(x) + skip
    if bias is not None:
        total = total + bias
    wide = None if beta is None else beta.to(total.dtype)
    y = F.layer_norm(total, total.shape[-1:], gamma.to(total.dtype), wide, epsilon).to(x.dtype)
    if node.outputs == 1:
        return y
    return y, *_statistics(total, epsilon), total.to(x.dtype)


@table.kernel(
    "SkipSimplifiedLayerNormalization", 1, domain=DOMAIN, output_types=_with_float_statistics
)
def skip_simplified_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    node: NodeInfo,
) -> tuple[Tensor, ...] | Tensor:
    total = widened(x) + skip
    if bias is not None:
        total = total + bias
    y, inverse = rms_norm(total, gamma, epsilon)
    y = y.to(x.dtype)
    if node.outputs == 1:
        return y
    return y, torch.zeros_like(inverse), inverse, total.to(x.dtype)


def _of_scale(node: NodeInfo) -> Sequence[str]:
    return (node.input_types[1], "tensor(float)", "tensor(float)")


@table.specialized(
    "SimplifiedLayerNormalization",
    1,
    attributes=("axis", "epsilon", "stash_type"),
    output_types=_of_scale,
)
@table.specialized(
    "SimplifiedLayerNormalization",
    1,
    domain=DOMAIN,
    attributes=("axis", "epsilon", "stash_type"),
    output_types=_of_scale,
)
def simplified_layer_normalization(
    node: NodeInfo,
) -> Callable[[Tensor, Tensor], tuple[Tensor, ...] | Tensor]:
    """onnxruntime's optimizer writes it in ai.onnx's domain, where the standard has none."""
    axis = int(node.attributes.get("axis", -1))
    epsilon = float(node.attributes.get("epsilon", 1e-5))

    def run(x: Tensor, scale: Tensor) -> tuple[Tensor, ...] | Tensor:
        first = axis % x.dim()
        own = widened(x)
        inverse = torch.rsqrt(
            own.square().mean(list(range(first, x.dim())), keepdim=True) + epsilon
        )
        y = (own * inverse * widened(scale)).to(scale.dtype)
        return y if node.outputs == 1 else (y, inverse.to(torch.float32))

    return run


@table.kernel("LayerNormalization", 1, output_types=_of_scale)
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    node: NodeInfo,
) -> tuple[Tensor, ...] | Tensor:
    """onnxruntime's own, in models of an opset below 17, where the standard has none."""
    first = axis % x.dim()
    shape = x.shape[first:]
    own = widened(x)
    bias = None if bias is None else widened(bias).reshape(shape)
    y = F.layer_norm(own, shape, widened(scale).reshape(shape), bias, epsilon).to(x.dtype)
    if node.outputs == 1:
        return y
    axes = list(range(first, x.dim()))
    variance, mean = torch.var_mean(own, axes, correction=0, keepdim=True)
    return y, mean.float(), torch.rsqrt(variance + epsilon).float()


@table.kernel(
    "EmbedLayerNormalization",
    1,
    domain=DOMAIN,
    output_types=lambda node: (node.input_types[2], node.input_types[0], node.input_types[2]),
)
def embed_layer_normalization(
    words: Tensor,
    segments: Tensor | None,
    word_table: Tensor,
    position_table: Tensor,
    segment_table: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    if positions is None:
        placed = position_table[: words.shape[1]]
    else:
        placed = F.embedding(positions, position_table)
    total = widened(F.embedding(words, word_table)) + placed
    if segments is not None and segment_table is not None:
        total = total + F.embedding(segments, segment_table)
    y = F.layer_norm(total, total.shape[-1:], gamma.to(total.dtype), beta.to(total.dtype), epsilon)
    if mask is None:
        index = torch.zeros(words.shape[:1], dtype=torch.int32, device=words.device)
    else:
        index = (mask == 1).sum(1, dtype=torch.int32)
    return y.to(word_table.dtype), index, total.to(word_table.dtype)
