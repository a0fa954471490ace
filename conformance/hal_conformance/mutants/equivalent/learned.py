"""Of ai.onnx.ml, and of values that are no tensors of numbers: what they leave open."""

from __future__ import annotations

from hal_conformance.mutants.equivalent.rule import Equivalence

__all__ = ["RULES"]

_ML = "ai.onnx.ml::"

RULES: tuple[Equivalence, ...] = (
    Equivalence(
        "integers become float here, by the result's type or the coefficients', and keep no more "
        "digits than that",
        tuple(
            _ML + name
            for name in (
                "FeatureVectorizer",
                "LinearClassifier",
                "LinearRegressor",
                "Normalizer",
                "Scaler",
            )
        ),
        (
            "too little precision/int64 through double",
            "too little precision/int64 through float",
            "too little precision/int32 through float",
        ),
    ),
    Equivalence(
        "the threshold is a float, and in which type it is compared with an integer is not said",
        (_ML + "Binarizer",),
        (
            "too little precision/int64 through double",
            "too little precision/int64 through float",
            "too little precision/int32 through float",
        ),
    ),
    Equivalence(
        "coefficients and scores are of float, and so is what is asked of double",
        (_ML + "LinearClassifier", _ML + "SVMClassifier", _ML + "SVMRegressor"),
        ("too little precision/double through float",),
    ),
    Equivalence(
        "the first result is a label a row",
        (_ML + "LinearClassifier", _ML + "SVMClassifier"),
        ("wrong layout/result written by columns",),
    ),
    Equivalence(
        "the result is one column",
        (_ML + "SVMRegressor",),
        ("wrong layout/result written by columns",),
    ),
    Equivalence(
        "multi_class has no part in any formula of the standard",
        (_ML + "LinearClassifier",),
        ("attribute ignored/multi_class", "wrong default/multi_class 1"),
    ),
    Equivalence(
        "how probabilities follow from prob_a and prob_b is not said",
        (_ML + "SVMClassifier",),
        (
            "attribute ignored/prob_*",
            "attribute misread/prob_*: the first for all",
        ),
    ),
    Equivalence(
        "what a transformation over classes makes of a single score is not said",
        (_ML + "SVMRegressor",),
        (
            "attribute ignored/post_transform SOFTMAX*",
            "attribute ignored/post_transform LOGISTIC",
            "wrong default/post_transform SOFTMAX",
        ),
    ),
    Equivalence(
        "a regressor has one rho",
        (_ML + "SVMRegressor",),
        ("attribute misread/rho: the first for all",),
    ),
    Equivalence(
        "with zeros = 0 all is the same, but that what is no category is an error",
        (_ML + "OneHotEncoder",),
        ("attribute ignored/zeros", "wrong default/zeros 0"),
    ),
    Equivalence(
        "reals are converted to integers first, which for NaN and infinity nothing defines",
        (_ML + "OneHotEncoder",),
        ("NaN dropped/read as *", "infinity dropped/read as *"),
    ),
    Equivalence(
        "the operand has rows or columns, and so one dimension at least",
        (
            _ML + "ArrayFeatureExtractor",
            _ML + "Imputer",
            _ML + "LinearClassifier",
            _ML + "OneHotEncoder",
            _ML + "Scaler",
        ),
        ("rank and empty dimensions/a scalar *",),
    ),
    Equivalence(
        "the operand is a map, which has neither rank nor dimensions",
        (
            _ML + "CastMap",
            _ML + "DictVectorizer",
        ),
        ("rank and empty dimensions/* is refused",),
    ),
    Equivalence(
        "the result has an element at least: one a word of the vocabulary, which is not empty",
        (_ML + "DictVectorizer",),
        ("rank and empty dimensions/an empty result has one row",),
    ),
    Equivalence(
        "the results are sequences or optionals, of whose shape the fault makes nothing",
        (
            "Optional",
            "SequenceConstruct",
            "SequenceErase",
            "SequenceInsert",
            "SequenceMap",
            "SplitToSequence",
            _ML + "ZipMap",
        ),
        (
            "stale cache on a new shape/the output's shape",
            "stale cache on a new shape/the number of elements",
            "result depends on the previous call/zeros show the last result",
        ),
    ),
    Equivalence(
        "the fault leaves strings as they are",
        ("StringConcat", "StringNormalizer"),
        ("rank and empty dimensions/an empty result has one row",),
    ),
    Equivalence(
        "a normal distribution is symmetric, and its scale below zero none",
        ("RandomNormal", "RandomNormalLike"),
        ("attribute misread/scale without its sign",),
    ),
)
