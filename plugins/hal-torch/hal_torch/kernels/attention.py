"""Attention and what goes with it: rotary embedding, linear attention, causal convolution.

The scaled dot product is PyTorch's own kernel where it computes what the standard says; otherwise
the steps of the standard's function body, in the types that it names.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal.types import ElementType
from hal_torch.arrays import DTYPES
from hal_torch.kernels import _stateful
from hal_torch.kernels._moving import Run
from hal_torch.kernels.activation import softmax

__all__ = ["table"]

table = KernelTable()
table.update(_stateful.table)

Tensor = torch.Tensor

LOGITS, CAPPED, BIASED, PROBABILITIES = range(4)
"""What `qk_matmul_output_mode` asks for."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The attributes of an Attention node."""

    q_heads: int | None
    kv_heads: int | None
    scale: float | None
    causal: bool
    softcap: float
    mode: int
    left: int
    right: int
    precision: torch.dtype | None
    wants_scores: bool

    @classmethod
    def of(cls, node: NodeInfo) -> _Plan:
        """Raises UnsupportedError for a value that the standard does not have."""
        given: Mapping[str, Any] = node.attributes
        mode = given.get("qk_matmul_output_mode", LOGITS)
        left, right = given.get("left_window_size", -1), given.get("right_window_size", -1)
        if mode not in range(4):
            raise UnsupportedError(f"{node.label} has no qk_matmul_output_mode {mode}")
        if left < -1 or right < -1:
            raise UnsupportedError("a window is -1 or not negative")
        return cls(
            given.get("q_num_heads"),
            given.get("kv_num_heads"),
            given.get("scale"),
            bool(given.get("is_causal", 0)),
            given.get("softcap", 0.0),
            mode,
            left,
            right,
            _precision(given.get("softmax_precision")),
            node.outputs > 3,
        )


def _precision(number: int | None) -> torch.dtype | None:
    if number is None:
        return None
    known = (ElementType.FLOAT, ElementType.FLOAT16, ElementType.DOUBLE, ElementType.BFLOAT16)
    if number not in known:
        raise UnsupportedError(f"softmax_precision is {number}, which is no float type")
    return DTYPES[ElementType(number)]


ATTRIBUTES = (
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode",
    "scale",
    "softcap",
    "softmax_precision",
    "left_window_size",
    "right_window_size",
)


@table.specialized("Attention", 23, 24, 25, attributes=ATTRIBUTES)
def attention(node: NodeInfo) -> Run:
    plan = _Plan.of(node)
    if plan.scale is not None and plan.scale < 0:
        raise UnsupportedError("the standard takes the square root of the scale")

    def run(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        past_key: Tensor | None = None,
        past_value: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        packed = q.ndim == 3
        if packed:
            if not plan.q_heads or not plan.kv_heads:
                raise ValueError("inputs of rank 3 need q_num_heads and kv_num_heads")
            q = _split_heads(q, plan.q_heads)
            k, v = _split_heads(k, plan.kv_heads), _split_heads(v, plan.kv_heads)
        past = 0
        if past_key is not None and past_value is not None:
            past = past_key.shape[2]
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
            raise ValueError(f"{q.shape[1]} query heads for {k.shape[1]} key heads")
        if _fits_native(plan, q, k, v, mask, past, lengths):
            y, scores = _native(plan, q, k, v, mask, past), q
        else:
            bias = _bias(plan, q, k, mask, past, lengths)
            y, scores = _by_steps(plan, q, k, v, bias)
        if packed:
            y = y.transpose(1, 2).flatten(2)
        return y, k, v, scores

    return run


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, sequence, heads * size) as (batch, heads, sequence, size)."""
    if x.shape[2] % heads:
        raise ValueError(f"a hidden size of {x.shape[2]} does not split in {heads} heads")
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _fits_native(
    plan: _Plan,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    past: int,
    lengths: Tensor | None,
) -> bool:
    """Whether torch's scaled_dot_product_attention computes this node."""
    if plan.wants_scores or plan.softcap or plan.left >= 0 or plan.right >= 0:
        return False
    if plan.precision not in (None, torch.float32, q.dtype) or lengths is not None:
        return False
    if q.dtype != v.dtype or q.dtype == torch.float64 or not q.numel() or not k.numel():
        return False
    if q.dtype == torch.float16 and q.is_cpu:
        return False  # which has no fast one, and the steps round as the standard's do
    if mask is not None:
        own = mask.dtype in (torch.bool, q.dtype)
        return own and not plan.causal and mask.ndim >= 2 and mask.shape[-1] == k.shape[2]
    # both causal masks begin at the first key; with cached ones the standard's is shifted, and one
    # new query with its own key sees everything
    return not plan.causal or past == 0 or (q.shape[2] == 1 and k.shape[2] == past + 1)


def _native(plan: _Plan, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, past: int) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    if mask is not None:
        mask = mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    causal = plan.causal and past == 0
    found: Tensor = functional.scaled_dot_product_attention(
        q, k, v, mask, 0.0, causal, scale=plan.scale, enable_gqa=grouped
    )
    return found


