"""com.microsoft's GroupQueryAttention: a key and value cache, rotary embedding, windows, sinks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._microsoft_attention import heads_of, merged, rotated
from hal_torch.kernels._microsoft_norm import DOMAIN

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The attributes of a node."""

    heads: int
    kv_heads: int
    scale: float | None
    softcap: float
    window: int
    causal: bool
    smooth: bool
    rotary: bool
    interleaved: bool

    @classmethod
    def of(cls, node: NodeInfo) -> _Plan:
        """Raises UnsupportedError for what only some of onnxruntime's devices have."""
        get = node.attributes.get
        if get("sliding_window_cache", 0):
            raise UnsupportedError("a cache of the window's size (sliding_window_cache)")
        if get("qk_output", 0) or node.outputs > 3:
            raise UnsupportedError("the output output_qk")
        for name in ("k_quant_type", "v_quant_type"):
            if get(name, "NONE") != "NONE":
                raise UnsupportedError(f"a quantized cache ({name} is {get(name)!r})")
        return cls(
            heads=int(get("num_heads", 0)),
            kv_heads=int(get("kv_num_heads", 0)),
            scale=float(get("scale") or 0.0) or None,
            softcap=float(get("softcap", 0.0)),
            window=int(get("local_window_size", -1)),
            causal=bool(get("causal", 1)),
            smooth=get("smooth_softmax", -1) == 1,
            rotary=bool(get("do_rotary", 0)),
            interleaved=bool(get("rotary_interleaved", 0)),
        )


def _types(node: NodeInfo) -> Sequence[str]:
    cache = node.input_types[3] or node.input_types[0]
    return (node.input_types[0], cache, cache, node.input_types[0])


def _cached(past: Tensor | None, new: Tensor, starts: Tensor, length: int) -> Tensor:
    """The cache [B, N, length, H]: the past, with the new tokens from `starts` [B] on."""
    batch, heads, count, size = new.shape
    if past is None or not past.shape[2]:
        if length == count:
            return new
        kept = new.new_zeros(batch, heads, length, size)
    else:
        kept = F.pad(past, (0, 0, 0, length - past.shape[2])).clone()
    places = starts.view(-1, 1) + torch.arange(count, device=new.device)
    rows = torch.arange(batch, device=new.device).view(-1, 1)
    kept.transpose(1, 2)[rows, places] = new.transpose(1, 2)
    return kept


def _allowed(plan: _Plan, places: Tensor, totals: Tensor, columns: int) -> Tensor:
    """Which keys a query at each of `places` [B, S] may see: [B, 1, S, T]."""
    key = torch.arange(columns, device=places.device)
    query = places[:, None, :, None]
    if not plan.causal:
        return (key < totals.view(-1, 1, 1, 1)).expand(-1, 1, places.shape[1], -1)
    allowed = key <= query
    if plan.window >= 0:
        allowed = allowed & (key > query - plan.window)
    return allowed


def _attended(
    plan: _Plan,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    allowed: Tensor,
    bias: Tensor | None,
    sink: Tensor | None,
) -> Tensor:
    if not plan.softcap and sink is None:
        mask = allowed if bias is None else torch.where(allowed, bias, -math.inf)
        mask = mask.expand(q.shape[0], q.shape[1], -1, -1)
        return F.scaled_dot_product_attention(
            q, k, v, mask, 0.0, scale=plan.scale, enable_gqa=plan.heads != plan.kv_heads
        )
    groups = plan.heads // plan.kv_heads
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = torch.matmul(q, k.transpose(2, 3)).float() * (plan.scale or q.shape[3] ** -0.5)
    if plan.softcap:
        scores = torch.tanh(scores / plan.softcap) * plan.softcap
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~allowed, -math.inf)
    if sink is not None:  # one more column, which takes its share and gives nothing
        column = sink.float().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.cat((scores, column), 3).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return torch.matmul(weights.to(v.dtype), v)


@table.specialized(
    "GroupQueryAttention",
    1,
    domain=DOMAIN,
    types={"float", "float16", "bfloat16", "int32", "int64"},
    attributes=(
        "causal",
        "do_rotary",
        "k_quant_type",
        "kv_cache_bit_width",
        "kv_num_heads",
        "local_window_size",
        "num_heads",
        "qk_norm_epsilon",
        "qk_output",
        "rotary_interleaved",
        "scale",
        "sliding_window_cache",
        "smooth_softmax",
        "softcap",
        "v_quant_type",
    ),
    host=(6,),
    output_types=_types,
)
def group_query_attention(node: NodeInfo) -> Callable[..., Any]:
    """`seqlens_k` is each sequence's total length less one. A cache that is longer than the total
    length keeps its own (a buffer shared by past and present); keys beyond it are not looked at.
    """
    plan = _Plan.of(node)
    if any(node.input_types[14:16]):
        raise UnsupportedError("the inputs q_norm_weight and k_norm_weight")

    def run(
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        past_key: Tensor | None,
        past_value: Tensor | None,
        seqlens: Tensor,
        total: Any,
        cos: Tensor | None = None,
        sin: Tensor | None = None,
        positions: Tensor | None = None,
        bias: Tensor | None = None,
        sink: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if key is None or value is None:
            size = query.shape[2] // (plan.heads + 2 * plan.kv_heads)
            kv = plan.kv_heads * size
            query, key, value = torch.split(query, [plan.heads * size, kv, kv], 2)
        q, k, v = (
            heads_of(query, plan.heads),
            heads_of(key, plan.kv_heads),
            heads_of(value, plan.kv_heads),
        )
        count, longest = q.shape[2], int(total.reshape(-1)[0])
        totals = seqlens.reshape(-1).long() + 1
        starts = torch.zeros_like(totals) if count == longest else totals - count
        places = starts.view(-1, 1) + torch.arange(count, device=q.device)
        if plan.rotary:
            if cos is None or sin is None:
                raise ValueError("do_rotary needs cos_cache and sin_cache")
            at = places.clamp(0, cos.shape[0] - 1) if positions is None else positions
            turns = cos[at].unsqueeze(1), sin[at].unsqueeze(1)
            q, k = (rotated(x, *turns, plan.interleaved) for x in (q, k))
        past = 0 if past_key is None else past_key.shape[2]
        length = max(past, longest)
        k = _cached(past_key, k, starts, length)
        v = _cached(past_value, v, starts, length)
        if plan.smooth and sink is None:
            sink = torch.zeros(plan.heads, dtype=q.dtype, device=q.device)
        allowed = _allowed(plan, places, totals, longest)
        seen_k, seen_v = k.narrow(2, 0, longest), v.narrow(2, 0, longest)
        y = _attended(plan, q, seen_k, seen_v, allowed, bias, sink)
        return merged(y), k, v

    return run
