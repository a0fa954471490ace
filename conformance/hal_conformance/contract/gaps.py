"""Why cells have no case yet: data for `hal ops --coverage`."""

from __future__ import annotations

from collections.abc import Mapping

from hal_conformance.contract.draft import generators_of

__all__ = ["reason_of"]

_WAITING: Mapping[str, tuple[str, ...]] = {
    "needs the rest of the attention family: linear attention and its states": (
        "LinearAttention",
        "CausalConvWithState",
    ),
    "needs the rest of the signal family": ("MelWeightMatrix",),
    "needs the rest of the image family: sampling, with a tolerance for positions": (
        "AffineGrid",
        "DeformConv",
        "GridSample",
        "ImageDecoder",
        "MaxRoiPool",
        "MaxUnpool",
        "RoiAlign",
    ),
    "needs the rest of the ml family: trees, support vectors, classifiers": (
        "ai.onnx.ml::LinearClassifier",
        "ai.onnx.ml::SVMClassifier",
        "ai.onnx.ml::SVMRegressor",
        "ai.onnx.ml::TreeEnsemble",
        "TfIdfVectorizer",
    ),
    "needs a judge that compares frequencies of several classes": ("Multinomial",),
}
_BY_OPERATOR = {key: reason for reason, keys in _WAITING.items() for key in keys}

_BY_CELL: Mapping[str, str] = {
    **{
        f"Attention-25/U/tensor({name})": "the standard does not say what a mask of integers means"
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "Trilu-14/T/tensor(string)": "the standard does not say what a string outside the triangle is",
}


def reason_of(operator: str, cell: str) -> str:
    """Why a cell has no case."""
    if cell in _BY_CELL:
        return _BY_CELL[cell]
    if generators_of(operator):
        return "its generator makes no case of this type yet"
    return _BY_OPERATOR.get(operator, "has no generator yet")
