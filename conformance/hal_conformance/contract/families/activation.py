"""Activations: elementwise functions with attributes, and the normalising ones along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.unary import Unary, unary_drafts
from hal_conformance.contract.numbers import Array, is_float, largest, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance, composed, elementary

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x < 0, alpha * np.expm1(x), x)


def _celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(0.0, x) + np.minimum(0.0, alpha * np.expm1(x / alpha))


_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _selu(x: Array, alpha: float = _SELU_ALPHA, gamma: float = _SELU_GAMMA) -> Array:
    return gamma * np.where(x > 0, x, alpha * np.expm1(x))


def _leaky(x: Array, alpha: float = 0.01) -> Array:
    return np.where(x < 0, np.float64(np.float32(alpha)) * x, x)


def _thresholded(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > alpha, x, 0.0)


def _hard_sigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    slope = np.float64(np.float32(alpha))
    return np.asarray(np.maximum(0.0, np.minimum(1.0, slope * x + np.float64(np.float32(beta)))))


def _hard_swish(x: Array) -> Array:
    return x * np.maximum(0.0, np.minimum(1.0, x / 6 + 0.5))


def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _swish(x: Array, alpha: float = 1.0) -> Array:
    return x * _sigmoid(np.float64(np.float32(alpha)) * x)


def _mish(x: Array) -> Array:
    return x * np.tanh(_softplus(x))


def _softsign(x: Array) -> Array:
    return np.asarray(x / (1 + np.abs(x)))


Attributes = Mapping[str, object]
VARIANTS: Mapping[str, tuple[Callable[..., Array], tuple[Attributes, ...]]] = {
    "Sigmoid": (_sigmoid, ({},)),
    "Softplus": (_softplus, ({},)),
    "Softsign": (_softsign, ({},)),
    "Mish": (_mish, ({},)),
    "HardSwish": (_hard_swish, ({},)),
    "Elu": (_elu, ({}, {"alpha": 2.5}, {"alpha": -1.5})),
    "Celu": (_celu, ({}, {"alpha": 2.5}, {"alpha": -2.5})),
    "Selu": (_selu, ({}, {"alpha": 2.5, "gamma": 0.75}, {"alpha": -0.5, "gamma": -1.5})),
    "LeakyRelu": (_leaky, ({}, {"alpha": 0.25}, {"alpha": 2.0}, {"alpha": -1.5})),
    "ThresholdedRelu": (_thresholded, ({}, {"alpha": 2.5}, {"alpha": -1.5})),
    "HardSigmoid": (
        _hard_sigmoid,
        ({}, {"alpha": 0.5, "beta": 0.25}, {"alpha": -0.25, "beta": -0.125}),
    ),
    "Gelu": (_gelu, ({}, {"approximate": "tanh"})),
    "Swish": (_swish, ({}, {"alpha": 0.5}, {"alpha": -1.5})),
}


class Composed(Unary):
    """An activation: several functions in a row, cancelling near zero where they approach it."""

    def tolerance(self, element: ElementType, name: str) -> Tolerance:
        if name == "ThresholdedRelu":
            return EXACT
        if name == "LeakyRelu" and element is not ElementType.DOUBLE:
            return elementary(element, "Mul")
        if element is ElementType.DOUBLE and name in _FLOAT_CONSTANTS:
            return composed(ElementType.FLOAT, magnitude=1.0)
        return composed(element, magnitude=1.0)


@generates(*VARIANTS)
def activation(ask: Ask) -> Iterator[Draft]:
    """An activation at its default attributes and away from them."""
    formula, variants = VARIANTS[ask.name]
    for attributes in variants:
        suffix = "".join(f"-{k}{v}" for k, v in attributes.items())

        def apply(x: Array, a: Attributes = attributes) -> Array:
            return formula(x, **a)

        # NaN: max, min and comparisons in a definition leave open what comes of it. Infinities:
        # products of 0 and infinity do; `extremes` has the finite ends.
        row = Composed(apply, -6, 6, limit=20, nan=ask.name in WITH_NAN, reference_error=1e-6)
        yield from unary_drafts(ask, row, attributes, suffix)


_FLOAT_CONSTANTS = ("Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Selu", "Swish", "Celu", "Elu")
"""Whose attributes, defaults or function bodies hold constants in float32, also for double."""

WITH_NAN = ("Sigmoid", "Softplus", "Softsign", "Mish", "Gelu", "Swish")


@generates("Sigmoid", "Softplus", "Softsign", "Elu", "Selu", "HardSigmoid", "Gelu", "LeakyRelu")
def saturation(ask: Ask) -> Iterator[Draft]:
    """Far from zero, where a careless form overflows though the result does not."""
    element = ask.element
    top = {ElementType.FLOAT16: 100.0}.get(element, 1000.0)
    x = narrow(np.array([-top, -88.75, -50.0, -20.0, 20.0, 50.0, 88.75, top]), element)
    formula = VARIANTS[ask.name][0]
    with np.errstate(all="ignore"):
        expected = formula(widen(x))
    tolerance = Composed(formula).tolerance(element, ask.name)
    yield ask.draft("far", [x], [expected], tolerance=tolerance)


@generates("Relu")
def relu(ask: Ask) -> Iterator[Draft]:
    """Relu. Of max(0, NaN) the standard says nothing."""
    yield from unary_drafts(ask, Unary(lambda x: np.maximum(x, 0), nan=False, exact=True))


@generates("Shrink")
def shrink(ask: Ask) -> Iterator[Draft]:
    """Both sides of the threshold, with and without bias."""
    element = ask.element
    for bias, lambd in ((0.0, 0.5), (1.0, 2.0), (0.0, 3.0)):
        slug = f"bias{bias:g}-lambd{lambd:g}"
        x = ask.draw(slug).tensor(element, (3, 4, 5), 0 if not _signed(element) else -6, 6)
        wide = widen(x)
        signed = wide.astype(np.float64)
        expected = np.where(signed < -lambd, signed + bias, 0.0)
        expected = np.where(signed > lambd, signed - bias, expected)
        tolerance = elementary(element, "Add") if is_float(element) else EXACT
        attributes = {"bias": bias, "lambd": lambd}
        result = expected if is_float(element) else expected.astype(np.int64)
        yield ask.draft(slug, [x], [result], attributes=attributes, tolerance=tolerance)


def _signed(element: ElementType) -> bool:
    return element.name.startswith("INT") or is_float(element)


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _hardmax(x: Array, axis: int) -> Array:
    first = np.expand_dims(x.argmax(axis=axis), axis)
    result = np.zeros_like(x)
    np.put_along_axis(result, first, 1.0, axis=axis)
    return result


ALONG_AXIS: Mapping[str, Callable[[Array, int], Array]] = {
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Hardmax": _hardmax,
}


@generates(*ALONG_AXIS)
def along_axis(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends, ties, values far apart and far from zero, one element."""
    element, formula = ask.element, ALONG_AXIS[ask.name]
    exact = ask.name == "Hardmax"
    magnitude = 32.0 if ask.name == "LogSoftmax" else 1.0
    tolerance = EXACT if exact else composed(element, magnitude=magnitude)
    axes: list[int | None] = [None, 1]
    if ask.full:
        axes = [None, 0, 1, 2, -1, -2, -3]
    for axis in axes:
        slug = "default" if axis is None else f"axis{axis}"
        x = ask.draw(slug).tensor(element, (3, 5, 7), -5, 5)
        attributes = {} if axis is None else {"axis": axis}
        expected = formula(widen(x), -1 if axis is None else axis)
        yield ask.draft(slug, [x], [expected], attributes=attributes, tolerance=tolerance)
    ties = narrow(np.array([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), element)
    yield ask.draft("ties", [ties], [formula(widen(ties), -1)], tolerance=tolerance)
    top = min(1e4, largest(element) / 8)
    far = narrow(np.array([[top, top - 8.0, 0.0], [-top, -top, -top + 8.0]]), element)
    wide_tolerance = EXACT if exact else composed(element, magnitude=1.0)
    if ask.name == "LogSoftmax":
        apart = narrow(np.array([[0.0, 200.0, -200.0, 100.0], [300.0, 0.0, 0.0, 100.0]]), element)
        yield ask.draft("apart", [apart], [formula(widen(apart), -1)], tolerance=tolerance)
    else:
        yield ask.draft("far", [far], [formula(widen(far), -1)], tolerance=wide_tolerance)
    if ask.full:
        one = narrow(np.array([[5.0], [-3.0]]), element)
        yield ask.draft("one", [one], [formula(widen(one), -1)], tolerance=tolerance)
        empty = narrow(np.zeros((0, 3)), element)
        yield ask.draft("empty", [empty], [np.zeros((0, 3))], tolerance=tolerance)


@generates("SwiGLU")
def swiglu(ask: Ask) -> Iterator[Draft]:
    """SwiGLU is judged by the reference evaluator alone: its attributes are young."""
    element = ask.element
    draw = ask.draw("values")
    a, b = draw.tensor(element, (3, 4, 6), -4, 4), draw.tensor(element, (3, 4, 6), -4, 4)
    yield ask.draft("values", [a, b], tolerance=composed(element, magnitude=4.0))
