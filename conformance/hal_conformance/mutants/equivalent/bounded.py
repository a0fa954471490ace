"""Of what the standard bounds: operands, attributes and results that can be no other."""

from __future__ import annotations

from hal_conformance.mutants.equivalent.rule import Equivalence

__all__ = ["RULES"]

_ROOTS = ("ReduceL2", "ReduceSumSquare")

RULES: tuple[Equivalence, ...] = (
    Equivalence(
        "how many numbers there are from, to or by NaN or infinity nothing says",
        ("Range",),
        ("NaN dropped/*", "infinity dropped/*"),
    ),
    Equivalence(
        "batch_axis and time_axis are 0 or 1",
        ("ReverseSequence",),
        ("wrong axis/*_axis: a negative one *",),
    ),
    Equivalence(
        "the result follows from the shape alone",
        ("Shape", "Size"),
        ("result depends on the previous call/the same shapes, the same result",),
    ),
    Equivalence(
        "values has two elements, always",
        ("OneHot",),
        ("rank and empty dimensions/an empty input is refused",),
    ),
    Equivalence(
        "every result has one dimension at least",
        ("Unique",),
        ("rank and empty dimensions/a scalar has one dimension",),
    ),
    Equivalence(
        "the operands have one shape: nothing is broadcast",
        ("SwiGLU",),
        ("broadcasting reversed/*",),
    ),
    Equivalence(
        "slope is broadcast to the shape of X, and X to nothing",
        ("PRelu",),
        ("broadcasting reversed/the second operand only",),
    ),
    Equivalence(
        "says what the number of results says too",
        ("Split",),
        ("attribute ignored/num_outputs",),
    ),
    Equivalence(
        "without sorted any order is right, the sorted one too, and it is this engine's",
        ("TopK",),
        ("attribute ignored/sorted", "wrong default/sorted 0"),
    ),
    Equivalence(
        "the square of what needs more digits or bits is beyond the type",
        _ROOTS,
        (
            "too little precision/int64 through double",
            "too little precision/uint64 through uint32",
            "too little precision/uint64 through double",
            "too little precision/int32 through float",
            "too little precision/uint32 through float",
            "too little precision/uint32 through uint16",
        ),
    ),
    Equivalence(
        "the operator's body takes the root in float",
        ("ReduceL2",),
        ("too little precision/int64 through float",),
    ),
    Equivalence(
        "the data has one dimension at least",
        ("ScatterElements",),
        ("rank and empty dimensions/a scalar *",),
    ),
    Equivalence(
        "one number a row or a column, so that of the last two dimensions one is 1",
        ("QLinearMatMul",),
        ("wrong layout/*_scale read by columns", "wrong layout/*_zero_point read by columns"),
    ),
    Equivalence(
        "in the middle between two steps either is right: scales are combined into one factor",
        ("QLinearConv", "QLinearMatMul"),
        ("wrong rounding/halves *",),
    ),
    Equivalence(
        "the result has one scale and one zero point",
        ("QLinearMatMul",),
        (
            "off by one/y_*: end of the * axis",
            "first of several/y_*: its first slice for all",
        ),
    ),
    Equivalence(
        "the largest number is beyond the type too, once it is scaled, squared or an exponent",
        ("ReduceSumSquare", "Selu", "Sinh"),
        ("infinity dropped/read as the largest number",),
    ),
    Equivalence(
        "every number of float16 and every normal one of float has its sign in bfloat16 too",
        ("Sign",),
        (
            "too little precision/float through bfloat16",
            "too little precision/float16 through bfloat16",
        ),
    ),
    Equivalence(
        "a few roundings more, and zero for subnormal numbers alone, which may be flushed",
        ("Softsign",),
        ("naive formula/in its own type",),
    ),
)
