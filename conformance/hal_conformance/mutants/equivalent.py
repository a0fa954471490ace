"""Mutants that are no wrong kernels: each with the reason. They are listed and not counted."""

from __future__ import annotations

import dataclasses
import fnmatch

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

EQUIVALENT: tuple[Equivalence, ...] = (
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
            "Clip",
            "GlobalMaxPool",
            "Hardmax",
            "Max",
            "MaxPool",
            "Min",
            "ReduceMax",
            "ReduceMin",
            "TopK",
            "Unique",
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
        ),
        ("rank and empty dimensions/a scalar is refused",),
    ),
    Equivalence(
        "the standard fixes the rank of the operands, four at most",
        (
            "Col2Im",
            "DepthToSpace",
            "GRU",
            "Gemm",
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
            "ai.onnx.ml::TreeEnsemble",
        ),
        ("rank and empty dimensions/rank above 4 is refused",),
    ),
    Equivalence(
        "start, limit and delta are scalars",
        ("Range",),
        ("rank and empty dimensions/an empty input is refused", "wrong layout/*", "off by one/*"),
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
