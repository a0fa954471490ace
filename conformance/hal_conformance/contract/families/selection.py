"""What selects and rearranges, once more: other ranks, defaults, and one model on other data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_float, narrow, widen
from hal_conformance.contract.tolerance import accumulated

_F = ElementType.FLOAT
_COUNTS = ("tensor(int64)",)


@generates("NonMaxSuppression")
def suppressed_again(ask: Ask) -> Iterator[Draft]:
    """Boxes side by side with other scores, and more of them; the node twice."""
    places = [[-1, -1], [0, 0], [4, 4], [8, 0], [0, 8]]
    runs = []
    for scores in ([0.9, 0.7, 0.8, 0.2], [0.2, 0.95, 0.6, 0.75], [0.6, 0.7, 0.9, 0.8, 0.95]):
        boxes = np.array([[*p, p[0] + 1, p[1] + 1] for p in places[: len(scores)]], np.float64)
        chosen = [i for i in np.argsort(-np.array(scores)) if scores[i] > 0.5]
        limits = [int64s([9]), *(narrow(np.array([v]), _F) for v in (0.5, 0.5))]
        given = (narrow(boxes[None], _F), narrow(np.array([[scores]]), _F), *limits)
        runs.append(Run(given, (np.array([[0, 0, i] for i in chosen]),)))
    yield Draft(
        slug="again",
        runs=tuple(runs),
        outputs=_COUNTS,
        oracle="native",
        dynamic_outputs=True,
        twice=True,
    )


@generates("NonZero")
def non_zero_ranks(ask: Ask) -> Iterator[Draft]:
    """Five dimensions, nothing, and scalars, of which the standard says: (0, N)."""
    if not ask.full:
        return
    deep = ask.draw("rank5").integers((2, 1, 2, 1, 3), 0, 1)
    rows: list[tuple[str, Array, Array]] = [
        ("of-rank5", deep, np.array(np.nonzero(deep))),
        ("of-none", np.zeros((2, 0, 3)), np.zeros((3, 0), np.int64)),
        ("of-scalar", np.array(3), np.zeros((0, 1), np.int64)),
        ("of-scalar-zero", np.array(0), np.zeros((0, 0), np.int64)),
    ]
    for slug, values, expected in rows:
        yield ask.draft(
            slug,
            [narrow(values, ask.element)],
            [expected],
            outputs=_COUNTS,
            dynamic_outputs=True,
            oracle="none" if "scalar" in slug else "widened",
            reason="the standard's own words: a scalar gives (0, N), unlike NumPy",
        )


@generates("Unique")
def unique_ranks(ask: Ask) -> Iterator[Draft]:
    """Nineteen values, sorted by default; columns by an axis from the back; five dimensions, a
    scalar, nothing."""
    if not ask.full:
        return
    outputs = (ask.type, *_COUNTS * 3)
    draw = ask.draw("many")
    many = np.array([*draw.order(19), 3, 7])
    columns = np.array([[2, 0, 2, 1], [5, 4, 5, 4], [1, 1, 1, 0]])
    rows: list[tuple[str, Array, int | None]] = [
        ("many", many, None),
        ("columns", columns, -1),
        ("of-rank5", draw.integers((2, 1, 2, 1, 3), 0, 3), None),
        ("of-scalar", np.array(3), None),
        ("of-none", np.zeros((0,)), None),
    ]
    for slug, values, axis in rows:
        found, first, inverse, counts = np.unique(
            values, return_index=True, return_inverse=True, return_counts=True, axis=axis
        )
        yield ask.draft(
            slug,
            [narrow(values, ask.element)],
            [found, first, inverse.reshape(-1), counts],
            outputs=outputs,
            attributes={} if axis is None else {"axis": axis},
            dynamic_outputs=True,
        )


@generates("OneHot")
def hot_by_default(ask: Ask) -> Iterator[Draft]:
    """The new axis is the last one by default."""
    if ask.constraint == "T3" and ask.full:
        inputs = [int64s([[0, 2], [1, 0], [2, 1]]), int64s(3), narrow([1, 4], ask.element)]  # type: ignore[list-item]
        hot = np.eye(3)[[[0, 2], [1, 0], [2, 1]]]
        yield ask.draft("default", inputs, [1 + 3 * hot])


@generates("Range")
def long_range(ask: Ask) -> Iterator[Draft]:
    """Nineteen numbers, then as many as before with zero among them; every digit of the start."""
    if ask.full:
        rows = ((1, 6, 1), (-2, 3, 1), (1, 20, 1))
        runs = [
            Run(tuple(narrow(np.array(v), ask.element) for v in row), (np.arange(*row),))
            for row in rows
        ]
        yield Draft(slug="long", runs=tuple(runs), outputs=(ask.type,), dynamic_outputs=True)
    digits = {
        ElementType.DOUBLE: 1 + 2.0**-30,
        ElementType.FLOAT: 1 + 2.0**-20,
        ElementType.FLOAT16: 1 + 2.0**-8,
        ElementType.BFLOAT16: 1 + 2.0**-4,
        ElementType.INT64: 2**60 + 1,
        ElementType.INT32: 2**24 + 1,
        ElementType.INT16: 300,
    }
    start = digits[ask.element]
    values = np.array([start, start + 1, start + 2])
    inputs = [narrow(np.array(v), ask.element) for v in (start, start + 3, type(start)(1))]
    yield ask.draft("digits", inputs, [values], dynamic_outputs=True, oracle="native")


@generates("Reshape")
def reshaped_sizes(ask: Ask) -> Iterator[Draft]:
    """One model on data of other sizes."""
    if not ask.first or not ask.full:
        return
    runs = []
    for shape, target in (((2, 3), [3, 2]), ((4, 5), [2, -1]), ((2, 3), [6, 1])):
        x = ask.draw(f"sizes{shape}").tensor(ask.element, shape)
        runs.append(Run((x, int64s(target)), (widen(x).reshape(target),)))
    yield Draft(slug="sizes", runs=tuple(runs), outputs=(ask.type,), dynamic_outputs=True)


@generates("ReverseSequence")
def reversed_rows(ask: Ask) -> Iterator[Draft]:
    """Twenty-one elements, by the default axes."""
    if ask.first and ask.full:
        x = ask.draw("rows").tensor(ask.element, (7, 3))
        wide, expected = widen(x), widen(x).copy()
        for i, n in enumerate([7, 2, 5]):
            expected[:n, i] = wide[:n, i][::-1]
        yield ask.draft("rows", [x, int64s([7, 2, 5])], [expected])


@generates("Slice")
def far_start(ask: Ask) -> Iterator[Draft]:
    """A start that 32 bits do not hold: nothing is left."""
    if ask.constraint == "T" and ask.full:
        x = ask.draw("far").tensor(ask.element, (4, 3))
        inputs = [x, int64s([2**32 + 1]), int64s([2**62])]
        yield ask.draft("far", inputs, [np.zeros((0, 3))], dynamic_outputs=True)


@generates("TensorScatter")
def scatter_by_default(ask: Ask) -> Iterator[Draft]:
    """Along the last axis but one by default; fifteen elements."""
    if ask.first and ask.full:
        draw = ask.draw("plain")
        x, update = draw.tensor(ask.element, (1, 5, 3)), draw.tensor(ask.element, (1, 2, 3))
        expected = widen(x).copy()
        expected[:, :2] = widen(update)
        yield ask.draft("plain", [x, update], [expected])


@generates("Trilu", "SpaceToDepth", "Squeeze", "Unsqueeze")
def odd_counts(ask: Ask) -> Iterator[Draft]:
    """Counts that no vector divides; a matrix that stays one."""
    if not ask.first or not ask.full:
        return
    draw = ask.draw("odd")
    if ask.name == "Trilu":
        x = draw.tensor(ask.element, (3, 7), 1, 4)
        yield ask.draft("odd", [x], [np.triu(widen(x))])
    elif ask.name == "SpaceToDepth":
        x = draw.tensor(ask.element, (1, 1, 3, 9), 1, 4)
        expected = widen(x).reshape(1, 1, 3, 3, 3).transpose(0, 2, 4, 1, 3).reshape(1, 9, 1, 3)
        yield ask.draft("odd", [x], [expected], attributes={"blocksize": 3})
    elif ask.name == "Squeeze":
        x = draw.tensor(ask.element, (1, 3, 5), 1, 4)
        yield ask.draft("odd", [x, int64s([0])], [widen(x)[0]])
    else:
        x = draw.tensor(ask.element, (3, 5), 1, 4)
        yield ask.draft("odd", [x, int64s([0])], [widen(x)[None]])


@generates("RotaryEmbedding")
def rotary_by_default(ask: Ask) -> Iterator[Draft]:
    """Halves by default; eighteen elements."""
    if ask.constraint != "T" or not is_float(ask.element):
        return
    draw = ask.draw("plain")
    angles = draw.floats((1, 3, 3), -3, 3)
    cos, sin = narrow(np.cos(angles), ask.element), narrow(np.sin(angles), ask.element)
    x = draw.tensor(ask.element, (1, 1, 3, 6), -2, 2)
    first, second = np.split(widen(x), 2, axis=-1)
    c, s = widen(cos)[:, None], widen(sin)[:, None]
    expected = np.concatenate([c * first - s * second, s * first + c * second], axis=-1)
    yield ask.draft(
        "plain",
        [x, cos, sin],
        [expected],
        tolerance=accumulated(ask.element, terms=3, magnitude=4.0, steps=2, rounded=4.0),
    )
