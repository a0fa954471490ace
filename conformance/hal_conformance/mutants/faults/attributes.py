"""Attributes and optional inputs that a kernel does not look at, or reads wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hal import ElementType
from hal.contract import Attribute, Operator
from hal_conformance.mutants.call import Call
from hal_conformance.mutants.fault import Change, Fault, makes, mistaken, rewrite

__all__ = ["CHOICES"]

_NO_VALUE = frozenset({"seed", "body", "then_branch", "else_branch", "locale", "stash_type"})
"""Attributes whose value no result shows: seeds; subgraphs, which are the operator; what says how
a kernel may compute."""

_NEVER_NEGATIVE = frozenset({"clip", "epsilon", "momentum", "softcap", "spatial_scale"})
_TYPES = frozenset({"dtype", "output_datatype", "output_dtype"})
"""Attributes that name an element type, for which 0 is none."""

_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_POOL = {"auto_pad": _PADS}
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
_REDUCTIONS = ("none", "add", "mul", "max", "min")
CHOICES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    **dict.fromkeys(
        ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"),
        _POOL,
    ),
    "Attention": {"qk_matmul_output_mode": (0, 1, 2, 3)},
    "BitShift": {"direction": ("RIGHT", "LEFT")},
    "CausalConvWithState": {"activation": ("none", "silu", "swish")},
    "DepthToSpace": {"mode": ("DCR", "CRD")},
    "GRU": {"direction": ("forward", "reverse", "bidirectional")},
    "LSTM": {"direction": ("forward", "reverse", "bidirectional")},
    "RNN": {"direction": ("forward", "reverse", "bidirectional")},
    "GridSample": {
        "mode": ("linear", "nearest", "cubic"),
        "padding_mode": ("zeros", "border", "reflection"),
    },
    "LinearAttention": {"update_rule": ("linear", "gated", "delta", "gated_delta")},
    "NegativeLogLikelihoodLoss": {"reduction": ("mean", "sum", "none")},
    "SoftmaxCrossEntropyLoss": {"reduction": ("mean", "sum", "none")},
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "Resize": {
        "coordinate_transformation_mode": (
            "half_pixel",
            "half_pixel_symmetric",
            "pytorch_half_pixel",
            "align_corners",
            "asymmetric",
            "tf_crop_and_resize",
        ),
        "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
        "mode": ("nearest", "linear", "cubic"),
        "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    },
    "ScatterElements": {"reduction": _REDUCTIONS},
    "ScatterND": {"reduction": _REDUCTIONS},
    "StringNormalizer": {"case_change_action": ("NONE", "LOWER", "UPPER")},
    "TfIdfVectorizer": {"mode": ("TF", "IDF", "TFIDF")},
    "ai.onnx.ml::LinearClassifier": {"post_transform": _TRANSFORMS},
    "ai.onnx.ml::LinearRegressor": {"post_transform": _TRANSFORMS},
    "ai.onnx.ml::Normalizer": {"norm": ("MAX", "L1", "L2")},
    "ai.onnx.ml::SVMClassifier": {"kernel_type": _KERNELS, "post_transform": _TRANSFORMS},
    "ai.onnx.ml::SVMRegressor": {"kernel_type": _KERNELS, "post_transform": _TRANSFORMS},
    "ai.onnx.ml::TreeEnsemble": {
        "aggregate_function": (0, 1, 2, 3),
        "post_transform": (0, 1, 2, 3, 4),
    },
}
"""The values of attributes that choose between meanings, by operator, the default first where
there is one."""


@makes("attribute ignored")
def ignored(operator: Operator) -> Iterator[Fault]:
    """The default is taken, whatever the node says."""
    for attribute in operator.attributes:
        if attribute.required or attribute.name in _NO_VALUE:
            continue
        yield rewrite(attribute.name, _without(attribute.name))
    for name, choices in CHOICES.get(operator.key, {}).items():
        attribute_ = operator.attribute(name)
        default = attribute_.default if attribute_ else None
        for value in choices:
            other = choices[0] if default is None else default
            if value != other and len(choices) > 2:
                yield rewrite(f"{name} {value}", mistaken(name, value, other))


@makes("wrong default")
def other_default(operator: Operator) -> Iterator[Fault]:
    """Where the node does not have the attribute, another value than the standard's is taken."""
    for attribute in operator.attributes:
        other = _other(operator, attribute)
        if other is not None and attribute.name not in _NO_VALUE:
            yield rewrite(f"{attribute.name} {other}", _defaulting(attribute.name, other))


@makes("attribute misread")
def misread(operator: Operator) -> Iterator[Fault]:
    """Fractions cut off, signs lost, of several numbers only the first one taken."""
    for attribute in operator.attributes:
        if attribute.name in _NO_VALUE:
            continue
        if attribute.type == "FLOAT":
            yield rewrite(f"{attribute.name} cut off", _mapped(attribute.name, _cut))
            positive = operator.key == "Attention" and attribute.name == "scale"  # has a root
            if attribute.name not in _NEVER_NEGATIVE and not positive:
                yield rewrite(f"{attribute.name} without its sign", _mapped(attribute.name, abs))
        elif attribute.type == "FLOATS":
            yield rewrite(f"{attribute.name}: the first for all", _mapped(attribute.name, _first))
    yield from _flags(operator)


@makes("optional input ignored")
def input_ignored(operator: Operator) -> Iterator[Fault]:
    """An optional input is not looked at."""
    for position, parameter in enumerate(operator.inputs):
        if parameter.option == "optional":
            yield rewrite(parameter.name, _unfed(position))


def _flags(operator: Operator) -> Iterator[Fault]:
    for name, choices in CHOICES.get(operator.key, {}).items():
        if len(choices) == 2:
            yield rewrite(f"{name} exchanged", _exchanged(name, choices))


def _exchanged(name: str, choices: tuple[Any, ...]) -> Change:
    return lambda call: call.setting(name, choices[call.attribute(name) == choices[0]])


def _other(operator: Operator, attribute: Attribute) -> Any:
    value = attribute.default
    if isinstance(value, float):
        return value * 100 if attribute.name == "epsilon" else value * 1.5 + 0.25
    if isinstance(value, int) and attribute.name in _TYPES:
        other = ElementType.DOUBLE if value == ElementType.FLOAT else ElementType.FLOAT
        return int(other)
    if isinstance(value, int):
        if value in (0, 1) and attribute.name not in ("axis", "k", "batch_axis", "time_axis"):
            return 1 - value
        return value + 1
    if isinstance(value, str):
        choices = CHOICES.get(operator.key, {}).get(attribute.name, ())
        return next((c for c in choices if c != value), None)
    return None


def _without(name: str) -> Change:
    return lambda call: call.setting(name, None) if name in call.attributes else None


def _defaulting(name: str, other: Any) -> Change:
    return lambda call: None if name in call.attributes else call.setting(name, other)


def _mapped(name: str, change: Callable[[Any], Any]) -> Change:
    def changed(call: Call) -> Call | None:
        value = call.attribute(name)
        return (
            None if value is None or change(value) == value else call.setting(name, change(value))
        )

    return changed


def _unfed(position: int) -> Change:
    def changed(call: Call) -> Call | None:
        if position >= len(call.inputs) or call.inputs[position] is None:
            return None
        return call.feeding(position, None)

    return changed


def _cut(value: float) -> float:
    return float(int(value))


def _first(values: Any) -> list[float]:
    return [values[0]] * len(values)
