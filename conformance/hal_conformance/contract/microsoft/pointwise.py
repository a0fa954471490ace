"""Activations, normalisation after a sum, and softmax with a bias."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import edges
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import Tolerance, composed

__all__ = ["gelu", "gelu_tanh", "single"]

_MS = "com.microsoft::"
_EVALUATOR = 1e-6
"""Its Gelu takes erf and its constants in float32."""

_erf = np.vectorize(math.erf, otypes=[np.float64])


def single(value: float) -> float:
    """An attribute as the model holds it: rounded to float32."""
    return float(np.float32(value))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def gelu(x: Array) -> Array:
    """The exact one."""
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def gelu_tanh(x: Array) -> Array:
    """The approximation that FastGelu is documented as."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


_ACTIVATIONS: Mapping[str, tuple[Callable[[Array], Array], str]] = {
    "Gelu": (gelu, "Gelu(x0)"),
    "FastGelu": (gelu_tanh, 'Gelu <approximate = "tanh"> (x0)'),
    "QuickGelu": (lambda x: x * _sigmoid(single(1.702) * x), "Swish <alpha = 1.702> (x0)"),
}


def _near(ask: Ask) -> Tolerance:
    """FastGelu's constants are written with six digits in onnxruntime's function body, so that its
    double is no better than float."""
    wide = ask.name == "FastGelu" and ask.element is ElementType.DOUBLE
    return composed(ElementType.FLOAT if wide else ask.element, magnitude=6.0)


@generates(*(_MS + name for name in _ACTIVATIONS))
def activation(ask: Ask) -> Iterator[Draft]:
    """Over several ranks, empty and large, and beyond where they are flat; edges but no NaN."""
    function, composition = _ACTIVATIONS[ask.name]
    shapes = {
        "values": (3, 7),
        "scalar": (),
        "empty": (0, 3),
        "rank4": (2, 1, 3, 5),
        "long": (4, 257),
    }
    for slug, shape in shapes.items():
        if slug == "scalar" and ask.name == "FastGelu":
            continue  # its bias is of the last axis
        x = ask.draw(slug).tensor(ask.element, shape, -6, 6)
        yield ask.draft(
            slug,
            [x],
            [function(widen(x))],
            composition=f"y0 = {composition}",
            tolerance=_near(ask),
            reference_error=_EVALUATOR,
        )
    finite = edges(ask.element)
    x = narrow(finite[np.abs(finite) < 1e4], ask.element)
    with np.errstate(all="ignore"):
        expected = function(widen(x))
    yield ask.draft(
        "edges",
        [x],
        [expected],
        composition=f"y0 = {composition}",
        tolerance=_near(ask),
        reference_error=_EVALUATOR,
    )


@generates(_MS + "QuickGelu")
def quick_gelu(ask: Ask) -> Iterator[Draft]:
    """Another slope."""
    x = ask.draw("alpha").tensor(ask.element, (5, 6), -4, 4)
    wide = widen(x)
    yield ask.draft(
        "alpha",
        [x],
        [wide * _sigmoid(0.75 * wide)],
        attributes={"alpha": 0.75},
        composition="y0 = Swish <alpha = 0.75> (x0)",
        tolerance=composed(ask.element, magnitude=4.0),
    )


@generates(_MS + "BiasGelu", _MS + "FastGelu")
def biased(ask: Ask) -> Iterator[Draft]:
    """A vector of biases is added to the last axis first."""
    exact = ask.name == "BiasGelu"
    function = gelu if exact else gelu_tanh
    how = "" if exact else '<approximate = "tanh">'
    for slug, shape in (("bias", (2, 3, 8)), ("bias-vector", (8,)), ("bias-rank4", (2, 2, 1, 9))):
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, shape, -4, 4)
        bias = draw.tensor(ask.element, shape[-1:], -2, 2)
        yield ask.draft(
            slug,
            [x, bias],
            [function(widen(x) + widen(bias))],
            composition=f"s = Add(x0, x1) y0 = Gelu {how} (s)",
            tolerance=_near(ask),
            reference_error=_EVALUATOR,
        )


def _normal(x: Array, gamma: Array, epsilon: float, *, centred: bool) -> Array:
    middle = x.mean(axis=-1, keepdims=True) if centred else 0.0
    spread = ((x - middle) ** 2).mean(axis=-1, keepdims=True)
    return np.asarray((x - middle) / np.sqrt(spread + single(epsilon)) * gamma)


