"""Operators with a state that goes from call to call: linear attention, causal convolution."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._moving import Run

__all__ = ["table"]

table = KernelTable()

Tensor = torch.Tensor

RULES = {
    "linear": (False, False),
    "gated": (True, False),
    "delta": (False, True),
    "gated_delta": (True, True),
}
"""Update rule: whether the state decays, and whether what it knows already is taken off."""


@table.specialized(
    "LinearAttention",
    27,
    attributes=("chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule"),
)
def linear_attention(node: NodeInfo) -> Run:
    given = node.attributes
    if given["update_rule"] not in RULES:
        raise UnsupportedError(f"{node.label} has no update_rule {given['update_rule']!r}")
    decays, corrects = RULES[given["update_rule"]]
    q_heads, heads = given.get("q_num_heads", 0), given.get("kv_num_heads", 0)
    if q_heads <= 0 or heads <= 0 or q_heads % heads:
        raise UnsupportedError(f"q_num_heads {q_heads} is no multiple of kv_num_heads {heads}")
    groups = q_heads // heads
    named = node.output_types[1] if len(node.output_types) > 1 else ""
    state_type = dtype_of(named) if named else None

    def run(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        past: Tensor | None = None,
        decay: Tensor | None = None,
        beta: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if decays != (decay is not None) or corrects != (beta is not None):
            raise ValueError(f"{given['update_rule']!r} has other inputs than these")
        q, k, v = _unpacked(query, q_heads), _unpacked(key, heads), _unpacked(value, heads)
        batch, length, _, size = k.shape
        scale = given["scale"] or 1 / math.sqrt(size)
        q = (q * scale).reshape(batch, length, heads, groups, size)
        fresh = k.new_zeros((batch, heads, size, v.shape[3]))
        state = fresh if past is None else past.float()
        kept = None if decay is None else _unpacked(decay, heads).exp().unsqueeze(-1)
        rate = None if beta is None else beta.float().unsqueeze(-1)
        found = []
        for t in range(length):  # the recurrence; all batches and heads at once
            new = v[:, t]
            if kept is not None:
                state = state * kept[:, t]
            if rate is not None:
                known = (k[:, t].unsqueeze(-2) @ state).squeeze(-2)
                new = rate[:, t] * (new - known)
            state = state + k[:, t].unsqueeze(-1) * new.unsqueeze(-2)
            found.append(q[:, t] @ state)
        shape = (batch, length, q_heads * v.shape[3])
        output = torch.stack(found, 1).reshape(shape) if found else v.new_zeros(shape)
        kind = state_type or (query if past is None else past).dtype
        return output.to(query.dtype), state.to(kind)

    return run


def _unpacked(x: Tensor, heads: int) -> Tensor:
    """(batch, time, heads * size) as (batch, time, heads, size) in float32."""
    if x.ndim != 3 or x.shape[2] % heads:
        raise ValueError(f"{tuple(x.shape)} does not split in {heads} heads")
    return x.float().reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads)


@table.specialized("CausalConvWithState", 27, attributes=("activation",))
def causal_conv(node: NodeInfo) -> Run:
    activation = node.attributes["activation"]
    if activation not in ("none", "silu", "swish"):
        raise UnsupportedError(f"{node.label} has no activation {activation!r}")

    def run(
        x: Tensor, weight: Tensor, bias: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        before = weight.shape[2] - 1
        whole = functional.pad(x, (before, 0)) if past is None else torch.cat((past, x), 2)
        found = functional.conv1d(whole, weight, bias, groups=x.shape[1])
        if activation != "none":
            found = functional.silu(found)
        return found, whole.narrow(2, whole.shape[2] - before, before)

    return run
