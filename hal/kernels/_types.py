"""Element types of a node's outputs, from the contract's constraints and a few operators' rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hal.contract import Operator
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["infer_output_types", "type_conflict"]

_Attributes = Mapping[str, Any]
_Rule = Callable[[_Attributes, Sequence[str]], str]


def _number(name: str, default: int | None = None) -> _Rule:
    """The element type whose number an attribute gives, else the first input's, else `default`."""

    def rule(attributes: _Attributes, inputs: Sequence[str]) -> str:
        number = attributes.get(name) or default
        if number:
            try:
                return f"tensor({ElementType(number).onnx_name})"
            except ValueError:
                return ""
        return inputs[0] if inputs else ""

    return rule


def _value(attributes: _Attributes, inputs: Sequence[str]) -> str:
    value = attributes.get("value")
    return value.type if isinstance(value, Tensor) else "tensor(float)"


def _quantized(attributes: _Attributes, inputs: Sequence[str]) -> str:
    if attributes.get("output_dtype"):
        return _number("output_dtype")(attributes, inputs)
    return inputs[2] if len(inputs) > 2 and inputs[2] else "tensor(uint8)"


def _dequantized(attributes: _Attributes, inputs: Sequence[str]) -> str:
    if attributes.get("output_dtype"):
        return _number("output_dtype")(attributes, inputs)
    return inputs[1] if len(inputs) > 1 else ""


def _label(*names: str) -> _Rule:
    """Strings where a string list is given (a classifier's labels), else int64."""

    def rule(attributes: _Attributes, inputs: Sequence[str]) -> str:
        return "tensor(string)" if any(attributes.get(n) for n in names) else "tensor(int64)"

    return rule


def _mapped(attributes: _Attributes, inputs: Sequence[str]) -> str:
    table = attributes.get("values_tensor")
    if isinstance(table, Tensor):
        return table.type
    for name, type_ in (("strings", "string"), ("int64s", "int64"), ("floats", "float")):
        if attributes.get(f"values_{name}"):
            return f"tensor({type_})"
    if attributes.get("classes_strings"):  # LabelEncoder-1: whichever the input is not
        return "tensor(int64)" if inputs[0] == "tensor(string)" else "tensor(string)"
    return ""


def _category(attributes: _Attributes, inputs: Sequence[str]) -> str:
    return "tensor(string)" if inputs[0] == "tensor(int64)" else "tensor(int64)"


def _zipmap(attributes: _Attributes, inputs: Sequence[str]) -> str:
    key = "string" if attributes.get("classlabels_strings") else "int64"
    return f"seq(map({key},tensor(float)))"


def _cast_map(attributes: _Attributes, inputs: Sequence[str]) -> str:
    to = str(attributes.get("cast_to", "TO_FLOAT"))
    return f"tensor({to.removeprefix('TO_').lower()})"


def _map_value(attributes: _Attributes, inputs: Sequence[str]) -> str:
    value = inputs[0].partition(",")[2][:-1].strip()
    return value if value.startswith("tensor(") else f"tensor({value})"


_RULES: Mapping[tuple[str, str], Mapping[int, _Rule]] = {
    ("", "Cast"): {0: _number("to")},
    ("", "BitCast"): {0: _number("to")},
    ("", "ConstantOfShape"): {0: _value},
    ("", "EyeLike"): {0: _number("dtype")},
    ("", "RandomNormal"): {0: _number("dtype", 1)},
    ("", "RandomUniform"): {0: _number("dtype", 1)},
    ("", "RandomNormalLike"): {0: _number("dtype")},
    ("", "RandomUniformLike"): {0: _number("dtype")},
    ("", "Bernoulli"): {0: _number("dtype")},
    ("", "Multinomial"): {0: _number("dtype", 6)},
    ("", "QuantizeLinear"): {0: _quantized},
    ("", "DequantizeLinear"): {0: _dequantized},
    ("", "HannWindow"): {0: _number("output_datatype", 1)},
    ("", "HammingWindow"): {0: _number("output_datatype", 1)},
    ("", "BlackmanWindow"): {0: _number("output_datatype", 1)},
    ("", "MelWeightMatrix"): {0: _number("output_datatype", 1)},
    ("ai.onnx.ml", "LinearClassifier"): {0: _label("classlabels_strings")},
    ("ai.onnx.ml", "SVMClassifier"): {0: _label("classlabels_strings")},
    ("ai.onnx.ml", "TreeEnsembleClassifier"): {0: _label("classlabels_strings")},
    ("ai.onnx.ml", "LabelEncoder"): {0: _mapped},
    ("ai.onnx.ml", "CategoryMapper"): {0: _category},
    ("ai.onnx.ml", "ZipMap"): {0: _zipmap},
    ("ai.onnx.ml", "CastMap"): {0: _cast_map},
    ("ai.onnx.ml", "DictVectorizer"): {0: _map_value},
}
"""Outputs whose type no input says, by operator and output."""


def infer_output_types(
    operator: Operator,
    domain: str,
    attributes: _Attributes,
    inputs: Sequence[str],
    declared: Sequence[str],
) -> tuple[str, ...]:
    """The type strings of a node's outputs; `declared` (what the model says) is the last resort.

    An output has its only allowed type, or the type that an input gives to its constraint, or what
    the operator's rule says. "" where none of these tells.
    """
    rules = _RULES.get((domain, operator.name), {})
    bound = operator.bind(inputs)
    types = []
    for index, said in enumerate(declared):
        formal = operator.output(index)
        found = ""
        if index in rules:
            found = rules[index](attributes, inputs)
        elif formal is not None and len(formal.types) == 1:
            found = formal.types[0]
        elif formal is not None and formal.type in bound:
            found = bound[formal.type][0]
        types.append(found or said)
    return tuple(types)


def _spelled(type_: str) -> str:
    """A type in one spelling: the standard writes map(int64, float), models say
    map(int64,tensor(float))."""
    plain = type_.replace(" ", "")
    if "map(" not in plain:
        return plain
    return re.sub(r"tensor\((\w+)\)", r"\1", plain)


def type_conflict(operator: Operator, inputs: Sequence[str]) -> str:
    """Why the input types do not fit the operator's constraints; "" when they do."""
    seen: dict[str, tuple[int, str]] = {}
    for index, type_ in enumerate(inputs):
        formal = operator.input(index)
        if not type_ or formal is None:
            continue
        allowed = {_spelled(t) for t in formal.types}
        plain = _spelled(type_)
        if plain not in allowed:
            return f"input {index} ({formal.name}) is {type_}, which the operator does not allow"
        if not formal.homogeneous or formal.type in formal.types:
            continue
        first, before = seen.setdefault(formal.type, (index, plain))
        if before != plain:
            return (
                f"inputs {first} and {index} both have the type {formal.type}, "
                f"but are {before} and {type_}"
            )
    return ""
