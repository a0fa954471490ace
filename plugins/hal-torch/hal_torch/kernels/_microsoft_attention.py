"""com.microsoft's Attention, MultiHeadAttention and RotaryEmbedding.

Heads are kept as (batch, heads, sequence, size). Masked keys get `mask_filter_value` added to their
scores, keys of the future minus infinity, as onnxruntime's CPU kernels do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._microsoft_norm import DOMAIN

__all__ = ["heads_of", "merged", "rotated", "table"]

table = KernelTable()
Tensor = torch.Tensor

FILTER = -10000.0


def heads_of(x: Tensor, heads: int) -> Tensor:
    """(batch, sequence, heads * size) as (batch, heads, sequence, size)."""
    if x.shape[2] % heads:
        raise ValueError(f"a hidden size of {x.shape[2]} does not split in {heads} heads")
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def merged(y: Tensor) -> Tensor:
    """(batch, heads, sequence, size) as (batch, sequence, heads * size)."""
    return y.transpose(1, 2).flatten(2)


def _mask_bias(mask: Tensor, batch: int, rows: int, columns: int, fill: float) -> Tensor:
    """A mask of any of the operators' forms as what is added to the scores [B, 1, S, T]."""
    key = torch.arange(columns, device=mask.device)
    if mask.dim() == 1:
        if mask.numel() == batch:
            allowed = key < mask.view(batch, 1, 1, 1)
        elif mask.numel() == 2 * batch:
            end, start = mask.view(2, batch, 1, 1, 1)
            allowed = (key < end) & (key >= start)
        else:
            raise ValueError(f"a mask of {mask.numel()} numbers for a batch of {batch}")
    elif mask.dim() == 2:
        allowed = (mask != 0)[:, None, None, :]
    elif mask.dim() == 3:
        allowed = (mask != 0)[:, None]
    else:
        allowed = (mask != 0)[:, :, columns - rows : columns, :columns]
    if allowed.shape[-1] != columns:
        raise ValueError(f"a mask over {allowed.shape[-1]} keys for {columns}")
    return torch.where(allowed, 0.0, fill)


def _attended(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    *,
    scale: float | None,
    causal: bool,
    fill: float,
) -> Tensor:
    """softmax(q k' scale + masks) v."""
    rows, columns = q.shape[2], k.shape[2]
    added: Tensor | None = None
    if mask is not None:
        added = _mask_bias(mask, q.shape[0], rows, columns, fill).to(q.dtype)
    if bias is not None:
        added = bias if added is None else added + bias
    if causal and rows == columns and added is None:
        return F.scaled_dot_product_attention(q, k, v, None, 0.0, True, scale=scale)
    if causal:
        later = torch.ones(rows, columns, dtype=torch.bool, device=q.device)
        later = later.triu(columns - rows + 1)
        zero = torch.zeros((), dtype=q.dtype, device=q.device) if added is None else added
        added = torch.where(later, -math.inf, zero)
    if added is not None:
        added = added.expand(q.shape[0], q.shape[1], rows, columns)
    return F.scaled_dot_product_attention(q, k, v, added, 0.0, scale=scale)


def _scale(node: NodeInfo) -> float | None:
    """The attribute `scale`; None for 1 / sqrt(head size), which is also what 0 means."""
    return float(node.attributes.get("scale") or 0.0) or None


