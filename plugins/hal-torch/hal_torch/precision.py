"""Which operators compute in a lower precision, after the lists of torch.autocast."""

from __future__ import annotations

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


def policy(precision: str) -> PrecisionPolicy | None:
    """The policy of an option's value; None for those that keep float32."""
    if precision not in ("bfloat16", "float16"):
        return None
    return PrecisionPolicy(ElementType.from_onnx_name(precision), _COMPUTE, _FOLLOW)
