"""Weights packed in two, four or eight bits, with a scale a block: com.microsoft."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._microsoft_norm import DOMAIN

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor


def _unpacked(packed: Tensor, bits: int) -> Tensor:
    """The numbers in bytes along the last axis, the lowest bits first."""
    if bits == 8:
        return packed
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    numbers = (packed.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return numbers.flatten(-2)


class _Blocks:
    """How MatMulNBits packs a weight [N, K]."""

    def __init__(self, node: NodeInfo) -> None:
        get = node.attributes.get
        self.rows, self.columns = int(get("N", 0)), int(get("K", 0))
        self.size, self.bits = int(get("block_size", 0)), int(get("bits", 4))
        if self.bits not in (2, 4, 8):
            raise UnsupportedError(f"weights of {self.bits} bits; this kernel has 2, 4 and 8")
        if get("weight_prepacked", 0):
            raise UnsupportedError("the weights are packed for one of onnxruntime's CUDA kernels")
        self.blocks = -(-self.columns // self.size)

    def weight(
        self, packed: Tensor, scales: Tensor, zeros: Tensor | None, groups: Tensor | None
    ) -> Tensor:
        """The weight [N, K] in the type of the scales."""
        numbers = _unpacked(packed.reshape(self.rows, -1), self.bits)
        scales = scales.reshape(self.rows, self.blocks)
        if zeros is None:
            offsets = torch.full_like(scales, 1 << (self.bits - 1))
        elif zeros.dtype == torch.uint8:
            whole = _unpacked(zeros.reshape(self.rows, -1), self.bits)
            offsets = whole[:, : self.blocks].to(scales.dtype)
        else:
            offsets = zeros.reshape(self.rows, self.blocks)
        if groups is None:
            blocked = numbers.view(self.rows, self.blocks, self.size).to(scales.dtype)
            found = (blocked - offsets.unsqueeze(2)) * scales.unsqueeze(2)
            return found.view(self.rows, -1)[:, : self.columns]
        of = groups[: self.columns].long()
        return (numbers[:, : self.columns].to(scales.dtype) - offsets[:, of]) * scales[:, of]


@table.specialized(
    "MatMulNBits",
    1,
    domain=DOMAIN,
    attributes=("K", "N", "accuracy_level", "bits", "block_size", "weight_prepacked"),
)
def matmul_nbits(node: NodeInfo) -> Callable[..., Tensor]:
    """A constant weight is unpacked once, at compile, which costs memory for speed; activations
    are never quantized, whatever `accuracy_level` allows."""
    blocks = _Blocks(node)
    constants = [*node.constants, None, None, None][:5]
    present = [bool(t) for t in (*node.input_types, "", "", "")][:5]
    constant = all(c is not None for c, p in zip(constants[1:], present[1:], strict=True) if p)
    weight = blocks.weight(*constants[1:]).contiguous() if constant else None

    def run(
        a: Tensor,
        packed: Tensor,
        scales: Tensor,
        zeros: Tensor | None = None,
        groups: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        own = blocks.weight(packed, scales, zeros, groups) if weight is None else weight
        return F.linear(a, own, bias)

    return run


@table.specialized(
    "GatherBlockQuantized",
    1,
    domain=DOMAIN,
    types={"uint8", "uint4", "int4", "int32", "int64", "float", "float16", "bfloat16"},
    attributes=("bits", "block_size", "gather_axis", "quantize_axis"),
    output_types=lambda node: (node.input_types[2],),
)
def gather_block_quantized(node: NodeInfo) -> Callable[..., Tensor]:
    """Rows of a quantized table, of which only those that are gathered are unpacked."""
    get = node.attributes.get
    bits, size = int(get("bits", 4)), int(get("block_size", 128))
    gather, quantize = int(get("gather_axis", 0)), int(get("quantize_axis", 1))
    packed = node.input_types[0] == "tensor(uint8)"
    if packed and bits not in (2, 4, 8):
        raise UnsupportedError(f"data of {bits} bits; this kernel has 2, 4 and 8")
    middle = 1 << (bits - 1) if packed else 0

    def run(data: Tensor, indices: Tensor, scales: Tensor, zeros: Tensor | None = None) -> Tensor:
        rank, length = data.dim(), data.shape[gather]
        along, blocked = gather % rank, quantize % rank
        if along == blocked:
            raise ValueError("gather_axis and quantize_axis are the same")
        flat = indices.reshape(-1).long()
        inside = (flat >= -length) & (flat < length)
        flat = torch.where(inside, flat % max(length, 1), 0)
        numbers = data.index_select(along, flat)
        offsets = None if zeros is None else zeros.index_select(along, flat)
        if packed:
            numbers = _unpacked(numbers, bits)
            offsets = None if offsets is None else _unpacked(offsets, bits)
        scale = scales.index_select(along, flat)
        count, width = scale.shape[blocked], numbers.shape[blocked]
        if offsets is None:
            shift: Tensor | int = middle
        else:
            shift = offsets.narrow(blocked, 0, count).to(scale.dtype)
            shift = shift.repeat_interleave(size, blocked).narrow(blocked, 0, width)
        spread = scale.repeat_interleave(size, blocked).narrow(blocked, 0, width)
        found = (numbers.to(scale.dtype) - shift) * spread
        seen = inside.view([-1 if d == along else 1 for d in range(rank)])
        found = torch.where(seen, found, 0)
        shape = (*found.shape[:along], *indices.shape, *found.shape[along + 1 :])
        return found.reshape(shape)

    return run