@table.specialized(
    "Attention",
    1,
    domain=DOMAIN,
    attributes=(
        "do_rotary",
        "mask_filter_value",
        "num_heads",
        "past_present_share_buffer",
        "qkv_hidden_sizes",
        "scale",
        "unidirectional",
    ),
)
def attention(node: NodeInfo) -> Callable[..., Any]:
    get = node.attributes.get
    if get("do_rotary", 0) or get("past_present_share_buffer", 0):
        raise UnsupportedError("do_rotary and past_present_share_buffer are of CUDA kernels only")
    heads, scale = int(get("num_heads", 0)), _scale(node)
    causal, fill = bool(get("unidirectional", 0)), float(get("mask_filter_value", FILTER))
    sizes = [int(s) for s in get("qkv_hidden_sizes") or ()]

    def run(
        x: Tensor,
        weights: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        added: Tensor | None = None,
    ) -> Any:
        width = weights.shape[1]
        projected = F.linear(x, weights.t(), bias)
        parts = torch.split(projected, sizes or [width // 3] * 3, 2)
        q, k, v = (heads_of(part, heads) for part in parts)
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        y = merged(_attended(q, k, v, mask, added, scale=scale, causal=causal, fill=fill))
        return y if node.outputs == 1 else (y, torch.stack((k, v)))

    return run


@table.specialized(
    "MultiHeadAttention",
    1,
    domain=DOMAIN,
    attributes=("mask_filter_value", "num_heads", "scale", "unidirectional"),
)
def multi_head_attention(node: NodeInfo) -> Callable[..., Any]:
    """Also with packed QKV (batch, sequence, heads, 3, size), packed KV, or a cached key and value
    (batch, heads, sequence, size) for cross attention."""
    get = node.attributes.get
    heads, scale = int(get("num_heads", 0)), _scale(node)
    causal, fill = bool(get("unidirectional", 0)), float(get("mask_filter_value", FILTER))
    if node.outputs > 3:
        raise UnsupportedError("the output qk is of CUDA kernels only")

    def split(
        query: Tensor, key: Tensor | None, value: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if query.dim() == 5:
            q, k, v = (part.transpose(1, 2) for part in query.unbind(3))
        elif key is None:
            raise ValueError("without a key the query holds all three, and has rank 5")
        else:
            q = heads_of(query, heads)
            if key.dim() == 5:
                k, v = (part.transpose(1, 2) for part in key.unbind(3))
            elif value is None:
                raise ValueError("without a value the key holds both, and has rank 5")
            else:
                k, v = (x if x.dim() == 4 else heads_of(x, heads) for x in (key, value))
        if bias is None:
            return q, k, v
        size = heads * q.shape[3]
        parts = torch.split(bias, [size, size, bias.numel() - 2 * size])
        one, two, three = (part.view(heads, 1, -1) for part in parts)
        cached = key is not None and key.dim() == 4
        return q + one, k if cached else k + two, v if cached else v + three

    def run(
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        added: Tensor | None = None,
        past_key: Tensor | None = None,
        past_value: Tensor | None = None,
    ) -> Any:
        q, k, v = split(query, key, value, bias)
        if past_key is not None and past_value is not None:
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        y = merged(_attended(q, k, v, mask, added, scale=scale, causal=causal, fill=fill))
        return y if node.outputs == 1 else (y, k, v)

    return run


def rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """x [B, N, S, H] with its first 2 * R elements turned by cos and sin [B or 1, 1, S, R]."""
    half = cos.shape[-1]
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved:
        one, other = turned[..., 0::2], turned[..., 1::2]
    else:
        one, other = turned[..., :half], turned[..., half:]
    real, imaginary = one * cos - other * sin, one * sin + other * cos
    if interleaved:
        found = torch.stack((real, imaginary), -1).flatten(-2)
    else:
        found = torch.cat((real, imaginary), -1)
    return torch.cat((found, rest), -1) if rest.shape[-1] else found


@table.kernel("RotaryEmbedding", 1, domain=DOMAIN)
def rotary_embedding(
    x: Tensor,
    positions: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """A single position is that of the first token. `scale` and `is_packed_batching` change
    nothing in onnxruntime's kernels either."""
    if x.dim() == 4:
        own = x
    else:
        heads = num_heads if rotary_embedding_dim else x.shape[2] // (cos.shape[1] * 2)
        own = heads_of(x, heads)
    if positions.numel() == 1 and positions.dim() < 2:
        positions = positions.view(1, 1) + torch.arange(own.shape[2], device=x.device)
    turned = rotated(
        own, cos[positions].unsqueeze(1), sin[positions].unsqueeze(1), bool(interleaved)
    )
    return turned if x.dim() == 4 else merged(turned)
