"""Of attributes, and of operands of which only the shape or the type is read."""

from __future__ import annotations

from hal_conformance.mutants.equivalent.rule import CONVS, POOLS, READ, Equivalence

__all__ = ["RULES"]

RULES: tuple[Equivalence, ...] = (
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
        READ,
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
        "a matrix and its transpose have one determinant",
        ("Det",),
        ("wrong layout/X read by columns",),
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
        CONVS,
        ("attribute ignored/kernel_shape", "wrong stride/kernel_shape*"),
    ),
    Equivalence(
        "VALID is no padding, and so is NOTSET without pads",
        (*CONVS, *POOLS),
        ("attribute ignored/auto_pad VALID",),
    ),
)
