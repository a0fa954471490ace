"""What a valid one-node model of each operator needs beyond its schema. A pure table.

Operators that are not here take the default: inputs of shape [2, 3], no attribute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from hal.contract._proto import AttributeValue

__all__ = ["DEFAULT_SHAPE", "PROBES", "Probe"]

DEFAULT_SHAPE = (2, 3)


@dataclasses.dataclass(frozen=True)
class Probe:
    """`shapes` by input position, the last one for all that follow. `values` are int64 inputs that
    are given as constants, by position (a number: a scalar). `inputs` are optional inputs that the
    operator cannot do without; `count` and `outputs` are how many inputs and outputs it has at
    least."""

    shapes: tuple[Sequence[int], ...] = (DEFAULT_SHAPE,)
    attributes: Mapping[str, AttributeValue] = dataclasses.field(default_factory=dict)
    values: Mapping[int, Sequence[int] | int] = dataclasses.field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    outputs: int = 0
    count: int = 0


_SCALAR: tuple[int, ...] = ()
_IMAGE = (1, 2, 8, 8)
_POOL = Probe((_IMAGE,), {"kernel_shape": [2, 2]})
_RNN = {"hidden_size": 3}
_ATTENTION = (1, 2, 4, 8)
_REDUCE = Probe(values={1: [1]})
_WINDOW = Probe((_SCALAR,))
_UPDATES = (1, 3)

PROBES: Mapping[str, Probe] = {
    "AffineGrid": Probe(((1, 2, 3),), values={1: [1, 2, 4, 4]}),
    "Attention": Probe((_ATTENTION, _ATTENTION, _ATTENTION, (2, 2), _ATTENTION, _ATTENTION, (1,))),
    "AveragePool": _POOL,
    "BatchNormalization": Probe((_IMAGE, (2,))),
    "BitShift": Probe(attributes={"direction": "LEFT"}),
    "BlackmanWindow": _WINDOW,
    "CausalConvWithState": Probe(((1, 2, 8), (2, 1, 3), (2,), (1, 2, 2))),
    "CenterCropPad": Probe(((4, 4), (2,)), values={1: [2, 2]}),
    "Clip": Probe((DEFAULT_SHAPE, _SCALAR)),
    "Col2Im": Probe(((1, 4, 4), (2,)), values={1: [4, 4], 2: [2, 2]}),
    "Compress": Probe(((2, 3), (3,))),
    "Concat": Probe(attributes={"axis": 0}),
    "ConcatFromSequence": Probe(attributes={"axis": 0}),
    "ConstantOfShape": Probe(((2,),), values={0: [2, 3]}),
    "Conv": Probe((_IMAGE, (2, 2, 3, 3), (2,))),
    "ConvInteger": Probe((_IMAGE, (2, 2, 3, 3), _SCALAR)),
    "ConvTranspose": Probe((_IMAGE, (2, 2, 3, 3), (2,))),
    "CumProd": Probe((DEFAULT_SHAPE, _SCALAR)),
    "CumSum": Probe((DEFAULT_SHAPE, _SCALAR)),
    "DFT": Probe(((1, 8, 1), _SCALAR)),
    "DeformConv": Probe((_IMAGE, (2, 2, 3, 3), (1, 18, 6, 6), (2,), (1, 9, 6, 6))),
    "DepthToSpace": Probe(((1, 4, 2, 2),), {"blocksize": 2}),
    "DequantizeLinear": Probe((DEFAULT_SHAPE, _SCALAR)),
    "Det": Probe(((3, 3),)),
    "Dropout": Probe((DEFAULT_SHAPE, _SCALAR)),
    "Einsum": Probe(attributes={"equation": "ij->ij"}),
    "Expand": Probe(((2, 3), (2,)), values={1: [2, 3]}),
    "ai.onnx.preview::FlexAttention": Probe((_ATTENTION,)),
    "GRU": Probe(((2, 1, 4), (1, 9, 4), (1, 9, 3), (1, 18), (1,), (1, 1, 3)), _RNN),
    "GatherND": Probe((DEFAULT_SHAPE, (1, 2))),
    "Gemm": Probe(((2, 3), (3, 2), (2, 2))),
    "GlobalAveragePool": Probe((_IMAGE,)),
    "GlobalLpPool": Probe((_IMAGE,)),
    "GlobalMaxPool": Probe((_IMAGE,)),
    "GridSample": Probe(((1, 2, 4, 4), (1, 3, 3, 2))),
    "GroupNormalization": Probe(((1, 4, 4, 4), (4,)), {"num_groups": 2}),
    "HammingWindow": _WINDOW,
    "HannWindow": _WINDOW,
    "ImageDecoder": Probe(((16,),)),
    "InstanceNormalization": Probe((_IMAGE, (2,))),
    "LRN": Probe((_IMAGE,), {"size": 3}),
    "LSTM": Probe(
        ((2, 1, 4), (1, 12, 4), (1, 12, 3), (1, 24), (1,), (1, 1, 3), (1, 1, 3), (1, 9)), _RNN
    ),
    "LayerNormalization": Probe((DEFAULT_SHAPE, (3,))),
    "LinearAttention": Probe(
        ((1, 4, 8), (1, 4, 8), (1, 4, 8), (1, 2, 4, 4)),
        {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear"},
    ),
    "Loop": Probe((_SCALAR, _SCALAR, DEFAULT_SHAPE), inputs=(2,)),
    "LpPool": _POOL,
    "MatMul": Probe(((2, 3), (3, 2))),
    "MatMulInteger": Probe(((2, 3), (3, 2), _SCALAR)),
    "MaxPool": _POOL,
    "MaxRoiPool": Probe((_IMAGE, (1, 5)), {"pooled_shape": [2, 2]}),
    "MaxUnpool": Probe(((1, 2, 4, 4),), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "MeanVarianceNormalization": Probe((_IMAGE,)),
    "MelWeightMatrix": Probe((_SCALAR,)),
    "NegativeLogLikelihoodLoss": Probe(((2, 3), (2,), (3,))),
    "NonMaxSuppression": Probe(((1, 4, 4), (1, 1, 4), (1,))),
    "OneHot": Probe(((3,), _SCALAR, (2,))),
    "PRelu": Probe((DEFAULT_SHAPE, (3,))),
    "Pad": Probe((DEFAULT_SHAPE, (4,), _SCALAR, (2,)), values={1: [0, 1, 0, 1]}),
    "QLinearConv": Probe((_IMAGE, _SCALAR, _SCALAR, (2, 2, 3, 3), *[_SCALAR] * 4, (2,))),
    "QLinearMatMul": Probe(((2, 3), _SCALAR, _SCALAR, (3, 2), _SCALAR, _SCALAR, _SCALAR, _SCALAR)),
    "QuantizeLinear": Probe((DEFAULT_SHAPE, _SCALAR)),
    "RMSNormalization": Probe((DEFAULT_SHAPE, (3,))),
    "RNN": Probe(((2, 1, 4), (1, 3, 4), (1, 3, 3), (1, 6), (1,), (1, 1, 3)), _RNN),
    "RandomNormal": Probe(attributes={"shape": [2, 3]}),
    "RandomUniform": Probe(attributes={"shape": [2, 3]}),
    "Range": Probe((_SCALAR,)),
    **{
        f"Reduce{kind}": _REDUCE
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")
    },
    "ReduceSumSquare": _REDUCE,
    "RegexFullMatch": Probe(attributes={"pattern": "a"}),
    "Reshape": Probe(((2, 3), (1,)), values={1: [-1]}),
    "Resize": Probe((_IMAGE, (8,), (4,), (4,)), values={3: [1, 2, 16, 16]}, inputs=(3,)),
    "ReverseSequence": Probe(((4, 2), (2,))),
    "RoiAlign": Probe((_IMAGE, (1, 4), (1,))),
    "RotaryEmbedding": Probe(((1, 2, 4, 8), (8, 4), (8, 4), (1, 4))),
    "STFT": Probe(((1, 16, 1), _SCALAR, (8,), _SCALAR), inputs=(3,), values={1: 4, 3: 8}),
    "ScatterND": Probe(((2, 3), (1, 1), _UPDATES)),
    "SequenceAt": Probe((DEFAULT_SHAPE, _SCALAR)),
    "SequenceErase": Probe((DEFAULT_SHAPE, _SCALAR)),
    "SequenceInsert": Probe((DEFAULT_SHAPE, DEFAULT_SHAPE, _SCALAR)),
    "Slice": Probe(((2, 3), (1,))),
    "SoftmaxCrossEntropyLoss": Probe(((2, 3), (2,), (3,))),
    "SpaceToDepth": Probe(((1, 1, 4, 4),), {"blocksize": 2}),
    "Split": Probe(((4, 3), (2,)), {"num_outputs": 2}, outputs=2),
    "SplitToSequence": Probe(((4, 3), _SCALAR)),
    "Squeeze": Probe(((1, 3), (1,)), values={1: [0]}),
    "StringNormalizer": Probe(((3,),)),
    "TensorScatter": Probe((_ATTENTION, (1, 2, 1, 8), (1,))),
    "TfIdfVectorizer": Probe(
        ((4,),),
        {
            "mode": "TF",
            "min_gram_length": 1,
            "max_gram_length": 1,
            "max_skip_count": 0,
            "ngram_counts": [0],
            "ngram_indexes": [0, 1],
        },
    ),
    "Tile": Probe(((2, 3), (2,)), values={1: [1, 2]}),
    "TopK": Probe(((2, 3), (1,)), values={1: [2]}, outputs=2),
    "Trilu": Probe(((3, 3), _SCALAR)),
    "Unsqueeze": Probe(((2, 3), (1,)), values={1: [0]}),
    "ai.onnx.ml::ArrayFeatureExtractor": Probe(((2, 3), (2,))),
    "ai.onnx.ml::CategoryMapper": Probe(
        attributes={"cats_strings": ["a"], "cats_int64s": [1], "default_string": ""}
    ),
    "ai.onnx.ml::FeatureVectorizer": Probe(attributes={"inputdimensions": [3]}),
    "ai.onnx.ml::LinearClassifier": Probe(
        attributes={"coefficients": [1.0] * 6, "intercepts": [0.0] * 2}
    ),
    "ai.onnx.ml::LinearRegressor": Probe(
        attributes={"coefficients": [1.0] * 3, "intercepts": [0.0]}
    ),
    "ai.onnx.ml::Normalizer": Probe(attributes={"norm": "L2"}),
    "ai.onnx.ml::SVMClassifier": Probe(
        attributes={
            "coefficients": [1.0, -1.0],
            "kernel_type": "LINEAR",
            "kernel_params": [0.0, 0.0, 3.0],
            "rho": [0.0],
            "support_vectors": [0.0, 1.0, 2.0, 1.0, 0.0, 1.0],
            "vectors_per_class": [1, 1],
        }
    ),
    "ai.onnx.ml::SVMRegressor": Probe(
        attributes={
            "coefficients": [1.0],
            "kernel_type": "LINEAR",
            "kernel_params": [0.0, 0.0, 3.0],
            "n_supports": 1,
            "rho": [0.0],
            "support_vectors": [0.0, 1.0, 2.0],
        }
    ),
    "ai.onnx.ml::Scaler": Probe(attributes={"offset": [0.0], "scale": [1.0]}),
    "ai.onnx.preview.training::Adagrad": Probe(
        (_SCALAR, _SCALAR, DEFAULT_SHAPE), count=5, outputs=2
    ),
    "ai.onnx.preview.training::Adam": Probe((_SCALAR, _SCALAR, DEFAULT_SHAPE), count=6, outputs=3),
    "ai.onnx.preview.training::Momentum": Probe(
        (_SCALAR, _SCALAR, DEFAULT_SHAPE),
        {"alpha": 0.9, "beta": 1.0, "mode": "standard", "norm_coefficient": 0.0},
        count=5,
        outputs=2,
    ),
}
