"""Convolutions on the CPU as oneDNN does them best: one call for a convolution, the scaling after
it, a residual sum and an activation; weights laid out once; images with their channels last.

The operators `torch.ops.mkldnn` are those that TorchInductor calls. A program keeps its steps as
they are where torch is built without oneDNN, and on every other device.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.kernels import NodeInfo
from hal.kernels.rewriting import Block, Constants, Step, Value
from hal_torch.fusion._traced import ACTIVATIONS, traced_convolution
from hal_torch.fusion._uses import Uses
from hal_torch.kernels._window import Window

__all__ = ["fuse_convolutions"]

Tensor = torch.Tensor
Array = np.ndarray[Any, np.dtype[Any]]
Unary = tuple[str, list[float], str]
_NO_UNARY: Unary = ("none", [], "")


def fuse_convolutions(block: Block, constants: Constants, *, traced: bool) -> None:
    """Replace convolutions of constant weights, and what follows them, in place. `traced`: the
    program is made into a graph, which takes plain weights alone."""
    graph = Uses(block)
    chains = [
        _Chain(graph, step, info, weight, constants)
        for step in block.steps
        for info, weight in _candidate(step)
    ]
    last = {id(chain.steps[-1]): chain for chain in chains}
    gone = {id(step) for chain in chains for step in chain.steps}
    block.steps = [
        last[id(step)].fused(traced) if id(step) in last else step
        for step in block.steps
        if id(step) in last or id(step) not in gone
    ]


def _candidate(step: Step) -> list[tuple[NodeInfo, Value]]:
    """What is known of a step and its weight, if it is a convolution that can be fused."""
    if step.op_type != "Conv" or step.info is None or step.info.domain or step.on_host:
        return []
    weight = step.args[1]
    bias = step.args[2] if len(step.args) > 2 else None
    if weight is None or not weight.constant or not (bias is None or bias.constant):
        return []
    shape = weight.shape
    known = shape is not None and len(shape) == 4 and 0 not in shape
    return [(step.info, weight)] if known and weight.type == "tensor(float)" else []


def _host(value: Value, constants: Constants) -> Array:
    """A constant in place: a weight may lie anywhere in a file, and is scaled without a copy."""
    array: Array = constants.host(value)
    return array


class _Chain:
    """A convolution and the steps that go into its call."""

    def __init__(
        self, uses: Uses, step: Step, info: NodeInfo, weight: Value, constants: Constants
    ) -> None:
        self._constants = constants
        self.steps = [step]
        self.info = info
        self.weight = weight
        bias = step.args[2] if len(step.args) > 2 else None
        self.channels = int((weight.shape or [0])[0])  # type: ignore[arg-type]  # it is constant
        self.factor: Array | None = None
        """What each channel of the weight is multiplied with."""
        self.bias: Array | None = None if bias is None else _host(bias, constants).astype("f8")
        self.other: Value | None = None
        self.unary = _NO_UNARY
        while self.unary is _NO_UNARY:
            follower = uses.only_reader(self.steps[-1].outputs[0])
            if follower is None or follower.info is None:
                break
            if not self._take(follower, follower.info):
                break
            uses.taken.add(id(follower))
            self.steps.append(follower)

    def _take(self, step: Step, info: NodeInfo) -> bool:
        """Whether the step goes into the call; if so, its part is noted."""
        unary = _unary(step, info, self._constants)
        if unary is not None and step.args[0] is self.steps[-1].outputs[0]:
            self.unary = unary
            return True
        if self.other is not None:
            return False
        if step.op_type == "BatchNormalization":
            return self._normalize(step, info)
        if step.op_type in ("Add", "Sum", "Mul") and len(step.args) == 2:
            return self._combine(step)
        return False

    def _normalize(self, step: Step, info: NodeInfo) -> bool:
        given = info.attributes
        if len(step.outputs) > 1 or given.get("training_mode") or not given.get("spatial", 1):
            return False
        known = [v for v in step.args[1:5] if v is not None and v.constant]
        if len(known) < 4 or {v.type for v in known} != {"tensor(float)"}:
            return False
        scale, shift, mean, variance = (_host(v, self._constants).astype("f8") for v in known)
        factor = scale / np.sqrt(variance + given["epsilon"])
        self._scale(factor)
        self._shift(shift - mean * factor)
        return True

    def _combine(self, step: Step) -> bool:
        own = self.steps[-1].outputs[0]
        other = step.args[1] if step.args[0] is own else step.args[0]
        if other is None or other is own or other.type != "tensor(float)":
            return False
        if not other.constant:
            if step.op_type == "Mul":
                return False
            self.other = other
            return True
        array = _host(other, self._constants)
        if array.ndim > 4 or (array.size > 1 and array.shape[-3:] != (self.channels, 1, 1)):
            return False
        factor = np.broadcast_to(array.astype("f8").reshape(-1), self.channels)
        if step.op_type == "Mul":
            self._scale(factor)
        else:
            self._shift(factor)
        return True

    def _scale(self, factor: Array) -> None:
        self.factor = factor if self.factor is None else self.factor * factor
        self.bias = None if self.bias is None else self.bias * factor

    def _shift(self, amount: Array) -> None:
        self.bias = amount if self.bias is None else self.bias + amount

    def _tensors(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias, rounded once."""
        bias = None if self.bias is None else torch.from_numpy(self.bias.astype(np.float32))
        if self.factor is None:
            return self._constants.device(self.weight), bias
        factor = self.factor.astype(np.float32).reshape(-1, 1, 1, 1)
        return torch.from_numpy(_host(self.weight, self._constants) * factor), bias

    def fused(self, traced: bool) -> Step:
        """The one step for the chain, in the place of its last."""
        final = self.steps[-1]
        x = self.steps[0].args[0]
        args = [x] if self.other is None else [x, self.other]
        weight, bias = self._tensors()
        if traced:
            function = traced_convolution(self.info, weight, bias, self.unary)
        else:
            function = _convolution(self.info, weight, bias, self.unary, self.other is not None)
        return dataclasses.replace(
            final,
            label=self.steps[0].label,
            op_type="Conv",
            args=args,
            function=function,
            keywords={},
            may_be_tuple=False,
            moved=None,
            info=None,
        )


