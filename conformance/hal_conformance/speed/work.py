"""What an operator takes at least: operations and bytes, from shapes alone.

Operations: two a multiply-add; one for every other arithmetic operation, comparison or elementary
function on a number. Bytes: every input is read once and every output written once, except that
operators which pick elements read only what they give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from hal._work import product_operations
from hal.types import ElementType
from hal_conformance.speed.usage import Argument, Instance

__all__ = ["bytes_of", "operations_of"]

_PER_OUTPUT: Mapping[str, int] = {
    **dict.fromkeys(
        [
            "Abs",
            "Acos",
            "Acosh",
            "Add",
            "And",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "BitwiseAnd",
            "BitwiseNot",
            "BitwiseOr",
            "BitwiseXor",
            "Ceil",
            "Cos",
            "Cosh",
            "CumSum",
            "Div",
            "Equal",
            "Erf",
            "Exp",
            "Floor",
            "Greater",
            "GreaterOrEqual",
            "IsInf",
            "IsNaN",
            "Less",
            "LessOrEqual",
            "Log",
            "Mod",
            "Mul",
            "Neg",
            "Not",
            "Or",
            "Pow",
            "Reciprocal",
            "Relu",
            "Round",
            "Sign",
            "Sin",
            "Sinh",
            "Sqrt",
            "Sub",
            "Tan",
            "Tanh",
            "Where",
            "Xor",
            "Range",
        ],
        1,
    ),
    "Clip": 2,  # two comparisons
    "LeakyRelu": 2,  # comparison, product
    "BatchNormalization": 2,  # one multiply-add: scale and shift are constants
    "Elu": 3,  # comparison, exp, difference
    "Sigmoid": 3,  # exp, sum, quotient
    "Swish": 4,  # Sigmoid, product
    "SwiGLU": 5,  # Swish, product
    "Gelu": 5,  # x / sqrt(2), erf, + 1, two products
    "Softmax": 5,  # maximum, difference, exp, sum, quotient
    "LogSoftmax": 5,  # maximum, difference, exp, sum, difference
    "LayerNormalization": 8,  # mean 1, variance 3, normalised 2, scale and shift 2
    "GroupNormalization": 8,
    "InstanceNormalization": 8,
    "RMSNormalization": 4,  # square, sum, two products
    "RotaryEmbedding": 3,  # two products and a sum
    "GridSample": 11,  # four weights of bilinear sampling, four multiply-adds less one sum
    "RandomUniformLike": 4,  # one round of a counter-based generator
    "RandomNormalLike": 10,  # the same, logarithm, root, cosine and products of Box and Muller
    "If": 1,  # the branch of BRANCHES
    "Scan": 1,
    "Loop": 4,  # rounds of one sum
    "Resize": 7,  # four multiply-adds less one sum
}
"""Operations for each element of the first output."""
_PER_INPUT: Mapping[str, int] = {
    **dict.fromkeys(
        [
            "ArgMax",
            "ArgMin",
            "GlobalAveragePool",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "NonZero",
            "TopK",
            "Col2Im",
        ],
        1,
    ),
    "ReduceL2": 2,
}
"""Operations for each element of the first input: reductions."""
_NONE = frozenset(
    [
        "Cast",
        "CastLike",
        "Concat",
        "ConcatFromSequence",
        "Constant",
        "ConstantOfShape",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "EyeLike",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "ScatterElements",
        "ScatterND",
        "SequenceEmpty",
        "SequenceInsert",
        "Shape",
        "Size",
        "Slice",
        "Split",
        "SplitToSequence",
        "Squeeze",
        "TensorScatter",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)
"""These move, and do not compute."""
_PICK = frozenset(("Gather", "GatherElements", "GatherND", "Slice"))
_METADATA = frozenset(("Shape", "Size"))


def operations_of(op_type: str, instance: Instance) -> float | None:
    """The operations of a node; None where HAL has no formula for the operator."""
    shapes = [None if a is None else a.shape for a in instance.inputs]
    out = float(_size(instance.outputs[0])) if instance.outputs else 0.0
    attributes = instance.attributes
    found = product_operations(op_type, shapes, out, group=int(attributes.get("group", 1)))
    if op_type == "Gemm" and attributes.get("transA") and shapes[0]:
        return 2.0 * out * shapes[0][0]
    if found:
        return found[1]
    if op_type in ("Max", "Min", "Sum"):
        return out * max(len(shapes) - 1, 1)
    if op_type in ("MaxPool", "AveragePool"):
        return out * float(math.prod(attributes.get("kernel_shape", (1,))))
    if op_type == "LRN":  # a square and a sum for each neighbour; sum, power, product, quotient
        return out * (2 * int(attributes.get("size", 1)) + 4)
    if op_type == "CausalConvWithState" and shapes[1]:
        return 2.0 * out * shapes[1][-1]
    if op_type == "DFT" and shapes[0]:  # radix 2
        length = shapes[0][int(attributes.get("axis", -2))]
        return 2.5 * out * max(math.log2(length), 1.0)
    if op_type == "LinearAttention" and shapes[2]:  # a state's update and its product, per token
        heads = int(attributes["kv_num_heads"])
        return 4.0 * _size(instance.inputs[1]) * shapes[2][-1] / heads
    if op_type == "RoiAlign":  # bilinear samples, each as in GridSample
        return out * 11 * int(attributes.get("sampling_ratio", 1)) ** 2
    if op_type == "NonMaxSuppression" and shapes[0]:  # the overlap of each box with each kept one
        return 12.0 * shapes[0][1] * _size(instance.outputs[0]) / 3
    if op_type in _NONE:
        return 0.0
    if op_type in _PER_OUTPUT:
        return out * _PER_OUTPUT[op_type]
    if op_type in _PER_INPUT:
        return float(_size(instance.inputs[0])) * _PER_INPUT[op_type]
    return None


def bytes_of(op_type: str, instance: Instance) -> int:
    """The bytes that a node reads and writes at least."""
    if op_type in _METADATA:
        return sum(map(_bytes, instance.outputs))
    read = [_bytes(a) for a in instance.inputs]
    written = sum(map(_bytes, instance.outputs))
    if op_type in _PICK and read:
        read[0] = min(read[0], written)
    return sum(read) + written


def _size(argument: Argument | None) -> int:
    return math.prod(argument.shape) if argument else 0


def _bytes(argument: Argument | None) -> int:
    if argument is None:
        return 0
    return ElementType.from_onnx_name(argument.element).nbytes(_size(argument))