def _bias(
    plan: _Plan, q: Tensor, k: Tensor, mask: Tensor | None, past: int, lengths: Tensor | None
) -> Tensor | None:
    """What is added to the scores: the mask, causality, the window and the padding, as 0 and -inf.

    Everything that only forbids is collected in a boolean first.
    """
    rows, columns = q.shape[2], k.shape[2]
    allowed: Tensor | None = None
    added: Tensor | None = None
    if mask is not None:
        short = columns - mask.shape[-1]
        if short > 0:  # keys beyond a short mask take no part
            mask = functional.pad(
                mask, (0, short), value=False if mask.dtype == torch.bool else -math.inf
            )
        if mask.dtype == torch.bool:
            allowed = mask
        else:
            added = mask.to(q.dtype)
    windowed = plan.left >= 0 or plan.right >= 0
    if plan.causal or windowed:
        key = torch.arange(columns, device=q.device)
        query = torch.arange(rows, device=q.device).unsqueeze(1)
        if lengths is not None and not past:
            query = query + (lengths.reshape(-1, 1, 1, 1) - rows)
        else:
            query = query + past
        if plan.causal:
            allowed = _both(allowed, key <= query)
        if plan.left >= 0:
            allowed = _both(allowed, key >= query - plan.left)
        if plan.right >= 0:
            allowed = _both(allowed, key <= query + plan.right)
    if lengths is not None:
        valid = torch.arange(columns, device=q.device) < lengths.reshape(-1, 1, 1, 1)
        allowed = _both(allowed, valid)
    if allowed is None:
        return added
    zero = added if added is not None else torch.zeros((), dtype=q.dtype, device=q.device)
    return torch.where(allowed, zero, -math.inf)


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one & other


def _by_steps(
    plan: _Plan, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(the output, the scores at the stage that is asked for)."""
    scale = 1 / math.sqrt(q.shape[3]) if plan.scale is None else plan.scale
    root = torch.tensor(math.sqrt(scale), dtype=q.dtype)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    kept = scores = torch.matmul(q * root, (k * root).transpose(2, 3))
    if plan.softcap > 0:
        scores = (scores / plan.softcap).tanh() * plan.softcap
    if plan.mode >= CAPPED:
        kept = scores
    if bias is not None:
        scores = scores + bias
    if plan.mode >= BIASED:
        kept = scores
    weights = softmax(scores.to(plan.precision or q.dtype), -1).to(q.dtype)
    if bias is not None and k.shape[2]:
        # a query that may see no key gets zeros, whatever its scores
        blind = (bias == -math.inf).all(-1, keepdim=True)
        weights = weights.masked_fill(blind, 0)
    if plan.mode == PROBABILITIES:
        kept = weights
    wide = torch.promote_types(q.dtype, v.dtype)
    return torch.matmul(weights.to(wide), v.to(wide)).to(q.dtype), kept


@table.kernel("RotaryEmbedding", 23)
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    if x.ndim == 4:  # batch, heads, sequence, size
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        own = x
    else:
        if num_heads <= 0 or x.shape[2] % num_heads:
            raise ValueError(f"a hidden size of {x.shape[2]} does not split in {num_heads} heads")
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
        own = x.reshape(x.shape[0], x.shape[1], num_heads, x.shape[2] // num_heads)
    size = rotary_embedding_dim or own.shape[3]
    turned, rest = own[..., :size], own[..., size:]
    if interleaved:
        one, other = turned[..., 0::2], turned[..., 1::2]
    else:
        one, other = turned[..., : size // 2], turned[..., size // 2 :]
    real = cos * one - sin * other
    imaginary = sin * one + cos * other
    if interleaved:
        found = torch.stack((real, imaginary), -1).flatten(-2)
    else:
        found = torch.cat((real, imaginary), -1)
    if rest.shape[3]:
        found = torch.cat((found, rest), -1)
    return found.reshape(x.shape)


@table.specialized(
    "FlexAttention",
    1,
    domain="ai.onnx.preview",
    attributes=("scale", "softmax_precision", "score_mod", "prob_mod"),
)
def flex_attention(node: NodeInfo) -> Run:
    given = node.attributes
    if "score_mod" in given and "prob_mod" in given:
        raise UnsupportedError("this kernel takes one graph; the function body takes both")
    precision = _precision(given.get("softmax_precision"))

    def run(
        q: Tensor, k: Tensor, v: Tensor, *, score_mod: Any = None, prob_mod: Any = None
    ) -> Tensor:
        scale = given.get("scale")
        scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
        root = torch.tensor(math.sqrt(scale), dtype=q.dtype)
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        own = precision or (torch.float64 if q.dtype == torch.float64 else torch.float32)
        scores = torch.matmul(q * root, (k * root).transpose(2, 3)).to(own)
        if score_mod is not None:
            (scores,) = score_mod(scores)
        weights = scores.softmax(-1)
        if prob_mod is not None:
            (weights,) = prob_mod(weights)
        return torch.matmul(weights, v.to(own)).to(v.dtype)

    return run
