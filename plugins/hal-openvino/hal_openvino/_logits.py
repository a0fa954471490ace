"""Logits in float32, where the rest is computed in a narrower type."""

from __future__ import annotations

import math
from typing import Any

from hal_openvino._compat import openvino

__all__ = ["keep_logits"]

_PRODUCTS = frozenset({"MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData"})
_RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze"})


def keep_logits(converted: Any) -> None:
    """Let the product whose result goes through the model's last softmax give float32, in place.

    A softmax makes an absolute error of its input a relative one of its output, so that rounding a
    logit of 8 to bfloat16 alone costs 3 % of its probability. OpenVINO's CPU plugin computes what
    follows the last product in float32, and lets a product write the type of what is fused to it:
    a Clamp to all numbers, behind the product, is enough. What the product reads stays narrow, so
    that this costs no time.
    """
    for node in converted.get_ordered_ops():
        if node.get_type_name() not in ("Softmax", "LogSoftmax") or not _is_last(node):
            continue
        port = node.input(0)
        while (source := port.get_source_output().get_node()).get_type_name() in _RESHAPES:
            port = source.input(0)
        if _is_product(source):
            kept = openvino.opset13.clamp(port.get_source_output(), -math.inf, math.inf)
            port.replace_source_output(kept.output(0))


def _is_product(node: Any) -> bool:
    """Whether a node is a product, or one that is scaled or gets a bias."""
    while node.get_type_name() in ("Add", "Multiply"):
        values = [source for source in _sources(node) if not _is_constant(source)]
        if len(values) != 1:
            return False
        node = values[0]
    return node.get_type_name() in _PRODUCTS


def _is_constant(node: Any, depth: int = 3) -> bool:
    """Whether a node is a constant, or made of constants by a few nodes."""
    if node.get_type_name() == "Constant":
        return True
    sources = _sources(node) if depth else []
    return bool(sources) and all(_is_constant(source, depth - 1) for source in sources)


def _sources(node: Any) -> list[Any]:
    return [node.input_value(i).get_node() for i in range(node.get_input_size())]


def _is_last(node: Any) -> bool:
    """Whether no product uses a node's result, directly or not."""
    seen, ahead = set(), [node]
    while ahead:
        for output in ahead.pop().outputs():
            for target in output.get_target_inputs():
                user = target.get_node()
                if user.get_type_name() in _PRODUCTS:
                    return False
                if user.get_name() not in seen:
                    seen.add(user.get_name())
                    ahead.append(user)
    return True
