"""Operators of com.microsoft whose quantized weights are made floats, once where they are constant;
then they are the operator that was quantized. Activations are never quantized anew, where
onnxruntime's kernel does so for speed: the result is nearer to that of the float model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._microsoft_attention import attention
from hal_torch.kernels._microsoft_norm import DOMAIN, embed_layer_normalization
from hal_torch.kernels.rnn import recurrent

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor


def _real(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """x - zero times scale; both are of the whole tensor, or of its last axis."""
    wide = x.to(scale.dtype)
    if zero is not None:
        wide = wide - (zero if zero.numel() > 1 else zero.reshape(())).to(scale.dtype)
    return wide * (scale if scale.numel() > 1 else scale.reshape(()))


def _per_direction(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """An LSTM's weight [directions, inputs, 4 * hidden] as the standard's: the last two turned."""
    directions = x.shape[0]
    wide = x.to(scale.dtype) - zero.reshape(directions, 1, -1).to(scale.dtype)
    return (wide * scale.reshape(directions, 1, -1)).transpose(1, 2).contiguous()


@table.specialized(
    "DynamicQuantizeLSTM",
    1,
    domain=DOMAIN,
    host=(4,),
    attributes=(
        "activation_alpha",
        "activation_beta",
        "activations",
        "clip",
        "direction",
        "hidden_size",
        "input_forget",
    ),
)
def dynamic_quantize_lstm(node: NodeInfo) -> Callable[..., Any]:
    known = [*node.constants, *[None] * 12][:12]
    ready = None
    if all(known[i] is not None for i in (1, 2, 8, 9, 10, 11)):
        ready = _per_direction(known[1], *known[8:10]), _per_direction(known[2], *known[10:12])
    plain = dataclasses.replace(
        node,
        op_type="LSTM",
        domain="",
        input_types=(node.input_types[0], *node.input_types[:1] * 2, *node.input_types[3:8]),
        constants=(None, *(ready or (None, None)), *known[3:8]),
        attributes={"direction": "forward", **node.attributes},
    )
    lstm = recurrent(plain)

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None,
        lengths: Any,
        h: Tensor | None,
        c: Tensor | None,
        p: Tensor | None,
        *quantization: Tensor,
    ) -> Any:
        if len(quantization) != 4:
            raise ValueError("scale and zero point of W and of R are expected")
        ws, wz, rs, rz = quantization
        real = ready or (_per_direction(w, ws, wz), _per_direction(r, rs, rz))
        return lstm(x, *real, b, lengths, h, c, p)

    return run


@table.specialized(
    "QAttention",
    1,
    domain=DOMAIN,
    attributes=(
        "do_rotary",
        "mask_filter_value",
        "num_heads",
        "past_present_share_buffer",
        "scale",
        "unidirectional",
    ),
    output_types=lambda node: (node.input_types[3],) * 2,
)
def quantized_attention(node: NodeInfo) -> Callable[..., Any]:
    attend = attention(node)
    known = [*node.constants, *[None] * 9][:9]
    absent = len(node.input_types) < 8 or not node.input_types[7]
    ready = None
    if known[1] is not None and known[4] is not None and (absent or known[7] is not None):
        ready = _real(known[1], known[4], known[7])

    def run(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        x_scale: Tensor,
        weight_scale: Tensor,
        mask: Tensor | None = None,
        x_zero: Tensor | None = None,
        weight_zero: Tensor | None = None,
        past: Tensor | None = None,
    ) -> Any:
        real = _real(weight, weight_scale, weight_zero) if ready is None else ready
        return attend(_real(x, x_scale, x_zero), real, bias, mask, past)

    return run


@table.kernel(
    "QEmbedLayerNormalization",
    1,
    domain=DOMAIN,
    output_types=lambda node: ("tensor(float)", node.input_types[0]),
)
def quantized_embed_layer_normalization(
    words: Tensor,
    segments: Tensor | None,
    word_table: Tensor,
    position_table: Tensor,
    segment_table: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None,
    *quantization: Tensor | None,
    epsilon: float = 1e-12,
) -> tuple[Tensor, Tensor]:
    """Only the rows that are looked up are made floats."""
    if len(quantization) != 10:
        raise ValueError("five scales and five zero points are expected")
    scales, zeros = quantization[:5], quantization[5:]

    def real(x: Tensor, at: int) -> Tensor:
        scale = scales[at]
        if scale is None:
            raise ValueError("a table has no scale")
        return _real(x, scale, zeros[at])

    found = real(F.embedding(words, word_table.to(torch.int16)), 0)
    found = found + real(position_table[: words.shape[1]], 1)
    if segments is not None and segment_table is not None:
        found = found + real(F.embedding(segments, segment_table.to(torch.int16)), 2)
    # The sum is a table of one text, whose words are their own places.
    batch, length, width = found.shape
    places = torch.arange(batch * length, device=words.device).view(batch, length)
    y, index, _ = embed_layer_normalization(
        places,
        None,
        found.reshape(-1, width),
        found.new_zeros(length, width),
        None,
        real(gamma, 3),
        real(beta, 4),
        mask,
        epsilon=epsilon,
    )
    return y, index


_FP4 = (0.0, 1 / 192, 2 / 3, 1.0, 1 / 3, 1 / 2, 1 / 6, 1 / 4)
"""bitsandbytes' FP4, by code: the highest bit is the sign."""
_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""Quantiles of the normal distribution: QLoRA (arXiv 2305.14314), appendix E."""
_TABLES = {0: (*_FP4, *(-value for value in _FP4)), 1: _NF4}


@table.specialized(
    "MatMulBnb4",
    1,
    domain=DOMAIN,
    attributes=("K", "N", "block_size", "quant_type", "training_mode", "transB"),
)
def matmul_bnb4(node: NodeInfo) -> Callable[..., Tensor]:
    get = node.attributes.get
    columns, rows = int(get("K", 0)), int(get("N", 0))
    size, kind = int(get("block_size", 0)), int(get("quant_type", -1))
    turned = bool(get("transB", 1))
    if kind not in _TABLES:
        raise UnsupportedError(f"quant_type is 0 (FP4) or 1 (NF4), got {kind}")

    def weight(packed: Tensor, most: Tensor) -> Tensor:
        codes = torch.stack((packed >> 4, packed & 15), -1).reshape(-1)[: rows * columns]
        values = torch.tensor(_TABLES[kind], dtype=most.dtype, device=most.device)
        scales = most.repeat_interleave(size)[: rows * columns]
        return (values[codes.long()] * scales).view(rows, columns)

    known = [*node.constants, None, None][:3]
    ready = None if known[1] is None or known[2] is None else weight(known[1], known[2])

    def run(a: Tensor, packed: Tensor, most: Tensor) -> Tensor:
        own = weight(packed, most) if ready is None else ready
        return F.linear(a, own if turned else own.t())

    return run
