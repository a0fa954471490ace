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
        (*CONVS, "DeformConv"),
        ("attribute ignored/kernel_shape", "wrong stride/kernel_shape*"),
    ),
    Equivalence(
        "VALID is no padding, and so is NOTSET without pads",
        (*CONVS, *POOLS),
        ("attribute ignored/auto_pad VALID",),
    ),
    Equivalence(
        "the result follows from the shape of the operand and from attributes",
        ("EyeLike",),
        ("result depends on the previous call/the same shapes, the same result",),
    ),
    Equivalence(
        "a result of the same shape has the same elements, whatever the call before was",
        ("BlackmanWindow", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow"),
        ("result depends on the previous call/zeros show the last result",),
    ),
    Equivalence(
        "all elements of the result are the same",
        ("ConstantOfShape",),
        ("wrong layout/result written by columns",),
    ),
    Equivalence(
        "of target_type only the type is read, which a model fixes",
        ("CastLike",),
        ("stale cache on a new shape/the other inputs",),
    ),
    Equivalence(
        "says how many tokens a kernel may take at once, and nothing of the results",
        ("LinearAttention",),
        ("wrong default/chunk_size *",),
    ),
    Equivalence(
        "says how precisely a kernel may compute: the bound is that of the type",
        ("Attention",),
        ("attribute ignored/softmax_precision",),
    ),
    Equivalence(
        "the pads count in the extents of the result alone, by the sum of both ends",
        ("MaxUnpool",),
        ("off-by-one padding/pads: the ends exchanged", "off-by-one padding/pads: shifted by one"),
    ),
)
