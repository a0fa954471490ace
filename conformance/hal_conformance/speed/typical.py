"""Sizes for operators that no model of the zoo uses: of HAL's choice, some 2^20 elements.

An instance made here is marked `typical` wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hal.contract import contract
from hal_conformance.speed.usage import Argument, Instance

__all__ = ["BRANCHES", "typical"]

_OPSET = 18
_SQUARE = (1024, 1024)
_IMAGE = (1, 64, 128, 128)
Given = tuple[list[Any], list[Any], dict[str, Any]]

BRANCHES: Mapping[str, Mapping[str, str]] = {
    "If": {
        "then_branch": "then () => (float[1024,1024] t) { t = Neg(x1) }",
        "else_branch": "else () => (float[1024,1024] e) { e = Abs(x1) }",
    },
    "Loop": {
        "body": "body (int64 i, bool c, float[1024,1024] s) => (bool d, float[1024,1024] r) "
        "{ d = Identity(c) r = Add(s, s) }"
    },
    "Scan": {
        "body": "body (float[1024] s, float[1024] a) => (float[1024] r, float[1024] b) "
        "{ r = Add(s, a) b = Identity(r) }"
    },
}
"""The subgraphs of control flow: If negates x1, Loop doubles its state four times, Scan adds up
1,024 rows."""


def typical(key: str) -> Instance | None:
    """The instance of an operator, None where HAL has none."""
    given = _given(key)
    if given is None:
        return None
    inputs, outputs, attributes = given
    opset = contract().latest(key).since_version
    # An older runtime is measured too, except where these attributes mean something else to it.
    if contract().resolve("", key, _OPSET) and key not in ("DFT", "GroupNormalization"):
        opset = _OPSET
    return Instance(0, opset, attributes, tuple(inputs), tuple(outputs), typical=True)


def _f(*shape: int, **more: Any) -> Argument:
    return Argument("float", shape, **more)


def _i(*shape: int, **more: Any) -> Argument:
    return Argument("int64", shape, **more)


def _set(*values: int) -> Argument:
    """A constant vector."""
    return Argument("int64", (len(values),), constant=True, values=values)


def _given(key: str) -> Given | None:
    if key in _UNARY:
        bounds = {"Acosh": (1.0, 2.0), "IsInf": (0.0, 1.0)}.get(key)
        kind = {"IsInf": "bool", "BitwiseNot": "int32"}.get(key, "float")
        of = "int32" if key == "BitwiseNot" else "float"
        bounds = (0, 1000) if of == "int32" else bounds
        return [Argument(of, _SQUARE, range=bounds)], [Argument(kind, _SQUARE)], {}
    if key in _BINARY:
        kind = _BINARY[key]
        one = Argument(kind, _SQUARE, range=(1, 2 if kind == "bool" else 1000))
        return [one, one], [Argument(kind, _SQUARE)], {}
    if key in ("ArgMax", "ArgMin"):
        return [_f(*_SQUARE)], [_i(1024, 1)], {"axis": 1}
    if key in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"):
        return [_f(*_SQUARE), _set(1)], [_f(1024, 1)], {}
    return _OTHERS.get(key)


_UNARY = frozenset(
    [
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitwiseNot",
        "Ceil",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "EyeLike",
        "Floor",
        "Identity",
        "IsInf",
        "LeakyRelu",
        "LogSoftmax",
        "RandomNormalLike",
        "RandomUniformLike",
        "Round",
        "Sign",
        "Sinh",
        "Swish",
        "Tan",
    ]
)
_BINARY: Mapping[str, str] = {
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mod"), "int32"),
    **dict.fromkeys(("Or", "Xor"), "bool"),
    "SwiGLU": "float",
}
_HEADS = (1, 8, 512, 64)
_SEQUENCE = Argument("seq(float)", (16, 256, 256))

_OTHERS: Mapping[str, Given] = {
    "Attention": ([_f(*_HEADS)] * 3, [_f(*_HEADS)], {}),
    "CastLike": (
        [_f(*_SQUARE), Argument("float16", (1,), constant=True, values=(1.0,))],
        [Argument("float16", _SQUARE)],
        {},
    ),
    "CausalConvWithState": (
        [_f(1, 1024, 1024), _f(1024, 1, 4, constant=True)],
        [_f(1, 1024, 1024), _f(1, 1024, 3)],
        {},
    ),
    "Col2Im": ([_f(1, 288, 3844), _set(64, 64), _set(3, 3)], [_f(1, 32, 64, 64)], {}),
    "ConcatFromSequence": ([_SEQUENCE], [_f(4096, 256)], {"axis": 0}),
    "ConvTranspose": (
        [_f(1, 64, 64, 64), _f(64, 32, 2, 2, constant=True)],
        [_f(1, 32, 128, 128)],
        {"strides": [2, 2]},
    ),
    "DFT": (
        [_f(1024, 1024, 1), None, Argument("int64", (), constant=True, values=(1,))],
        [_f(1024, 1024, 2)],
        {},
    ),
    "DepthToSpace": ([_f(*_IMAGE)], [_f(1, 16, 256, 256)], {"blocksize": 2}),
    "GridSample": ([_f(1, 16, 256, 256), _f(1, 256, 256, 2)], [_f(1, 16, 256, 256)], {}),
    "GroupNormalization": (
        [_f(*_IMAGE), _f(64, constant=True), _f(64, constant=True)],
        [_f(*_IMAGE)],
        {"num_groups": 8},
    ),
    "If": ([Argument("bool", (), values=(True,)), _f(*_SQUARE)], [_f(*_SQUARE)], {}),
    "LinearAttention": (
        [_f(1, 512, 512), _f(1, 512, 512), _f(1, 512, 512)],
        [_f(1, 512, 512), _f(1, 8, 64, 64)],
        {"q_num_heads": 8, "kv_num_heads": 8, "update_rule": "linear"},
    ),
    "Loop": (
        [
            _i(values=(4,), constant=True),
            Argument("bool", (), constant=True, values=(True,)),
            _f(*_SQUARE),
        ],
        [_f(*_SQUARE)],
        {},
    ),
    "NonMaxSuppression": (
        [_f(1, 1000, 4), _f(1, 1, 1000), _set(100), _f(1, constant=True, values=(0.5,))],
        [_i(100, 3)],
        {},
    ),
    "NonZero": ([_f(*_SQUARE, range=(1.0, 2.0))], [_i(2, 1 << 20)], {}),
    "Pad": ([_f(*_IMAGE), _set(0, 0, 1, 1, 0, 0, 1, 1)], [_f(1, 64, 130, 130)], {}),
    "RMSNormalization": ([_f(*_SQUARE), _f(1024, constant=True)], [_f(*_SQUARE)], {}),
    "RoiAlign": (
        [_f(*_IMAGE), _f(64, 4, range=(0.0, 128.0)), _i(64, range=(0, 1))],
        [_f(64, 64, 7, 7)],
        {"output_height": 7, "output_width": 7, "sampling_ratio": 2},
    ),
    "RotaryEmbedding": (
        [_f(1, 16, 1024, 64), _f(1024, 32), _f(1024, 32), _i(1, 1024, range=(0, 1024))],
        [_f(1, 16, 1024, 64)],
        {},
    ),
    "Scan": (
        [_f(1024), _f(*_SQUARE)],
        [_f(1024), _f(*_SQUARE)],
        {"num_scan_inputs": 1},
    ),
    "ScatterElements": (
        [_f(*_SQUARE), _i(*_SQUARE, range=(0, 1024)), _f(*_SQUARE)],
        [_f(*_SQUARE)],
        {},
    ),
    "ScatterND": ([_f(*_SQUARE), _i(1024, 1, range=(0, 1024)), _f(*_SQUARE)], [_f(*_SQUARE)], {}),
    "SequenceEmpty": ([], [Argument("seq(float)", (0,))], {}),
    "SequenceInsert": ([_SEQUENCE, _f(256, 256)], [Argument("seq(float)", (17, 256, 256))], {}),
    "Size": ([_f(*_SQUARE)], [_i()], {}),
    "SplitToSequence": (
        [_f(*_SQUARE), _i(constant=True, values=(64,))],
        [Argument("seq(float)", (16, 64, 1024))],
        {},
    ),
    "TensorScatter": (
        [_f(1, 8, 1024, 128), _f(1, 8, 16, 128), _set(0)],
        [_f(1, 8, 1024, 128)],
        {},
    ),
    "TopK": ([_f(*_SQUARE), _set(10)], [_f(1024, 10), _i(1024, 10)], {}),
}
