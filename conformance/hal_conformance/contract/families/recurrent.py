"""Recurrent networks: RNN, GRU and LSTM in every direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import composed

_STEPS, _BATCH, _INPUT, _HIDDEN = 4, 3, 2, 3
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}

Step = Callable[[Array, Array, Array], "tuple[Array, Array]"]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


Function = Callable[[Array], Array]
_FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "Affine": lambda x, a, b: a * x + b,
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "LeakyRelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "Sigmoid": lambda x, a, b: _sigmoid(x),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Tanh": lambda x, a, b: np.tanh(x),
}


def _functions(name: str, extra: Mapping[str, Any], way: int) -> list[Function]:
    """The functions of a direction: f, g and h, behind the clip of what goes in."""
    default = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
    names = extra.get("activations", default[name] * (way + 1))
    limit = extra.get("clip")
    count = len(default[name])
    found: list[Function] = []
    for i in range(way * count, (way + 1) * count):
        a, b = (extra.get(f"activation_{k}", [0.0] * (i + 1))[i] for k in ("alpha", "beta"))

        def apply(x: Array, of: str = names[i], a: float = a, b: float = b) -> Array:
            inside = x if limit is None else np.clip(x, -limit, limit)
            return np.asarray(_FUNCTIONS[of](inside, a, b))

        found.append(apply)
    return found


def _step(
    name: str,
    w: Array,
    r: Array,
    b: Array,
    p: Array,
    extra: Mapping[str, Any],
    way: int,
) -> Step:
    """One turn: (input, hidden, cell) to (hidden, cell), in the standard's order of gates."""
    n = _HIDDEN
    wb, rb = b[: _GATES[name] * n], b[_GATES[name] * n :]
    turned = _functions(name, extra, way)
    act_f, act_g, act_h = (turned * 3)[:3] if name != "GRU" else (*turned, turned[0])
    before = bool(extra.get("linear_before_reset"))

    def rnn(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        return act_f(x @ w.T + h @ r.T + wb + rb), c

    def gru(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        wz, wr, wh = np.split(x @ w.T + wb, 3, axis=1)
        z = act_f(wz + h @ r[:n].T + rb[:n])
        reset = act_f(wr + h @ r[n : 2 * n].T + rb[n : 2 * n])
        if before:
            new = act_g(wh + reset * (h @ r[2 * n :].T + rb[2 * n :]))
        else:
            new = act_g(wh + (reset * h) @ r[2 * n :].T + rb[2 * n :])
        return (1 - z) * new + z * h, c

    def lstm(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        i, o, f, g = np.split(x @ w.T + h @ r.T + wb + rb, 4, axis=1)
        i = act_f(i + p[:n] * c)
        f = 1 - i if extra.get("input_forget") else act_f(f + p[2 * n :] * c)
        cell = f * c + i * act_g(g)
        return act_f(o + p[n : 2 * n] * cell) * act_h(cell), cell

    return {"RNN": rnn, "GRU": gru, "LSTM": lstm}[name]


def _unrolled(
    x: Array, lengths: list[int], h: Array, c: Array, step: Step, *, backward: bool
) -> tuple[Array, Array, Array]:
    """All outputs, zero behind the end of a sequence, and the last states."""
    y = np.zeros((_STEPS, _BATCH, _HIDDEN))
    h, c = h.copy(), c.copy()
    for row, length in enumerate(lengths):
        order = range(length - 1, -1, -1) if backward else range(length)
        state, cell = h[row : row + 1], c[row : row + 1]
        for t in order:
            state, cell = step(x[t, row : row + 1], state, cell)
            y[t, row] = state[0]
        h[row], c[row] = state[0], cell[0]
    return y, h, c


@generates(*_GATES)
def recurrent(ask: Ask) -> Iterator[Draft]:
    """Each direction, with and without bias, initial state, peepholes and lengths."""
    if not ask.first:
        return
    rows: list[tuple[str, str, set[str], dict[str, Any]]] = [
        ("plain", "forward", set(), {}),
        ("reverse", "reverse", {"bias", "state"}, {}),
        ("bidirectional", "bidirectional", {"bias", "state"}, {}),
        ("lengths", "forward", {"bias", "lengths"}, {}),
        ("lengths-bidirectional", "bidirectional", {"lengths", "state"}, {}),
    ]
    if ask.name == "GRU":
        rows.append(("reset-after", "forward", {"bias", "state"}, {"linear_before_reset": 1}))
    if ask.name == "LSTM":
        rows.append(("peepholes", "forward", {"bias", "state", "peepholes"}, {}))
    rows += [
        ("functions", "bidirectional", {"bias", "state"}, _SETTINGS[ask.name]),
        ("layout", "bidirectional", {"bias", "state"}, {"layout": 1}),
    ]
    if ask.name == "LSTM":  # whether its cell is clipped too is left open
        rows.append(("coupled", "forward", {"bias", "state"}, {"input_forget": 1}))
    else:
        rows.append(("clip", "forward", {"bias", "state"}, {"clip": 0.75}))
        rows.append(("clip-above", "forward", {"bias", "state"}, {"clip": 1.25}))
    for slug, direction, present, extra in rows:
        if not ask.full and slug not in ("plain", "bidirectional", "lengths"):
            continue
        yield _draft(ask, slug, direction, present, extra)


@generates("LSTM")
def clipped_gates(ask: Ask) -> Iterator[Draft]:
    """What goes into the gates is clipped, in one step from nothing, after which the cell is below
    the limit: whether it is clipped itself is left open."""
    if not (ask.first and ask.full):
        return
    draw = ask.draw("clip")
    x, w = draw.tensor(ask.element, (1, 3, 2), -3, 3), draw.tensor(ask.element, (1, 12, 2), -2, 2)
    r = draw.tensor(ask.element, (1, 12, 3), -1, 1)
    gates = np.clip(widen(x)[0] @ widen(w)[0].T, -1.25, 1.25)
    i, o, _, g = np.split(gates, 4, axis=1)
    cell = _sigmoid(i) * np.tanh(g)
    hidden = _sigmoid(o) * np.tanh(cell)
    yield ask.draft(
        "clip",
        [x, w, r],
        [hidden[None, None], hidden[None], cell[None]],
        outputs=(ask.type,) * 3,
        attributes={"hidden_size": 3, "clip": 1.25},
        tolerance=composed(ask.element, magnitude=1.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator does not clip",
    )


_SETTINGS: dict[str, dict[str, Any]] = {
    "RNN": {
        "activations": ["ScaledTanh", "Affine"],
        "activation_alpha": [1.5, 0.25],
        "activation_beta": [0.5, 0.75],
    },
    "GRU": {
        "activations": ["HardSigmoid", "Affine", "HardSigmoid", "ScaledTanh"],
        "activation_alpha": [0.25, 0.5, 0.375, 1.25],
        "activation_beta": [0.5, -0.25, 0.25, 0.75],
    },
    "LSTM": {
        "activations": [
            "HardSigmoid",
            "Affine",
            "ScaledTanh",
            "HardSigmoid",
            "ScaledTanh",
            "Affine",
        ],
        "activation_alpha": [0.25, 0.5, 1.5, 0.375, 0.75, 1.25],
        "activation_beta": [0.5, -0.25, 0.5, 0.25, 0.875, -0.5],
    },
}


def _swapped(tensor: Tensor) -> Array:
    return np.ascontiguousarray(np.swapaxes(tensor.bits(), 0, 1))


def _draft(ask: Ask, slug: str, direction: str, present: set[str], extra: dict[str, Any]) -> Draft:
    draw, element = ask.draw(slug), ask.element
    gates = _GATES[ask.name] * _HIDDEN
    ways = 2 if direction == "bidirectional" else 1

    def made(*shape: int) -> Tensor:
        return draw.tensor(element, (ways, *shape), -1, 1)

    x = draw.tensor(element, (_STEPS, _BATCH, _INPUT), -2, 2)
    w, r, b = made(gates, _INPUT), made(gates, _HIDDEN), made(2 * gates)
    h, c, p = made(_BATCH, _HIDDEN), made(_BATCH, _HIDDEN), made(3 * _HIDDEN)
    lengths = [4, 1, 3] if "lengths" in present else [_STEPS] * _BATCH
    zero = narrow(np.zeros((ways, max(2 * gates, 1))), element)
    bias = widen(b if "bias" in present else zero)
    nothing = np.zeros((ways, _BATCH, _HIDDEN))
    hidden = widen(h) if "state" in present else nothing
    cell = widen(c) if "state" in present else nothing
    holes = widen(p) if "peepholes" in present else np.zeros((ways, 3 * _HIDDEN))
    results = []
    for way in range(ways):
        backward = direction == "reverse" or way == 1
        turn = _step(
            ask.name,
            widen(w)[way],
            widen(r)[way],
            bias[way],
            holes[way],
            extra,
            way,
        )
        results.append(
            _unrolled(widen(x), lengths, hidden[way], cell[way], turn, backward=backward)
        )
    y, last, cells = (np.stack(parts) for parts in zip(*results, strict=True))
    expected = [np.moveaxis(y, 0, 1), last]
    batch_first = bool(extra.get("layout"))
    if batch_first:
        expected = [np.moveaxis(y, 2, 0).swapaxes(1, 2), last.swapaxes(0, 1)]
        x, h, c = (Tensor.from_numpy(_swapped(t), element) for t in (x, h, c))
    given: list[Tensor | None] = [
        x,
        w,
        r,
        b if "bias" in present else None,
        narrow(np.array(lengths), ElementType.INT32) if "lengths" in present else None,
        h if "state" in present else None,
    ]
    if ask.name == "LSTM":
        given += [
            c if "state" in present else None,
            p if "peepholes" in present else None,
        ]
        expected.append(cells.swapaxes(0, 1) if batch_first else cells)
    while given[-1] is None:
        given.pop()
    attributes: dict[str, Any] = {"hidden_size": _HIDDEN, **extra}
    if direction != "forward":
        attributes["direction"] = direction
    alone = bool(extra) or ways == 2 or "lengths" in present or direction == "reverse"
    return ask.draft(
        slug,
        given,
        expected,
        outputs=(ask.type,) * len(expected),
        attributes=attributes,
        tolerance=composed(element, magnitude=1.0),
        oracle="none" if alone else "widened",
        reason="onnx 1.23.2's evaluator goes one way, with its own functions, over whole sequences",
    )
