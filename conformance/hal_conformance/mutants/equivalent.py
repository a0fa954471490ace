"""Mutants that are no wrong kernels: each with the reason. They are listed and not counted."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator

from hal_conformance.mutants.bench import Verdict

__all__ = ["EQUIVALENT", "Equivalence", "reason_for"]


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """Why mutants give right results too: all of these operators (patterns over keys) with one of
    these faults (patterns over "<kind>/<fault>")."""

    reason: str
    operators: tuple[str, ...]
    faults: tuple[str, ...]


_READ = (
    "NaN dropped/read as *",
    "infinity dropped/read as *",
    "too little precision/*",
    "wrong layout/* read by columns",
    "off by one/*: end of the * axis",
    "first of several/*: its first slice for all",
)
_ONE_ELEMENT = (
    "uninitialised tail/vectors of *",
    "uninitialised tail/the first row alone",
    "wrong layout/result written by columns",
    "stale cache on a new shape/the output's shape",
    "stale cache on a new shape/the number of elements",
    "rank and empty dimensions/an empty result has one row",
)
_CONVS = ("Conv", "ConvInteger", "ConvTranspose", "QLinearConv")
_POOLS = ("AveragePool", "LpPool", "MaxPool")

_ONE = {
    "BlackmanWindow": ("size",),
    "CumProd": ("axis",),
    "CumSum": ("axis",),
    "HammingWindow": ("size",),
    "HannWindow": ("size",),
    "If": ("cond",),
    "MelWeightMatrix": (
        "num_mel_bins",
        "dft_length",
        "sample_rate",
        "lower_edge_hertz",
        "upper_edge_hertz",
    ),
    "OneHot": ("depth",),
    "QLinearConv": ("x_scale", "x_zero_point", "y_scale", "y_zero_point"),
    "Range": ("start", "limit", "delta"),
    "STFT": ("frame_step",),
    "SequenceAt": ("position",),
    "TopK": ("K",),
}
"""Operands that are one number by the standard."""
_ROW = {
    "AffineGrid": ("size",),
    "BatchNormalization": ("scale", "B", "input_mean", "input_var"),
    "CenterCropPad": ("shape",),
    "Col2Im": ("image_shape", "block_shape"),
    "Compress": ("condition",),
    "ConstantOfShape": ("input",),
    "Expand": ("shape",),
    "GroupNormalization": ("scale", "bias"),
    "ImageDecoder": ("encoded_stream",),
    "InstanceNormalization": ("scale", "B"),
    "OneHot": ("values",),
    "Pad": ("pads",),
    "QLinearConv": ("w_scale", "w_zero_point"),
    "Reshape": ("shape",),
    "ReverseSequence": ("sequence_lens",),
    "RoiAlign": ("batch_indices",),
    "Slice": ("starts", "ends"),
    "Tile": ("repeats",),
    "Unsqueeze": ("axes",),
}
"""Operands that have one dimension by the standard."""


def _of_operands() -> Iterator[Equivalence]:
    for operator, names in _ONE.items():
        yield Equivalence(
            f"{', '.join(names)}: one number by the standard, of which nothing is first or last",
            (operator,),
            tuple(
                f"{fault}"
                for name in names
                for fault in (
                    f"off by one/{name}: end of the * axis",
                    f"first of several/{name}: its first slice for all",
                    f"wrong layout/{name} read by columns",
                )
            ),
        )
    for operator, names in _ROW.items():
        yield Equivalence(
            f"{', '.join(names)}: one dimension by the standard, so no rows and columns",
            (operator,),
            tuple(
                f"{fault}"
                for name in names
                for fault in (
                    f"off by one/{name}: end of the first axis",
                    f"wrong layout/{name} read by columns",
                )
            ),
        )


EQUIVALENT: tuple[Equivalence, ...] = (
    *_of_operands(),
    Equivalence(
        "the operator reads the shape of the operand, or whether it is there, and none of its data",
        (
            "EyeLike",
            "OptionalHasElement",
            "RandomNormalLike",
            "RandomUniformLike",
            "Shape",
            "Size",
        ),
        _READ,
    ),
    Equivalence(
        "the result is one element, or one row",
        ("OptionalHasElement", "SequenceLength", "Shape", "Size"),
        ("uninitialised tail/the first row alone", "wrong layout/result written by columns"),
    ),
    Equivalence(
        "the result is one element",
        ("OptionalHasElement", "SequenceLength", "Size"),
        _ONE_ELEMENT,
    ),
    Equivalence(
        "the result has one dimension",
        ("BlackmanWindow", "HammingWindow", "HannWindow", "Range"),
        ("uninitialised tail/the first row alone", "wrong layout/result written by columns"),
    ),
    Equivalence(
        "the standard defines the operator by comparisons, and says nothing of NaN in them",
        (
            "ArgMax",
            "ArgMin",
            "Celu",
            "Clip",
            "GlobalMaxPool",
            "HardSigmoid",
            "HardSwish",
            "Hardmax",
            "Max",
            "MaxPool",
            "MaxRoiPool",
            "Min",
            "NonZero",
            "ReduceMax",
            "ReduceMin",
            "Relu",
            "Shrink",
            "Sign",
            "ThresholdedRelu",
            "TopK",
            "Unique",
            "ai.onnx.ml::Binarizer",
            "ai.onnx.ml::Normalizer",
        ),
        ("NaN dropped/*", "ties/NaN loses"),
    ),
    Equivalence(
        "the operator's operands and results have one dimension at least",
        (
            *_CONVS,
            *_POOLS,
            "BatchNormalization",
            "BlackmanWindow",
            "CenterCropPad",
            "Col2Im",
            "Compress",
            "Concat",
            "ConcatFromSequence",
            "DepthToSpace",
            "Flatten",
            "GRU",
            "GatherElements",
            "Gemm",
            "GlobalAveragePool",
            "GlobalLpPool",
            "GlobalMaxPool",
            "GroupNormalization",
            "HammingWindow",
            "HannWindow",
            "InstanceNormalization",
            "LRN",
            "LSTM",
            "LayerNormalization",
            "RMSNormalization",
            "RNN",
            "ReverseSequence",
            "ScatterND",
            "SpaceToDepth",
            "Split",
            "TensorScatter",
            "Trilu",
            "Unsqueeze",
            "AffineGrid",
            "Attention",
            "CausalConvWithState",
            "CumProd",
            "CumSum",
            "DFT",
            "DeformConv",
            "EyeLike",
            "GridSample",
            "Hardmax",
            "ImageDecoder",
            "LinearAttention",
            "LogSoftmax",
            "LpNormalization",
            "MaxRoiPool",
            "MaxUnpool",
            "MelWeightMatrix",
            "NonMaxSuppression",
            "NonZero",
            "OneHot",
            "Range",
            "RoiAlign",
            "RotaryEmbedding",
            "STFT",
            "Shape",
            "Slice",
            "Softmax",
            "StringNormalizer",
            "TfIdfVectorizer",
            "TopK",
            "ai.onnx.ml::CastMap",
            "ai.onnx.ml::DictVectorizer",
            "ai.onnx.ml::FeatureVectorizer",
            "ai.onnx.ml::LinearClassifier",
            "ai.onnx.ml::LinearRegressor",
            "ai.onnx.ml::Normalizer",
            "ai.onnx.ml::OneHotEncoder",
            "ai.onnx.ml::SVMClassifier",
            "ai.onnx.ml::SVMRegressor",
            "ai.onnx.ml::TreeEnsemble",
        ),
        ("rank and empty dimensions/a scalar has one dimension",),
    ),
    Equivalence(
        "the operator's operands have one dimension at least",
        (
            "Conv",
            "ConvTranspose",
            *_POOLS,
            "BatchNormalization",
            "Col2Im",
            "Concat",
            "DepthToSpace",
            "Det",
            "GRU",
            "Gather",
            "GatherElements",
            "GatherND",
            "GlobalAveragePool",
            "GlobalLpPool",
            "GlobalMaxPool",
            "GroupNormalization",
            "InstanceNormalization",
            "LRN",
            "LSTM",
            "LayerNormalization",
            "MatMul",
            "RMSNormalization",
            "RNN",
            "ReverseSequence",
            "ScatterND",
            "Slice",
            "SpaceToDepth",
            "Split",
            "TensorScatter",
            "TopK",
            "Trilu",
            # Axes are in [-r, r-1], so r is 1 at least; or the standard names the dimensions.
            "AffineGrid",
            "ArgMax",
            "ArgMin",
            "Attention",
            "CausalConvWithState",
            "Compress",
            "CumProd",
            "CumSum",
            "DFT",
            "DeformConv",
            "GridSample",
            "Hardmax",
            "ImageDecoder",
            "LinearAttention",
            "LogSoftmax",
            "LpNormalization",
            "MaxRoiPool",
            "MaxUnpool",
            "NegativeLogLikelihoodLoss",
            "OneHot",
            "RoiAlign",
            "RotaryEmbedding",
            "STFT",
            "Softmax",
            "SoftmaxCrossEntropyLoss",
            "TfIdfVectorizer",
            "ai.onnx.ml::FeatureVectorizer",
            "ai.onnx.ml::LinearRegressor",
            "ai.onnx.ml::Normalizer",
            "ai.onnx.ml::SVMClassifier",
            "ai.onnx.ml::SVMRegressor",
            "ai.onnx.ml::TreeEnsemble",
        ),
        ("rank and empty dimensions/a scalar is refused",),
    ),
    Equivalence(
        "the standard fixes the rank of the operands, four at most",
        (
            "AffineGrid",
            "Attention",
            "CausalConvWithState",
            "Col2Im",
            "DepthToSpace",
            "GRU",
            "Gemm",
            "ImageDecoder",
            "LinearAttention",
            "MaxRoiPool",
            "OneHot",
            "RoiAlign",
            "RotaryEmbedding",
            "STFT",
            "TfIdfVectorizer",
            "LSTM",
            "RNN",
            "Range",
            "SpaceToDepth",
            "ai.onnx.ml::FeatureVectorizer",
            "ai.onnx.ml::LinearClassifier",
            "ai.onnx.ml::LinearRegressor",
            "ai.onnx.ml::Normalizer",
            "ai.onnx.ml::OneHotEncoder",
            "ai.onnx.ml::SVMClassifier",
            "ai.onnx.ml::SVMRegressor",
            "ai.onnx.ml::Scaler",
            "ai.onnx.ml::TreeEnsemble",
        ),
        ("rank and empty dimensions/rank above 4 is refused",),
    ),
    Equivalence(
        "start, limit and delta are scalars, which are never empty",
        ("Range",),
        ("rank and empty dimensions/an empty input is refused",),
    ),
    Equivalence(
        "no result is infinite, whatever goes in",
        (
            "Acos",
            "Asin",
            "Atan",
            "BlackmanWindow",
            "Cos",
            "Erf",
            "EyeLike",
            "HammingWindow",
            "HannWindow",
            "HardSigmoid",
            "Hardmax",
            "LpNormalization",
            "Sigmoid",
            "Sign",
            "Sin",
            "Softmax",
            "Softsign",
            "Tanh",
            "ai.onnx.ml::Binarizer",
        ),
        ("infinity dropped/written as *",),
    ),
    Equivalence(
        "no result is NaN, whatever goes in",
        ("BlackmanWindow", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix"),
        ("NaN dropped/written as *",),
    ),
    Equivalence(
        "the largest number gives what infinity gives: the limit, the end of the range, or NaN",
        (
            "Acos",
            "Asin",
            "Atan",
            "Atanh",
            "Erf",
            "HardSigmoid",
            "Hardmax",
            "IsNaN",
            "NonZero",
            "QuantizeLinear",
            "Sigmoid",
            "Sign",
            "Softsign",
            "Tanh",
            "ai.onnx.ml::Binarizer",
        ),
        ("infinity dropped/read as the largest number",),
    ),
    Equivalence(
        "attributes, constants or the result are of float, and so is what is asked of double",
        (
            "Celu",
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Selu",
            "Swish",
            "ai.onnx.ml::FeatureVectorizer",
            "ai.onnx.ml::LinearRegressor",
            "ai.onnx.ml::Normalizer",
            "ai.onnx.ml::OneHotEncoder",
            "ai.onnx.ml::Scaler",
        ),
        ("too little precision/double through float",),
    ),
    Equivalence(
        "of target_type only the type is read",
        ("CastLike",),
        (
            "off by one/target_type: *",
            "first of several/target_type: *",
            "wrong layout/target_type *",
        ),
    ),
    Equivalence(
        "the last two axes of the result have the extent 1, or all but one",
        (
            "GlobalAveragePool",
            "GlobalLpPool",
            "GlobalMaxPool",
            "ai.onnx.ml::CastMap",
            "ai.onnx.ml::DictVectorizer",
        ),
        ("wrong layout/result written by columns",),
    ),
    Equivalence(
        "the operand and the result are one row",
        ("StringNormalizer", "ai.onnx.ml::CastMap", "ai.onnx.ml::DictVectorizer"),
        (
            "uninitialised tail/the first row alone",
            "wrong layout/result written by columns",
            "wrong layout/X read by columns",
            "off by one/X: end of the first axis",
        ),
    ),
    Equivalence(
        "a matrix and its transpose have one determinant",
        ("Det",),
        ("wrong layout/X read by columns",),
    ),
    Equivalence(
        "the result is an empty sequence, always",
        ("SequenceEmpty",),
        ("uninitialised tail/*", "result depends on the previous call/*"),
    ),
    Equivalence(
        "says what the shapes of the operands say too",
        ("GRU", "LSTM", "RNN"),
        ("attribute ignored/hidden_size",),
    ),
    Equivalence(
        "says how a kernel may compute, and nothing of the results",
        ("LinearAttention", "ai.onnx.ml::TreeEnsemble"),
        ("attribute ignored/chunk_size", "attribute ignored/nodes_hitrates"),
    ),
    Equivalence(
        "kernel_shape repeats the shape of the weights",
        _CONVS,
        ("attribute ignored/kernel_shape", "wrong stride/kernel_shape*"),
    ),
    Equivalence(
        "VALID is no padding, and so is NOTSET without pads",
        (*_CONVS, *_POOLS),
        ("attribute ignored/auto_pad VALID",),
    ),
    Equivalence(
        "the results are -1, 0 or 1, which 12 bits hold",
        ("EyeLike", "Hardmax", "Sign", "ai.onnx.ml::Binarizer"),
        ("inaccurate approximation/*12 bits right",),
    ),
)
"""A row is a claim: a case that calls one of its mutants wrong refutes it, and the self-test says
so."""


def reason_for(verdict: Verdict) -> str:
    """Why a mutant is as right as the correct kernel; "" if it is not."""
    fault = f"{verdict.kind}/{verdict.fault}"
    for entry in EQUIVALENT:
        known = any(fnmatch.fnmatchcase(verdict.operator, p) for p in entry.operators)
        if known and any(fnmatch.fnmatchcase(fault, p) for p in entry.faults):
            return entry.reason
    return ""
