"""Why cells have no case yet: data for `hal ops --coverage`."""

from __future__ import annotations

from collections.abc import Mapping

from hal_conformance.contract.draft import generators_of

__all__ = ["reason_of"]

_WAITING: Mapping[str, tuple[str, ...]] = {
    "needs the attention family: masks, caches and windows want an oracle of their own": (
        "Attention",
        "LinearAttention",
        "CausalConvWithState",
        "RotaryEmbedding",
    ),
    "needs the recurrent family": ("GRU", "LSTM", "RNN"),
    "needs the signal family, whose oracle is a long-double transform": ("DFT", "STFT"),
    "needs the image family: interpolation and sampling, with their own tolerances": (
        "AffineGrid",
        "Col2Im",
        "DeformConv",
        "GridSample",
        "ImageDecoder",
        "MaxRoiPool",
        "MaxUnpool",
        "Resize",
        "RoiAlign",
    ),
    "needs the loss family": ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    "needs the ml family": (
        "ai.onnx.ml::CategoryMapper",
        "ai.onnx.ml::CastMap",
        "ai.onnx.ml::DictVectorizer",
        "ai.onnx.ml::LabelEncoder",
        "ai.onnx.ml::LinearClassifier",
        "ai.onnx.ml::OneHotEncoder",
        "ai.onnx.ml::SVMClassifier",
        "ai.onnx.ml::SVMRegressor",
        "ai.onnx.ml::TreeEnsemble",
        "ai.onnx.ml::ZipMap",
        "TfIdfVectorizer",
    ),
    "needs a judge that compares frequencies of several classes": ("Multinomial",),
}
_BY_OPERATOR = {key: reason for reason, keys in _WAITING.items() for key in keys}

_BY_CELL: Mapping[str, str] = {
    "Trilu-14/T/tensor(string)": "the standard does not say what a string outside the triangle is",
}


def reason_of(operator: str, cell: str) -> str:
    """Why a cell has no case."""
    if cell in _BY_CELL:
        return _BY_CELL[cell]
    if generators_of(operator):
        return "its generator makes no case of this type yet"
    return _BY_OPERATOR.get(operator, "has no generator yet")