@generates(_MS + "SkipLayerNormalization", _MS + "SkipSimplifiedLayerNormalization")
def skip_normalisation(ask: Ask) -> Iterator[Draft]:
    """With and without beta and bias, skip broadcast over the batch, the sum as fourth output."""
    if not ask.first:
        return
    centred = ask.name == "SkipLayerNormalization"
    for slug, shape, skip, beta, bias, summed, epsilon in (
        ("plain", (2, 3, 8), (2, 3, 8), False, False, False, 1e-5),
        ("beta", (2, 3, 8), (2, 3, 8), True, False, False, 1e-5),
        ("bias", (2, 3, 16), (2, 3, 16), True, True, True, 1e-5),
        ("sum", (1, 4, 33), (1, 4, 33), False, False, True, 1e-6),
        ("rows", (6, 12), (6, 12), False, True, True, 1e-5),
        ("skip-batch", (2, 3, 8), (1, 3, 8), True, False, True, 1e-5),
        ("skip-rank2", (2, 3, 8), (3, 8), False, False, True, 1e-5),
        ("epsilon", (1, 2, 8), (1, 2, 8), False, False, False, 0.5),
    ):
        if not centred and (slug == "beta" or slug.startswith("skip")):
            continue
        draw = ask.draw(slug)
        x, s = draw.tensor(ask.element, shape, -2, 2), draw.tensor(ask.element, skip, -2, 2)
        gamma = draw.tensor(ask.element, shape[-1:], -1.5, 1.5)
        offset = draw.tensor(ask.element, shape[-1:], -1, 1) if beta and centred else None
        added = draw.tensor(ask.element, shape[-1:], -1, 1) if bias else None
        total = widen(x) + widen(s) + (widen(added) if added is not None else 0.0)
        result = _normal(total, widen(gamma), epsilon, centred=centred)
        inputs = [x, s, gamma, *([offset] if centred else []), added]
        place = 4 if centred else 3
        steps = "t = Add(x0, x1)" + (f" u = Add(t, x{place})" if bias else " u = Identity(t)")
        name = "LayerNormalization" if centred else "RMSNormalization"
        settings = f"<axis = -1, epsilon = {epsilon:.9f}>"
        steps += f" n = {name} {settings} (u, x2)"
        steps += " y0 = Add(n, x3)" if offset is not None else " y0 = Identity(n)"
        if offset is not None:
            result = result + widen(offset)
        while inputs[-1] is None:
            inputs.pop()
        outputs = [ask.type, "", "", ask.type] if summed else [ask.type]
        yield ask.draft(
            slug,
            inputs,
            [result, None, None, total] if summed else [result],
            outputs=outputs,
            attributes={"epsilon": epsilon},
            composition=steps + (" y3 = Identity(u)" if summed else ""),
            # The sum is rounded once in the type before it is normalised; as composed, in units.
            tolerance=composed(ask.element, magnitude=8.0),
        )


@generates(_MS + "EmbedLayerNormalization")
def embed(ask: Ask) -> Iterator[Draft]:
    """Words, positions and segments; positions given; a mask, whose sum is its index."""
    if ask.constraint != "T":
        return
    for slug in ("plain", "segments", "positions", "mask"):
        draw = ask.draw(slug)
        ids = narrow(draw.integers((2, 4), 0, 9), ElementType.INT32)
        words = draw.tensor(ask.element, (10, 8), -2, 2)
        places = draw.tensor(ask.element, (6, 8), -2, 2)
        gamma, beta = draw.tensor(ask.element, (8,), -1, 1), draw.tensor(ask.element, (8,), -1, 1)
        total = widen(words)[widen(ids)]
        steps = "w = Gather(x2, x0)"
        position = narrow(draw.integers((2, 4), 0, 5), ElementType.INT32)
        segment = narrow(draw.integers((2, 4), 0, 1), ElementType.INT32)
        kinds = draw.tensor(ask.element, (2, 8), -2, 2)
        if slug == "positions":
            total = total + widen(places)[widen(position)]
            steps += " p = Gather(x3, x8) s = Add(w, p)"
        else:
            total = total + widen(places)[:4]
            steps += " r = Constant <value_ints = [0, 1, 2, 3]> () p = Gather(x3, r) s = Add(w, p)"
        inputs = [ids, None, words, places, None, gamma, beta]
        if slug in ("segments", "mask"):
            total = total + widen(kinds)[widen(segment)]
            inputs[1], inputs[4] = segment, kinds
            steps += " k = Gather(x4, x1) t = Add(s, k)"
        else:
            steps += " t = Identity(s)"
        result = _normal(total, widen(gamma), 1e-5, centred=True) + widen(beta)
        steps += " y0 = LayerNormalization <axis = -1, epsilon = 0.00001> (t, x5, x6)"
        # onnxruntime 1.31.1's type inference asks for a place for the mask's index.
        outputs, expected = [ask.type, ""], [result, None]
        attributes: dict[str, float] = {"epsilon": 1e-5}
        if slug == "mask":
            lengths = np.array([3, 4])
            inputs.append(narrow(np.arange(4) < lengths[:, None], ElementType.INT32))
            outputs[1], expected[1] = "tensor(int32)", lengths
            attributes["mask_index_type"] = 1
            steps += " a = Constant <value_ints = [1]> () y1 = ReduceSum <keepdims = 0> (x7, a)"
        if slug == "positions":
            inputs += [None, position]
        yield ask.draft(
            slug,
            inputs,
            expected,
            outputs=outputs,
            attributes=attributes,
            composition=steps,
            tolerance=composed(ask.element, magnitude=6.0),
        )


@generates(_MS + "BiasSoftmax")
def bias_softmax(ask: Ask) -> Iterator[Draft]:
    """The bias over the outer axes and over the inner ones."""
    for slug, shape, bias, axis, inner in (
        ("inner", (2, 3, 4, 5), (2, 1, 1, 5), 3, 1),
        ("outer", (2, 3, 4, 5), (1, 1, 4, 5), 2, 0),
        ("plain", (3, 7), (1, 7), 1, 0),
    ):
        draw = ask.draw(slug)
        x, b = draw.tensor(ask.element, shape, -4, 4), draw.tensor(ask.element, bias, -2, 2)
        rows = (widen(x) + widen(b)).reshape(*shape[:axis], -1)
        e = np.exp(rows - rows.max(axis=-1, keepdims=True))
        result = (e / e.sum(axis=-1, keepdims=True)).reshape(shape)
        sizes = ", ".join(str(n) for n in shape)
        steps = "s = Add(x0, x1)"
        flat = [int(np.prod(shape[:axis])), -1]
        steps += f" f = Constant <value_ints = [{flat[0]}, -1]> () g = Reshape(s, f)"
        steps += f" h = Softmax <axis = -1> (g) o = Constant <value_ints = [{sizes}]> ()"
        yield ask.draft(
            slug,
            [x, b],
            [result],
            attributes={"axis": axis, "is_inner_broadcast": inner},
            composition=steps + " y0 = Reshape(h, o)",
            tolerance=composed(ask.element, magnitude=1.0),
        )
