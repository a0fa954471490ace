"""Why cells have no case yet: data for `hal ops --coverage`."""

from __future__ import annotations

from collections.abc import Mapping

from hal.contract import CONTRIBUTED_DOMAIN
from hal_conformance.contract.draft import generators_of

__all__ = ["EMITTED", "reason_of"]

_WAITING: Mapping[str, tuple[str, ...]] = {
    "differentiates the graph around its node: no case of one node can say what": (
        "ai.onnx.preview.training::Gradient",
    ),
}
_BY_OPERATOR = {key: reason for reason, keys in _WAITING.items() for key in keys}

_BY_CELL: Mapping[str, str] = {
    **{
        f"Attention-25/U/tensor({name})": "the standard does not say what a mask of integers means"
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "Trilu-14/T/tensor(string)": "the standard does not say what a string outside the triangle is",
}

EMITTED: Mapping[str, tuple[str, ...]] = {
    "onnxruntime.quantization writes it; it quantises as it runs, so no formula bounds it": (
        "DynamicQuantizeLSTM",
    ),
    "onnxruntime.transformers writes it": (
        "BeamSearch",
        "DecoderMaskedMultiHeadAttention",
        "DecoderMaskedSelfAttention",
        "DynamicTimeWarping",
        "GreedySearch",
        "PackedAttention",
        "PackedMultiHeadAttention",
        "QOrderedAttention",
        "QOrderedGelu",
        "QOrderedLayerNormalization",
        "QOrderedMatMul",
        "RelativePositionBias",
        "RemovePadding",
        "RestorePadding",
        "Sampling",
        "WhisperBeamSearch",
    ),
    "onnxruntime-genai's model builder writes it": (
        "CausalConvWithState",
        "GatedAdd",
        "GatedDeltaNet",
        "GatedRMSNorm",
        "LinearAttention",
        "LinearAttentionGate",
        "MatMulBlockQuantizedFp4Weight",
        "MatMulBlockQuantizedFp8Weight",
        "MoE",
        "MRotaryEmbedding",
        "PagedAttention",
        "QMoE",
        "SparseAttention",
        "VarlenCausalConvWithState",
    ),
}
"""Operators of com.microsoft that wait for cases although exporters or quantisers write them: read
from the sources of onnxruntime 1.31.1 and onnxruntime-genai 0.18.0, by the operators' names."""
_WRITTEN = {name: who for who, names in EMITTED.items() for name in names}


def reason_of(operator: str, cell: str) -> str:
    """Why a cell has no case."""
    if cell in _BY_CELL:
        return _BY_CELL[cell]
    if generators_of(operator):
        return "its generator makes no case of this type yet"
    domain, _, name = operator.rpartition("::")
    if domain == CONTRIBUTED_DOMAIN:
        who = _WRITTEN.get(name)
        return f"not yet: {who}" if who else "no exporter or quantiser that we read writes it"
    return _BY_OPERATOR.get(operator, "has no generator yet")
