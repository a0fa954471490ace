"""Recurrent networks: RNN, GRU and LSTM in every direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def _step(name: str, w: Array, r: Array, b: Array, p: Array, *, before: bool) -> Step:
    """One turn: (input, hidden, cell) to (hidden, cell), in the standard's order of gates."""
    n = _HIDDEN
    wb, rb = b[: _GATES[name] * n], b[_GATES[name] * n :]

    def rnn(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        return np.tanh(x @ w.T + h @ r.T + wb + rb), c

    def gru(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        wz, wr, wh = np.split(x @ w.T + wb, 3, axis=1)
        z = _sigmoid(wz + h @ r[:n].T + rb[:n])
        reset = _sigmoid(wr + h @ r[n : 2 * n].T + rb[n : 2 * n])
        if before:
            new = np.tanh(wh + reset * (h @ r[2 * n :].T + rb[2 * n :]))
        else:
            new = np.tanh(wh + (reset * h) @ r[2 * n :].T + rb[2 * n :])
        return (1 - z) * new + z * h, c

    def lstm(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        i, o, f, g = np.split(x @ w.T + h @ r.T + wb + rb, 4, axis=1)
        i, f = _sigmoid(i + p[:n] * c), _sigmoid(f + p[2 * n :] * c)
        cell = f * c + i * np.tanh(g)
        return _sigmoid(o + p[n : 2 * n] * cell) * np.tanh(cell), cell

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
    rows: list[tuple[str, str, set[str], dict[str, int]]] = [
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
    for slug, direction, present, extra in rows:
        if not ask.full and slug not in ("plain", "bidirectional", "lengths"):
            continue
        yield _draft(ask, slug, direction, present, extra)


def _draft(ask: Ask, slug: str, direction: str, present: set[str], extra: dict[str, int]) -> Draft:
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
            before=bool(extra.get("linear_before_reset")),
        )
        results.append(
            _unrolled(widen(x), lengths, hidden[way], cell[way], turn, backward=backward)
        )
    y, last, cells = (np.stack(parts) for parts in zip(*results, strict=True))
    expected = [np.moveaxis(y, 0, 1), last]
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
        expected.append(cells)
    while given[-1] is None:
        given.pop()
    attributes: dict[str, Any] = {"hidden_size": _HIDDEN, **extra}
    if direction != "forward":
        attributes["direction"] = direction
    alone = ways == 2 or "lengths" in present or direction == "reverse"
    return ask.draft(
        slug,
        given,
        expected,
        outputs=(ask.type,) * len(expected),
        attributes=attributes,
        tolerance=composed(element, magnitude=1.0),
        oracle="none" if alone else "widened",
        reason="onnx 1.23.2's evaluator goes one way, and takes every sequence as whole",
    )
