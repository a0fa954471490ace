"""Windows that slide: padding, strides, dilations, and the size of what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hal import Tensor
from hal.contract import Operator
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.mutants.arrays import as_operator
from hal_conformance.mutants.call import Call
from hal_conformance.mutants.fault import Fault, makes, mistaken, rewrite

Numbers = Sequence[int]
_STEPS = ("strides", "dilations", "kernel_shape", "output_padding", "output_shape", "pooled_shape")


@makes("off-by-one padding")
def padding(operator: Operator) -> Iterator[Fault]:
    """Padding that is shifted, exchanged, short, or that of another axis."""
    if operator.attribute("pads"):
        for title, change in _PADS.items():
            yield rewrite(f"pads: {title}", _by_attribute("pads", change))
    if operator.attribute("auto_pad"):
        for value, other in (("SAME_UPPER", "SAME_LOWER"), ("SAME_LOWER", "SAME_UPPER")):
            yield rewrite(
                f"auto_pad: {value} as {other}",
                mistaken("auto_pad", value, other),
            )
    if operator.key == "Pad":
        for title, change in {**_PADS, "negative is none": _no_negative}.items():
            yield rewrite(f"pads: {title}", _by_input(1, change))


@makes("wrong stride")
def steps(operator: Operator) -> Iterator[Fault]:
    """Strides, dilations and extents of another axis."""
    for attribute in operator.attributes:
        if attribute.name in _STEPS:
            yield rewrite(
                f"{attribute.name}: the first for all",
                _by_attribute(attribute.name, lambda v: [v[0]] * len(v)),
            )
            yield rewrite(
                f"{attribute.name}: exchanged", _by_attribute(attribute.name, lambda v: v[::-1])
            )
    if operator.attribute("dilations"):
        yield rewrite(
            "dilations: one more", _by_attribute("dilations", lambda v: [x + 1 for x in v])
        )
    if operator.attribute("strides") and operator.attribute("kernel_shape"):
        yield rewrite("strides absent: the kernel's extent", _stride_of_kernel)
    for position, parameter in enumerate(operator.inputs):
        if parameter.name in ("steps", "repeats", "scales", "sizes", "image_shape", "block_shape"):
            yield rewrite(
                f"{parameter.name}: the first for all",
                _by_input(position, lambda v: [v[0]] * len(v)),
            )
            yield rewrite(f"{parameter.name}: exchanged", _by_input(position, lambda v: v[::-1]))


@makes("ceil against floor")
def ceiling(operator: Operator) -> Iterator[Fault]:
    """Rounded up instead of down, or towards zero."""
    if operator.attribute("ceil_mode"):
        yield rewrite("ceil_mode always", lambda call: call.setting("ceil_mode", 1))
        yield rewrite("ceil_mode never", lambda call: call.setting("ceil_mode", None))
    if operator.key == "Resize":
        for value, other in (("floor", "ceil"), ("ceil", "floor")):
            yield rewrite(
                f"nearest_mode: {value} as {other}",
                mistaken("nearest_mode", value, other),
            )
    if operator.key in ("Ceil", "Floor"):
        yield rewrite("towards zero", _towards_zero)
        yield rewrite("to nearest", lambda call: as_operator(call, "Round"))


def _exchanged(pads: Numbers) -> list[int]:
    half = len(pads) // 2
    return [*pads[half:], *pads[:half]]


def _shifted(pads: Numbers) -> list[int]:
    half, out = len(pads) // 2, list(pads)
    for i in range(half):
        if out[i + half] > 0:
            out[i], out[i + half] = out[i] + 1, out[i + half] - 1
        elif out[i] > 0:
            out[i], out[i + half] = out[i] - 1, out[i + half] + 1
    return out


def _short(pads: Numbers) -> list[int]:
    return [*pads[:-1], max(pads[-1] - 1, 0)]


def _first_axis(pads: Numbers) -> list[int]:
    half = len(pads) // 2
    return [pads[0]] * half + [pads[half]] * half


def _interleaved(pads: Numbers) -> list[int]:
    return [*pads[0::2], *pads[1::2]]


def _begin_for_both(pads: Numbers) -> list[int]:
    half = len(pads) // 2
    return [*pads[:half], *pads[:half]]


def _no_negative(pads: Numbers) -> list[int]:
    return [max(p, 0) for p in pads]


_PADS: dict[str, Callable[[Numbers], list[int]]] = {
    "the ends exchanged": _exchanged,
    "shifted by one": _shifted,
    "one too few at the end": _short,
    "those of the first axis for all": _first_axis,
    "begin and end in turn": _interleaved,
    "the begin for both ends": _begin_for_both,
}


def _by_attribute(name: str, change: Callable[[Any], Any]) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        value = call.attribute(name)
        if not value or list(change(list(value))) == list(value):
            return None
        return call.setting(name, list(change(list(value))))

    return changed


def _by_input(position: int, change: Callable[[Any], Any]) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        tensor = call.tensor(position)
        if tensor is None or len(tensor.shape) != 1 or not tensor.size:
            return None
        old = tensor.numpy().tolist()
        new = list(change(old))
        if new == old:
            return None
        array = np.array(new, tensor.element_type.storage)
        return call.feeding(position, Tensor.from_numpy(array))

    return changed


def _stride_of_kernel(call: Call) -> Call | None:
    kernel = call.attribute("kernel_shape")
    if "strides" in call.attributes or not kernel:
        return None
    return call.setting("strides", list(kernel))


def _towards_zero(call: Call) -> Call | None:
    tensor = call.tensor(0)
    if tensor is None:
        return None
    return call.feeding(0, narrow(np.trunc(widen(tensor)), tensor.element_type))
