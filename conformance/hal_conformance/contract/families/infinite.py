"""NaN and infinities where no general rule says what becomes of them, and the formula does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import has_infinity
from hal_conformance.contract.families._window import Window, window_attributes
from hal_conformance.contract.families.activation import VARIANTS, Composed
from hal_conformance.contract.families.bits import has_nan
from hal_conformance.contract.families.pooling import pooled
from hal_conformance.contract.families.unary import applied
from hal_conformance.contract.numbers import Array, is_float, narrow, widen
from hal_conformance.contract.tolerance import composed, elementary

_F = ElementType.FLOAT


@generates("Celu", "Gelu", "HardSwish", "Mish", "Swish")
def far_above(ask: Ask) -> Iterator[Draft]:
    """What becomes infinite with its operand. Below, zero meets an infinity."""
    x = narrow(np.array([1.5, np.inf, 0.5]), ask.element)
    formula = Composed(VARIANTS[ask.name][0])
    yield ask.draft(
        "infinite",
        [x],
        [applied(formula, widen(x))],
        tolerance=formula.tolerance(ask.element, ask.name),
        reference_error=1e-6,
    )


@generates("Det")
def infinite_determinant(ask: Ask) -> Iterator[Draft]:
    """Of two rows: one product is infinite."""
    x = np.array([[[np.inf, 1], [2, 3]], [[1, 2], [3, -np.inf]], [[1, 2], [3, 5]]])
    yield ask.draft(
        "infinite",
        [narrow(x, ask.element)],
        [np.array([np.inf, -np.inf, -1])],
        tolerance=elementary(ask.element, absolute=32.0),
        oracle="none",
        reason="LAPACK's sign of an infinite determinant is lost in the evaluator's logarithm",
    )


@generates("DFT")
def lost_signal(ask: Ask) -> Iterator[Draft]:
    """NaN in both parts of one number: every result is a sum with it. The other row is finite."""
    if ask.constraint != "T1":
        return
    x = widen(ask.draw("nan").tensor(ask.element, (2, 5, 2), -1, 1))
    x[0, 2] = np.nan
    result = np.fft.fft(x[..., 0] + 1j * x[..., 1], axis=1)
    result[0] = complex(np.nan, np.nan)
    yield ask.draft(
        "nan",
        [narrow(x, ask.element), None, narrow(np.array(1), ElementType.INT64)],
        [np.stack([result.real, result.imag], axis=-1)],
        constants=frozenset({2}),
        tolerance=composed(ask.element, magnitude=16.0),
        reference_error=1e-8,
    )


@generates("DequantizeLinear")
def unreal(ask: Ask) -> Iterator[Draft]:
    """NaN and infinities of eight bits."""
    if ask.constraint != "T1" or not is_float(ask.element) or not has_nan(ask.element):
        return
    ends = [np.inf, -np.inf] if has_infinity(ask.element) else []
    x = narrow(np.array([np.nan, 1.0, *ends, 2.0]), ask.element)
    yield ask.draft(
        "unreal",
        [x, narrow(np.array(0.5), _F)],
        [widen(x) * 0.5],
        outputs=("tensor(float)",),
        oracle="native",
    )


@generates("Attention")
def lost_rows(ask: Ask) -> Iterator[Draft]:
    """NaN in a query is in its row alone; an infinite value is in its column of every row."""
    if not ask.first:
        return
    draw = ask.draw("nan")
    q, k, v = (widen(draw.tensor(ask.element, (1, 3, n, 5), -1, 1)) for n in (3, 4, 4))
    base = _attended(q, k, v)
    for slug, value in (("nan", np.nan), ("infinite", np.inf)):
        result, query, values = base.copy(), q.copy(), v.copy()
        if slug == "nan":
            query[0, 1, 2, 3] = value
            result[0, 1, 2] = value
        else:
            values[0, 2, 1, 4] = value
            result[0, 2, :, 4] = value
        yield ask.draft(
            slug,
            [narrow(t, ask.element) for t in (query, k, values)],
            [result],
            attributes={"is_causal": 0},
            tolerance=composed(ask.element, magnitude=2.0),
        )


def _attended(q: Array, k: Array, v: Array) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True) @ v)


@generates("GRU", "LSTM")
def infinite_state(ask: Ask) -> Iterator[Draft]:
    """A state that is infinite stays so: the gate that keeps it is one, or larger than zero."""
    if not ask.first:
        return
    gates = {"GRU": 3, "LSTM": 4}[ask.name]
    draw = ask.draw("infinite")
    x = draw.tensor(ask.element, (1, 2, 2), -1, 1)
    w = draw.tensor(ask.element, (1, gates * 2, 2), -1, 1)
    r = draw.tensor(ask.element, (1, gates * 2, 2), 0.5, 1)
    state = widen(draw.tensor(ask.element, (1, 2, 2), -1, 1))
    state[0, 1, 0] = np.inf
    given = narrow(state, ask.element)
    inputs: list[Tensor | None] = [x, w, r, None, None, given]
    expected: list[Array] = []
    if ask.name == "LSTM":
        inputs[5:] = [None, given]
        i, o, f, g = np.split(widen(x)[0] @ widen(w)[0].T, 4, axis=1)
        cell = widen(given)[0] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        hidden = np.tanh(cell) / (1 + np.exp(-o))
        expected = [hidden[None, None], hidden[None], cell[None]]
    yield ask.draft(
        "infinite",
        inputs,
        expected,
        outputs=(ask.type,) * (2 if ask.name == "GRU" else 3),
        attributes={"hidden_size": 2},
        tolerance=composed(ask.element, magnitude=1.0),
        oracle="none" if expected else "widened",
        reason="onnx 1.23.2's evaluator multiplies the cell by peepholes that are absent",
    )


@generates("DeformConv")
def lost_image(ask: Ask) -> Iterator[Draft]:
    """An image of NaN, and one of infinities with weights above zero, beside a finite one; every
    place lies between four that exist."""
    if ask.constraint != "T":
        return
    draw = ask.draw("unreal")
    x = widen(draw.tensor(ask.element, (3, 1, 5, 5), -1, 1))
    w = draw.tensor(ask.element, (1, 1, 2, 2), 0.0625, 0.125)
    offset = narrow(np.full((3, 8, 2, 2), 0.25), ask.element)
    x[0], x[1] = np.nan, np.inf
    expected = np.zeros((3, 1, 2, 2))
    expected[0], expected[1] = np.nan, np.inf
    image, weights = x[2, 0], widen(w)[0, 0]
    mixed = 0.5625 * image[:4, :4] + 0.1875 * (image[1:, :4] + image[:4, 1:])
    mixed = mixed + 0.0625 * image[1:, 1:]
    for i, j in np.ndindex(2, 2):
        expected[2, 0, i, j] = (mixed[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] * weights).sum()
    yield ask.draft(
        "unreal",
        [narrow(x, ask.element), w, offset],
        [expected],
        attributes={"strides": [2, 2], "kernel_shape": [2, 2]},
        tolerance=composed(_F if ask.element is ElementType.DOUBLE else ask.element, magnitude=1.0),
    )


@generates("LpPool")
def lost_windows(ask: Ask) -> Iterator[Draft]:
    """NaN and an infinity in some windows."""
    if not ask.full:
        return
    x = widen(ask.draw("unreal").tensor(ask.element, (1, 1, 5, 6), 1, 3))
    x[0, 0, 1, 1], x[0, 0, 3, 4] = np.nan, -np.inf
    window = Window((2, 2), (1, 1), (1, 1), (0, 0, 0, 0))
    yield ask.draft(
        "unreal",
        [narrow(x, ask.element)],
        [pooled(ask.name, x, window, {})],
        attributes=window_attributes(window),
        tolerance=composed(ask.element, magnitude=3.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator takes NaN for padding",
    )