def _unary(step: Step, info: NodeInfo, constants: Constants) -> Unary | None:
    """The activation as oneDNN names it: attribute, scalars, algorithm."""
    if info.op_type in ("Relu", "Sigmoid", "Tanh", "HardSwish"):
        return info.op_type.lower(), [], ""
    if info.op_type == "LeakyRelu":
        return "leaky_relu", [info.attributes["alpha"]], ""
    if info.op_type == "Clip":
        bounds = [info.attributes.get("min", -math.inf), info.attributes.get("max", math.inf)]
        for index, value in enumerate(step.args[1:3]):
            if value is not None and not value.constant:
                return None
            if value is not None:
                bounds[index] = float(_host(value, constants))
        return "hardtanh", bounds, ""
    return None


def _can_grow(window: Window) -> bool:
    plain = window.auto_pad in ("NOTSET", "VALID") and set(window.dilations) == {1}
    return plain and min(*window.begins, *window.ends) >= 0


def _grown(weight: Tensor, window: Window) -> tuple[Tensor, list[int]]:
    """A kernel with zeros at its edges, for which the same padding on both sides does what the
    window's uneven padding does. oneDNN takes it at no cost, where padding would copy the image."""
    most = [max(pair) for pair in zip(window.begins, window.ends, strict=True)]
    front = [m - b for m, b in zip(most, window.begins, strict=True)]
    back = [m - e for m, e in zip(most, window.ends, strict=True)]
    return F.pad(weight, (front[1], back[1], front[0], back[0])), most


def _convolution(
    info: NodeInfo, weight: Tensor, bias: Tensor | None, unary: Unary, has_sum: bool
) -> Callable[..., Tensor]:
    window = Window.of(info, tuple(weight.shape[2:]))
    fixed = list(window.begins) if window.is_symmetric else None
    if fixed is None and _can_grow(window):
        weight, fixed = _grown(weight, window)
    group = info.attributes["group"]
    stride, dilation = list(window.strides), list(window.dilations)
    kernel = tuple(weight.shape[2:])
    channels = weight.shape[0]
    attribute, scalars, algorithm = unary
    plain, packed, lock = [weight], list[Tensor](), threading.Lock()
    simple: Callable[..., Tensor] = torch.ops.mkldnn._convolution_pointwise.default
    with_sum: Callable[..., Tensor] = torch.ops.mkldnn._convolution_pointwise.binary
    last = torch.channels_last

    def pack(x: Tensor, padding: list[int]) -> Tensor:
        # By the first input's shape: oneDNN's layout of the weight depends on it. The plain weight
        # is let go: there are thousands of megabytes of them.
        with lock:
            if not packed:
                made: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
                    plain[0], padding, stride, dilation, group, list(x.shape)
                )
                packed.append(made)
                plain.clear()
            return packed[0]

    def place(x: Tensor) -> tuple[Tensor, list[int]]:
        x = x.contiguous(memory_format=last)
        if fixed is not None:
            return x, fixed
        first, second = window.padding(tuple(x.shape[2:]))
        if tuple(first) == tuple(second) and min(first) >= 0:
            return x, list(first)
        pads = [n for pair in zip(first[::-1], second[::-1], strict=True) for n in pair]
        return F.pad(x, pads), [0, 0]

    def shape(x: Tensor, padding: Sequence[int]) -> tuple[int, ...]:
        sizes = [
            (size + 2 * pad - reach * (k - 1) - 1) // step + 1
            for size, pad, reach, k, step in zip(
                x.shape[2:], padding, dilation, kernel, stride, strict=True
            )
        ]
        return (x.shape[0], channels, *sizes)

    def run(x: Tensor) -> Tensor:
        x, padding = place(x)
        if not x.numel():
            return x.new_empty(shape(x, padding))
        w = packed[0] if packed else pack(x, padding)
        return simple(x, w, bias, padding, stride, dilation, group, attribute, scalars, algorithm)

    def run_with_sum(x: Tensor, other: Tensor) -> Tensor:
        x, padding = place(x)
        made = shape(x, padding)
        if other.shape != made or not x.numel():
            found = run_plain(x, padding, made) + other
            return ACTIVATIONS[attribute](found, *scalars)
        w = packed[0] if packed else pack(x, padding)
        other = other.contiguous(memory_format=last)
        return with_sum(
            x, other, w, bias, padding, stride, dilation, group,
            "add", 1.0, None if attribute == "none" else attribute, scalars, algorithm,
        )  # fmt: skip

    def run_plain(x: Tensor, padding: list[int], made: tuple[int, ...]) -> Tensor:
        if not math.prod(made):
            return x.new_empty(made)
        w = packed[0] if packed else pack(x, padding)
        return simple(x, w, bias, padding, stride, dilation, group, "none", [], "")

    return run_with_sum if has_sum else run
