"""What onnxruntime's optimizer writes of diffusion models: sums with a bias, groups normalised,
convolutions with the channels last."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.convolution import CONVS, convolved
from hal_conformance.contract.microsoft.pointwise import gelu, gelu_tanh, single
from hal_conformance.contract.numbers import Array, widen
from hal_conformance.contract.tolerance import Tolerance, accumulated, composed, elementary

_MS = "com.microsoft::"
_EVALUATOR = 1e-6
"""Its Gelu takes erf and its constants in float32."""


@generates(_MS + "BiasAdd", _MS + "BiasSplitGelu")
def biased(ask: Ask) -> Iterator[Draft]:
    """A bias for each channel, and then another tensor, or one half times the Gelu of the other."""
    adds = ask.name == "BiasAdd"
    for slug, shape in (("plain", (2, 3, 8)), ("row", (1, 1, 6)), ("wide", (2, 2, 320))):
        draw = ask.draw(slug)
        x, bias = (
            draw.tensor(ask.element, shape, -3, 3),
            draw.tensor(ask.element, shape[-1:], -2, 2),
        )
        inputs, total = [x, bias], widen(x) + widen(bias)
        if adds:
            inputs.append(draw.tensor(ask.element, shape, -3, 3))
            result, text = total + widen(inputs[2]), "s = Add(x0, x1) y0 = Add(s, x2)"
        else:
            left, right = np.split(total, 2, axis=-1)
            result = left * gelu(right)
            text = "s = Add(x0, x1) a, b = Split <axis = -1, num_outputs = 2> (s)"
            text += " g = Gelu(b) y0 = Mul(a, g)"
        near = elementary(ask.element, "Add", absolute=8.0)
        yield ask.draft(
            slug,
            inputs,
            [result],
            composition=text,
            tolerance=near if adds else composed(ask.element, magnitude=25.0),
            reference_error=0.0 if adds else 25 * _EVALUATOR,
        )


@generates(_MS + "GemmFastGelu")
def product_and_gelu(ask: Ask) -> Iterator[Draft]:
    """A product of matrices through FastGelu, with a bias and without, over batches."""
    for slug, shape, columns, with_bias in (
        ("plain", (3, 5), 4, False),
        ("bias", (3, 5), 4, True),
        ("batch", (2, 3, 6), 5, True),
        ("long", (2, 300), 3, True),
    ):
        draw = ask.draw(slug)
        terms = shape[-1]
        x = draw.tensor(ask.element, shape, -1, 1)
        w = draw.tensor(ask.element, (terms, columns), -1, 1)
        inputs, result = [x, w], widen(x) @ widen(w)
        text = "p = MatMul(x0, x1)"
        if with_bias:
            inputs.append(draw.tensor(ask.element, (columns,), -1, 1))
            result, text = result + widen(inputs[2]), text + " s = Add(p, x2)"
        else:
            text += " s = Identity(p)"
        yield ask.draft(
            slug,
            inputs,
            [gelu_tanh(result)],
            composition=text + ' y0 = Gelu <approximate = "tanh"> (s)',
            tolerance=accumulated(
                ask.element, terms=terms + 16, magnitude=float(terms), steps=8, rounded=float(terms)
            ),
            reference_error=_EVALUATOR,
        )


def _grouped(x: Array, gamma: Array, beta: Array, groups: int, epsilon: float) -> Array:
    """Over (batch, rows, columns, channels)."""
    batch, rows, columns, channels = x.shape
    parts = x.reshape(batch, rows * columns, groups, channels // groups)
    middle = parts.mean(axis=(1, 3), keepdims=True)
    spread = ((parts - middle) ** 2).mean(axis=(1, 3), keepdims=True)
    normal = (parts - middle) / np.sqrt(spread + single(epsilon))
    return np.asarray(normal.reshape(x.shape) * gamma + beta)


_FIRST, _LAST = "<perm = [0, 3, 1, 2]>", "<perm = [0, 2, 3, 1]>"


def _near(element: ElementType, count: int) -> Tolerance:
    return accumulated(element, terms=count + 16, magnitude=16.0, steps=8, rounded=8.0)


@generates(_MS + "GroupNorm", _MS + "SkipGroupNorm")
def group_norm(ask: Ask) -> Iterator[Draft]:
    """Each activation, channels first and last, another epsilon; after a sum with a tensor, with
    one value a channel, and with a bias, and the sum as second output."""
    skips = ask.name == "SkipGroupNorm"
    if ask.constraint == "M" and ask.element is ElementType.FLOAT:
        return  # the cases of T have it
    element = ask.element if ask.constraint == "T" else ElementType.FLOAT
    kind = ElementType.FLOAT if ask.constraint == "T" else ask.element
    for slug, groups, settings in (
        ("plain", 2, {"activation": 0}),
        ("silu", 3, {"activation": 1}),
        ("each", 6, {"activation": 0, "epsilon": 0.25}),
        ("first", 2, {"activation": 1, "channels_last": 0}),
        ("channel", 2, {"activation": 0}),
        ("bias", 1, {"activation": 1}),
    ):
        if (slug in ("channel", "bias") and not skips) or (slug == "first" and skips):
            continue
        draw = ask.draw(slug)
        shape = (2, 3, 4, 6)
        last = settings.get("channels_last", 1)
        given = draw.tensor(element, shape if last else (2, 6, 3, 4), -2, 2)
        gamma, beta = (draw.tensor(kind, (6,), -1.5, 1.5) for _ in range(2))
        inputs: list[Tensor] = [given, gamma, beta]
        x = widen(given) if last else widen(given).transpose(0, 2, 3, 1)
        text = "s = Identity(x0)"
        if skips:
            inputs.append(draw.tensor(element, (2, 1, 1, 6) if slug == "channel" else shape, -2, 2))
            x, text = x + widen(inputs[3]), "s = Add(x0, x3)"
            if slug == "bias":
                inputs.append(draw.tensor(element, (6,), -1, 1))
                x, text = x + widen(inputs[4]), "r = Add(x0, x3) s = Add(r, x4)"
        epsilon = settings.get("epsilon", 1e-5)
        result = _grouped(x, widen(gamma), widen(beta), groups, epsilon)
        text += f" t = Transpose {_FIRST} (s)" if last else " t = Identity(s)"
        text += (
            f" n = GroupNormalization <num_groups = {groups}, epsilon = {epsilon:.9f}> (t, x1, x2)"
        )
        if settings["activation"]:
            result = result / (1 + np.exp(-result))
            text += " g = Sigmoid(n) a = Mul(n, g)"
        else:
            text += " a = Identity(n)"
        text += f" y0 = Transpose {_LAST} (a)" if last else " y0 = Identity(a)"
        expected = [result if last else result.transpose(0, 3, 1, 2)]
        if slug == "bias":
            expected, text = [*expected, x], text + " y1 = Identity(s)"
        yield ask.draft(
            slug,
            inputs,
            expected,
            outputs=[f"tensor({element.onnx_name})"] * len(expected),
            attributes={**settings, "groups": groups},
            composition=text,
            tolerance=_near(element, 12 * 6 // groups),
        )


@generates(_MS + "NhwcConv")
def channels_last(ask: Ask) -> Iterator[Draft]:
    """Convolutions of pictures, their weights with the channels last too."""
    for slug, row in CONVS.items():
        if len(row.shape) != 4 or (not ask.full and slug not in ("bias", "pads", "groups")):
            continue
        draw = ask.draw(slug)
        batch, channels, *extents = row.shape
        filters, inner, *kernel = row.weights
        x = draw.tensor(ask.element, (batch, *extents, channels), -2, 2)
        w = draw.tensor(ask.element, (filters, *kernel, inner), -2, 2)
        a, b = (widen(t).transpose(0, 3, 1, 2) for t in (x, w))
        result, magnitude = convolved(a, b, row), convolved(np.abs(a), np.abs(b), row)
        settings = window_attributes(row.window)
        if row.group > 1:
            settings["group"] = row.group
        written = ", ".join(
            f"{k} = {v if isinstance(v, int) else list(v)}" for k, v in settings.items()
        )
        inputs, third = [x, w], ""
        if row.bias:
            inputs.append(draw.tensor(ask.element, (filters,), -2, 2))
            result, third = result + widen(inputs[2]).reshape(1, -1, 1, 1), ", x2"
        yield ask.draft(
            slug,
            inputs,
            [result.transpose(0, 2, 3, 1)],
            attributes=settings,
            composition=f"a = Transpose {_FIRST} (x0) b = Transpose {_FIRST} (x1)"
            f" c = Conv <{written}> (a, b{third}) y0 = Transpose {_LAST} (c)",
            tolerance=accumulated(
                ask.element,
                terms=int(np.prod(row.weights[1:])) + 1,
                magnitude=float(magnitude.max()) + 2,
                rounded=float(np.abs(result).max()),
            ),
        )
