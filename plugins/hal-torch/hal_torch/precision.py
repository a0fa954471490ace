"""Which operators compute in another precision than the model's: a lower one, after the lists of
torch.autocast, or float64, for a reference of other engines."""

from __future__ import annotations

import functools

from hal.contract import contract
from hal.kernels import PrecisionPolicy
from hal.types import ElementType

__all__ = ["policy"]


def _keys(**names: str) -> frozenset[tuple[str, str]]:
    domains = {"onnx": "", "microsoft": "com.microsoft"}
    return frozenset(
        (domains[domain], name) for domain, text in names.items() for name in text.split()
    )


_COMPUTE = _keys(
    onnx="Conv ConvTranspose MatMul Gemm Einsum Attention DeformConv RNN LSTM GRU",
    microsoft=(
        "FusedMatMul FusedGemm FusedConv TransposeMatMul Attention MultiHeadAttention "
        "GroupQueryAttention MatMulNBits"
    ),
)
"""Matrix products and convolutions: these are what a lower precision makes faster. The list is
that of PyTorch's documentation of autocast, "Ops that can autocast to float16"."""
_FOLLOW = _keys(
    onnx=(
        "Identity Shape Size Reshape Flatten Transpose Squeeze Unsqueeze Expand Tile Concat Split "
        "Slice Gather GatherND DepthToSpace SpaceToDepth Pad Where "
        "Add Sub Mul Div Neg Abs Max Min Clip Relu LeakyRelu PRelu Sigmoid HardSigmoid HardSwish "
        "Tanh Gelu Swish Elu Selu Celu MaxPool Dropout BatchNormalization Upsample"
    ),
    microsoft="Gelu FastGelu QuickGelu BiasGelu",
)
"""What moves values or takes each by itself, and so is as exact as what it is given. Everything
else (norms, softmax, reductions, losses, powers and exponentials) stays in float32."""


_OF_MICROSOFT = frozenset(key for key in _COMPUTE | _FOLLOW if key[0])
_NOT_WIDENED = frozenset({"Cast", "CastLike", "BitCast", "Constant", "ConstantOfShape", "EyeLike"})
"""Operators whose result has the type that they are told, whatever they are given."""


@functools.cache
def _widened() -> frozenset[tuple[str, str]]:
    """Every operator that the standard defines over double wherever it does so over float32."""
    found = set()
    for operator in contract().operators:
        if operator.domain != "ai.onnx" or operator.random or operator.name in _NOT_WIDENED:
            continue
        types = [parameter.types for parameter in operator.outputs]
        takes = any("tensor(double)" in parameter.types for parameter in operator.inputs)
        graphs = any(a.type in ("GRAPH", "GRAPHS") for a in operator.attributes)
        narrow = any("tensor(float)" in t and "tensor(double)" not in t for t in types)
        if takes and not graphs and not narrow:
            found.add(("", operator.name))
    return frozenset(found)


def policy(precision: str) -> PrecisionPolicy | None:
    """The policy of an option's value; None for those that keep float32."""
    if precision == "float64":
        return PrecisionPolicy(ElementType.DOUBLE, _widened() | _OF_MICROSOFT, ())
    if precision not in ("bfloat16", "float16"):
        return None
    return PrecisionPolicy(ElementType.from_onnx_name(precision), _COMPUTE, _FOLLOW)
