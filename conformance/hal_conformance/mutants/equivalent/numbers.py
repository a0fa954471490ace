"""Of NaN, infinities and digits."""

from __future__ import annotations

from hal_conformance.contract.nonfinite import COMPARING
from hal_conformance.mutants.equivalent.rule import Equivalence

__all__ = ["RULES"]

_NAN_ASKED = frozenset(["NonMaxSuppression", "ai.onnx.ml::TreeEnsemble"])
"""Of the operators that compare: those with NaN in cases of their own, where the standard tells."""

RULES: tuple[Equivalence, ...] = (
    Equivalence(
        "the standard defines the operator by comparisons, and says nothing of NaN in them",
        tuple(sorted(COMPARING - _NAN_ASKED)),
        ("NaN dropped/*", "ties/NaN loses"),
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
            "MeanVarianceNormalization",
            "MelWeightMatrix",
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
            "Cosh",
            "Erf",
            "Exp",
            "HardSigmoid",
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
            # What stash_type says is computed in float.
            "GroupNormalization",
            "LayerNormalization",
            "ai.onnx.ml::FeatureVectorizer",
            "ai.onnx.ml::LinearRegressor",
            "ai.onnx.ml::Normalizer",
            "ai.onnx.ml::Scaler",
        ),
        ("too little precision/double through float",),
    ),
    Equivalence(
        "the results are -1, 0 or 1, which 12 bits hold",
        ("EyeLike", "Hardmax", "Sign", "ai.onnx.ml::Binarizer"),
        ("inaccurate approximation/*12 bits right",),
    ),
    Equivalence(
        "zero is outside of the domain, so that it gives NaN too",
        ("Acosh",),
        ("NaN dropped/read as zero",),
    ),
    Equivalence(
        "neither NaN nor zero is infinite",
        ("IsInf",),
        ("NaN dropped/read as zero",),
    ),
    Equivalence(
        "no result is zero: not even where pi / 2 is rounded to the type",
        ("Cos", "Cosh"),
        ("result depends on the previous call/zeros show the last result",),
    ),
    Equivalence(
        "of a range that is not finite the standard gives no scale",
        ("DynamicQuantizeLinear",),
        ("NaN dropped/read as zero", "infinity dropped/read as the largest number"),
    ),
    Equivalence(
        "the formula is the standard's own, and cancels where the bound is absolute",
        ("Elu", "Mish"),
        ("naive formula/in its own type",),
    ),
    Equivalence(
        "where an infinity meets weights of zero, and the opposite one, is up to the algorithm",
        ("DFT",),
        ("infinity dropped/*",),
    ),
)
