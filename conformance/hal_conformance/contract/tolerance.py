"""The one table of tolerances: by operator class and element type, each with its source.

A case passes when |got - expected| <= atol + rtol * |expected|, where `expected` is the exact
result rounded once to its type. An error of k ULP is at most k * epsilon relative to a normal
number, and the distance between two subnormals is the smallest of them; so k ULP become
rtol = k * epsilon and an atol that covers the subnormals.

Whether subnormal numbers are kept or flushed to zero the standard does not say, and GPUs and
inference CPUs flush them, intermediate ones too: for float, bfloat16 and double the atol of an
operator that computes is twice the smallest normal number. Operators that only move values are
exact at every value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hal import ElementType
from hal_conformance.contract.numbers import (
    epsilon,
    is_complex,
    is_float,
    smallest_normal,
    smallest_subnormal,
)

__all__ = [
    "CLASSES",
    "EXACT",
    "STEPS",
    "OpClass",
    "Tolerance",
    "accumulated",
    "composed",
    "elementary",
    "quantised",
]

_HALVES = (ElementType.FLOAT16, ElementType.BFLOAT16)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """`rtol` and `atol` as `hal.compare.compare` takes them; `source` says where they come from."""

    rtol: float
    atol: float
    source: str


@dataclasses.dataclass(frozen=True)
class OpClass:
    """A class of operators. `ulp` is the bound for float and double, by operator where they differ
    ("" for all others); `half` the bound for float16 and bfloat16."""

    ulp: Mapping[str, float]
    half: float
    source: str


_OPENCL = "OpenCL C 3.0, 7.4 Relative Error as ULPs (full profile, float; half)"
_HIGHAM = (
    "N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1 and 3.5: "
    "|error| <= gamma_n * sum |x_i y_i|, gamma_n = n u / (1 - n u), in any order of summation"
)

CLASSES: Mapping[str, OpClass] = {
    "exact": OpClass(
        {"": 0.0},
        0.0,
        "the standard's words: values are moved, compared, counted, or rounded by a stated rule",
    ),
    "elementary": OpClass(
        {
            # Correctly rounded in IEEE 754; one ULP admits a fused or reassociated form.
            **dict.fromkeys(("Add", "Sub", "Mul", "Sum", "Mean"), 1.0),
            **dict.fromkeys(("Div", "Reciprocal"), 2.5),
            **dict.fromkeys(("Exp", "Log", "Sqrt"), 3.0),
            **dict.fromkeys(("Acos", "Acosh", "Asin", "Asinh", "Cos", "Cosh", "Sin", "Sinh"), 4.0),
            **dict.fromkeys(("Atan", "Atanh", "Tan", "Tanh"), 5.0),
            **dict.fromkeys(("Erf", "Pow"), 16.0),
            "": 4.0,
        },
        2.0,
        _OPENCL,
    ),
    "composed": OpClass(
        {"": 16.0},
        4.0,
        "a few elementary functions in a row, each within the elementary class (" + _OPENCL + "); "
        "the widest of them is 16 ULP. Halves may round each intermediate value to their type",
    ),
    "accumulated": OpClass(
        {"": 1.0},
        1.0,
        _HIGHAM + ". u is that of float32 for halves: an accumulator in half precision is a fault",
    ),
}

STEPS: Mapping[int, str] = {
    0: "the standard's words: the operator moves or chooses values, and its output has its input's "
    "grid, so the integers are the same",
    1: "integer accumulations are exact and are requantised once; QuantizeLinear rounds that to "
    "nearest, and a result near the middle of two steps may become either (B. Jacob et al., "
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only "
    "Inference, CVPR 2018, 2.2: the multiplier is a fixed-point number)",
    2: "a function that a device computes on integers, by a table or in steps of its own; two "
    "steps of 1/256 are what TensorFlow Lite's tests of its integer kernels admit "
    "(kQuantizedTolerance)",
}
"""By how many quantisation steps of the output a quantised form may differ, and why."""

EXACT = Tolerance(0.0, 0.0, CLASSES["exact"].source)


def elementary(element: ElementType, operator: str = "", *, absolute: float = 0.0) -> Tolerance:
    """One function of IEEE 754 or of a mathematical library. `absolute`, in units of epsilon, is
    for results near a zero of the function away from 0, such as sin near pi."""
    return _by_ulp(CLASSES["elementary"], element, operator, absolute)


def composed(element: ElementType, *, magnitude: float = 0.0) -> Tolerance:
    """Several functions in a row, with intermediate values up to `magnitude`."""
    return _by_ulp(CLASSES["composed"], element, "", magnitude)


def accumulated(
    element: ElementType,
    *,
    terms: int,
    magnitude: float,
    steps: float = 1.0,
    rounded: float = 0.0,
) -> Tolerance:
    """A sum of `terms` products whose absolute values sum up to `magnitude` at most; `steps` ULP
    for what is done with the sum; `rounded` is the size of an intermediate result that may be
    rounded to the type. Exact for integers."""
    if not (is_float(element) or is_complex(element)):
        return EXACT
    op_class = CLASSES["accumulated"]
    unit = epsilon(element) / 2
    inner = unit if element not in _HALVES else epsilon(ElementType.FLOAT) / 2
    count = 2 * max(terms, 1) if is_complex(element) else max(terms, 1)
    gamma = (count + 1) * inner / (1 - (count + 1) * inner)
    if element is ElementType.DOUBLE or element is ElementType.COMPLEX128:
        gamma *= 2  # the expected value was summed in the same precision
    ulps = op_class.ulp[""] if element not in _HALVES else op_class.half
    atol = gamma * magnitude + unit * rounded + _floor(element, 1.0)
    return Tolerance(steps * ulps * epsilon(element), atol, op_class.source)


def quantised(steps: int, scale: float) -> Tolerance:
    """For an output that was dequantised: `steps` of its largest scale, and two ULP of float32 for
    the product of integer and scale."""
    near = 1e-3 if steps else 0.0
    return Tolerance(2 * epsilon(ElementType.FLOAT), (steps + near) * scale, STEPS[steps])


def _by_ulp(op_class: OpClass, element: ElementType, operator: str, absolute: float) -> Tolerance:
    if not (is_float(element) or is_complex(element)):
        return EXACT
    ulps = op_class.ulp.get(operator, op_class.ulp[""])
    if element in _HALVES:
        ulps = min(ulps, op_class.half)
    unit = epsilon(element)
    atol = ulps * absolute * unit + _floor(element, ulps)
    return Tolerance(ulps * unit, atol, op_class.source)


def _floor(element: ElementType, ulps: float) -> float:
    """What admits a flushed subnormal; float16 has too few exponents to flush them."""
    if element is ElementType.FLOAT16:
        return max(ulps, 1.0) * smallest_subnormal(element)
    return 2 * smallest_normal(element)
