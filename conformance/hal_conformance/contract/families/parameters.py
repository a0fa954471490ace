"""One model called with other parameters: what says how comes as an input, and changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hal import ElementType, SequenceValue, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, narrow, widen

_SLUG = "parameters"
_F = ElementType.FLOAT


def _draft(ask: Ask, rows: Sequence[tuple[Sequence[Any], Sequence[Any]]], **settings: Any) -> Draft:
    """A draft of runs, each its inputs and results, the first one once more at the end."""
    runs = tuple(Run(tuple(inputs), tuple(results)) for inputs, results in (*rows, rows[0]))
    settings = {"outputs": (ask.type,), "dynamic_outputs": True, **settings}
    return Draft(slug=_SLUG, runs=runs, **settings)


def _x(ask: Ask, shape: Sequence[int], turn: int = 0) -> Tensor:
    return ask.draw(f"{_SLUG}{turn}").tensor(ask.element, shape)


@generates("Pad")
def pad(ask: Ask) -> Iterator[Draft]:
    """Other pads of the same data; axes out of order; a scalar, five dimensions, nothing."""
    if ask.constraint != "T" or not ask.full:
        return
    x = _x(ask, (2, 3))
    rows = []
    for pads in ([1, 0, 0, 2], [0, 1, 2, 0], [2, 1, 0, 1]):
        widths = [(pads[0], pads[2]), (pads[1], pads[3])]
        rows.append(([x, int64s(pads)], [np.pad(widen(x), widths)]))
    yield _draft(ask, rows)
    deep = _x(ask, (2, 1, 2, 1, 3), 1)
    wide = np.pad(widen(deep), [(0, 0), (1, 0), (0, 1), (0, 0), (2, 0)])
    yield ask.draft("of-rank5", [deep, int64s([0, 1, 0, 0, 2, 0, 0, 1, 0, 0])], [wide])
    scalar = _x(ask, (), 2)
    yield ask.draft("of-scalar", [scalar, int64s([])], [widen(scalar)])
    none = narrow(np.zeros((0, 2)), ask.element)
    yield ask.draft("of-none", [none, int64s([0, 1, 0, 0])], [np.zeros((0, 3))])
    part = _x(ask, (2, 3, 4), 3)
    for slug, axes, pads in (
        ("of-axes-turned", [2, 0], [1, 0, 2, 3]),
        ("of-axes-mixed", [-1, 0], [0, 2, 1, 1]),
    ):
        widths = [(0, 0)] * 3
        for i, axis in enumerate(axes):
            widths[axis] = (pads[i], pads[i + 2])
        inputs = [part, int64s(pads), None, int64s(axes)]
        yield ask.draft(slug, inputs, [np.pad(widen(part), widths)])


@generates("Reshape")
def reshape(ask: Ask) -> Iterator[Draft]:
    """The same elements in other matrices; to five dimensions, from and to a scalar."""
    if ask.constraint != "T" or not ask.full:
        return
    x = _x(ask, (4, 6))
    shapes = ([3, 8], [2, 12], [24, 1], [-1, 4])
    yield _draft(ask, [([x, int64s(s)], [widen(x).reshape(s)]) for s in shapes])
    deep = _x(ask, (2, 3, 1, 2, 2), 1)
    yield ask.draft("of-rank5", [deep, int64s([2, 1, 3, 4])], [widen(deep).reshape(2, 1, 3, 4)])
    yield ask.draft("of-to-rank5", [x, int64s([2, 2, 1, 2, 3])], [widen(x).reshape(2, 2, 1, 2, 3)])
    one = _x(ask, (), 2)
    yield ask.draft("of-from-scalar", [one, int64s([1, 1])], [widen(one).reshape(1, 1)])


@generates("Tile")
def tile(ask: Ask) -> Iterator[Draft]:
    """Other repeats of the same data; a scalar, five dimensions."""
    if ask.constraint != "T" or not ask.full:
        return
    x = _x(ask, (2, 3))
    rows = [
        ([x, int64s(repeats)], [np.tile(widen(x), repeats)]) for repeats in ([2, 1], [1, 3], [3, 2])
    ]
    yield _draft(ask, rows)
    scalar, deep = _x(ask, (), 1), _x(ask, (1, 2, 1, 3, 2), 2)
    yield ask.draft("of-scalar", [scalar, int64s([])], [widen(scalar)])
    yield ask.draft(
        "of-rank5", [deep, int64s([2, 1, 2, 1, 2])], [np.tile(widen(deep), [2, 1, 2, 1, 2])]
    )


@generates("Squeeze", "Unsqueeze")
def squeezed(ask: Ask) -> Iterator[Draft]:
    """Other axes of the same data; a scalar, six dimensions."""
    if not ask.first or not ask.full:
        return
    if ask.name == "Squeeze":
        x = _x(ask, (1, 3, 1, 2, 1))
        rows = [
            ([x, int64s(a)], [np.squeeze(widen(x), tuple(a))]) for a in ([0, 2], [2, 4], [-1, 0])
        ]
        yield _draft(ask, rows)
        scalar = _x(ask, (), 1)
        yield ask.draft("of-scalar", [scalar], [widen(scalar)])
        deep = _x(ask, (2, 1, 3, 1, 2, 1), 2)
        yield ask.draft("of-rank6", [deep, int64s([1, -1])], [widen(deep).reshape(2, 3, 1, 2)])
        return
    x = _x(ask, (2, 3))
    rows = [
        ([x, int64s(a)], [np.expand_dims(widen(x), tuple(a))]) for a in ([0, 2], [1, 3], [-1, 0])
    ]
    yield _draft(ask, rows)
    deep = _x(ask, (2, 1, 3, 1, 2), 2)
    yield ask.draft("of-rank5", [deep, int64s([5, 1])], [np.expand_dims(widen(deep), (1, 5))])


@generates("Trilu")
def trilu(ask: Ask) -> Iterator[Draft]:
    """Other diagonals of the same data."""
    if not ask.first or not ask.full:
        return
    x = _x(ask, (3, 4))
    yield _draft(
        ask,
        [([x, narrow(np.array(k), ElementType.INT64)], [np.triu(widen(x), k)]) for k in (0, 1, -2)],
    )


@generates("Clip")
def clip(ask: Ask) -> Iterator[Draft]:
    """Other bounds of the same data, on each side."""
    if not ask.full:
        return
    x = ask.draw(_SLUG).tensor(ask.element, (3, 5), -20, 20)
    rows = []
    for low, high in ((-5, 7), (0, 3), (-9, -2)):
        bounds = [narrow(np.array(v), ask.element) for v in (low, high)]
        rows.append(([x, *bounds], [np.clip(widen(x), low, high)]))
    yield _draft(ask, rows, dynamic_outputs=False)


@generates("TopK")
def top_k(ask: Ask) -> Iterator[Draft]:
    """Other numbers of the same data."""
    if ask.constraint != "T" or not ask.full:
        return
    x = ask.draw(_SLUG).distinct(ask.element, 12)
    x = Tensor.from_numpy(x.bits().reshape(2, 6), ask.element)
    rows = []
    for k in (2, 4, 1):
        order = np.argsort(-widen(x), axis=1)[:, :k]
        rows.append(([x, int64s([k])], [np.take_along_axis(widen(x), order, 1), order]))
    yield _draft(ask, rows, outputs=(ask.type, "tensor(int64)"))


@generates("Split")
def split(ask: Ask) -> Iterator[Draft]:
    """Other parts of the same data; a part that is cut short; negative axes and the default."""
    if not ask.first or not ask.full:
        return
    x = _x(ask, (5, 3))
    rows = []
    for parts in ([2, 3], [4, 1], [0, 5]):
        rows.append(([x, int64s(parts)], np.split(widen(x), [parts[0]])))
    yield _draft(ask, rows, outputs=(ask.type,) * 2)
    for slug, count, axis, shape in (
        ("of-uneven", 3, None, (7, 4)),
        ("of-uneven-last", 2, -1, (2, 7)),
        ("of-even-last", 2, -1, (4, 6)),
    ):
        data = _x(ask, shape, 1)
        along = 0 if axis is None else axis
        size = -(-shape[along] // count)
        pieces = np.split(widen(data), [size * i for i in range(1, count)], along)
        settings = {} if axis is None else {"axis": axis}
        yield ask.draft(
            slug,
            [data],
            pieces,
            outputs=(ask.type,) * count,
            attributes={"num_outputs": count, **settings},
        )


@generates("ConstantOfShape")
def filled(ask: Ask) -> Iterator[Draft]:
    """Other shapes of one model; a scalar, five dimensions, one that is empty."""
    if ask.constraint != "T2" or not ask.full:
        return
    value = narrow(np.array([3]), ask.element)
    rows = [([int64s(s)], [np.full(s, widen(value)[0])]) for s in ([2, 3], [7, 5], [0, 4])]
    yield _draft(ask, rows, attributes={"value": value})
    rows = [([int64s(s)], [np.full(s, widen(value)[0])]) for s in ([2, 1, 3, 1, 2],)]
    yield ask.draft("of-rank5", rows[0][0], rows[0][1], attributes={"value": value})


@generates("Shape", "Size")
def extents(ask: Ask) -> Iterator[Draft]:
    """One model on tensors of other extents; five dimensions and a scalar of every kind."""
    if not ask.first or not ask.full:
        return

    def told(shape: tuple[int, ...]) -> Array:
        return np.array(shape if ask.name == "Shape" else int(np.prod(shape)), np.int64)

    shapes = ((2, 3), (5, 1), (4, 7))
    rows = [([_x(ask, s, i)], [told(s)]) for i, s in enumerate(shapes)]
    yield _draft(ask, rows, outputs=("tensor(int64)",), dynamic_outputs=False, twice=True)
    deep = (2, 1, 3, 1, 2)
    yield ask.draft("of-rank5", [_x(ask, deep, 4)], [told(deep)], outputs=("tensor(int64)",))
    wide = (1, 2, 1, 1, 2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2)
    yield ask.draft("of-rank19", [_x(ask, wide, 5)], [told(wide)], outputs=("tensor(int64)",))


@generates("ScatterElements", "ScatterND")
def scattered(ask: Ask) -> Iterator[Draft]:
    """Other places and extents of one model; nothing to scatter."""
    if ask.constraint != "T" or not ask.full:
        return
    rows = []
    for i, (shape, picks) in enumerate((((4, 3), [2, 0]), ((4, 3), [1, 3]), ((6, 5), [5, 2]))):
        x = _x(ask, shape, i)
        updates = ask.draw(f"updates{i}").tensor(ask.element, (2, shape[1]))
        expected = widen(x).copy()
        expected[picks] = widen(updates)
        rank = np.array(picks)[:, None]
        places = rank if ask.name == "ScatterND" else np.broadcast_to(rank, (2, shape[1]))
        rows.append(([x, Tensor.from_numpy(np.ascontiguousarray(places)), updates], [expected]))
    yield _draft(ask, rows, twice=True)
    x, none = _x(ask, (3, 2), 4), narrow(np.zeros((0, 2)), ask.element)
    places = np.zeros((0, 1) if ask.name == "ScatterND" else (0, 2), np.int64)
    yield ask.draft("of-nothing", [x, Tensor.from_numpy(places), none], [widen(x)])
    empty = narrow(np.zeros((0, 2)), ask.element)
    yield ask.draft("of-into-nothing", [empty, Tensor.from_numpy(places), none], [np.zeros((0, 2))])
    deep, picks = _x(ask, (2, 1, 2, 1, 3), 5), [1, 0]
    updates = _x(ask, (2, 1, 2, 1, 3), 6)
    rank = np.array(picks).reshape(2, 1, 1, 1, 1)
    shown = (
        np.broadcast_to(rank, deep.shape) if ask.name == "ScatterElements" else rank.reshape(2, 1)
    )
    yield ask.draft(
        "of-rank5",
        [deep, Tensor.from_numpy(np.ascontiguousarray(shown)), updates],
        [widen(updates)[picks]],
    )


@generates("CenterCropPad")
def cropped(ask: Ask) -> Iterator[Draft]:
    """Other extents of the same data; five dimensions, one that is empty."""
    if ask.constraint != "T" or not ask.full:
        return
    x = _x(ask, (4, 5))
    yield _draft(ask, [([x, int64s(s)], [_centred(widen(x), s)]) for s in ([2, 3], [6, 7], [3, 8])])
    deep = _x(ask, (1, 4, 2, 3, 1), 1)
    yield ask.draft(
        "of-rank5", [deep, int64s([1, 2, 2, 5, 1])], [_centred(widen(deep), [1, 2, 2, 5, 1])]
    )
    none = narrow(np.zeros((0, 3)), ask.element)
    yield ask.draft("of-none", [none, int64s([0, 1])], [np.zeros((0, 1))])


def _centred(x: Array, shape: Sequence[int]) -> Array:
    for axis, size in enumerate(shape):
        have = x.shape[axis]
        if size < have:
            start = (have - size) // 2
            x = np.take(x, range(start, start + size), axis)
        else:
            before = (size - have) // 2
            widths = [(0, 0)] * x.ndim
            widths[axis] = (before, size - have - before)
            x = np.pad(x, widths)
    return x


@generates("DequantizeLinear", "QuantizeLinear")
def quantised(ask: Ask) -> Iterator[Draft]:
    """Other scales and zero points of the same data."""
    if ask.constraint != "T1" or ask.type not in ("tensor(uint8)", "tensor(float)"):
        return
    rows = []
    for scale, zero in ((0.5, 3), (0.25, 100), (2.0, 0)):
        s, z = narrow(np.array(scale), _F), narrow(np.array(zero), ElementType.UINT8)
        if ask.name == "DequantizeLinear":
            x = ask.draw(_SLUG).tensor(ask.element, (3, 4), 0, 255)
            rows.append(([x, s, z], [(widen(x) - zero) * scale]))
        else:
            x = narrow(np.arange(-6, 6).reshape(3, 4) * 1.3, _F)
            rows.append(
                ([x, s, z], [np.clip(np.rint(widen(x) / scale) + zero, 0, 255).astype(int)])
            )
    output = "tensor(float)" if ask.name == "DequantizeLinear" else "tensor(uint8)"
    yield _draft(ask, rows, outputs=(output,), dynamic_outputs=False)


@generates("ReverseSequence")
def reversed_rows(ask: Ask) -> Iterator[Draft]:
    """Other lengths of the same data."""
    if not ask.first or not ask.full:
        return
    x = _x(ask, (4, 3))
    rows = []
    for lengths in ([1, 4, 2], [3, 2, 4], [4, 1, 1]):
        expected = widen(x).copy()
        for i, n in enumerate(lengths):
            expected[:n, i] = expected[:n, i][::-1]
        rows.append(([x, int64s(lengths)], [expected]))
    yield _draft(ask, rows, dynamic_outputs=False)


@generates("ConcatFromSequence")
def from_sequences(ask: Ask) -> Iterator[Draft]:
    """Sequences of other lengths and extents; negative axes; empty items and five dimensions."""
    if ask.constraint != "S" or "float)" not in ask.type or "16" in ask.type:
        return

    def sequence(*shapes: tuple[int, ...]) -> SequenceValue:
        draw = ask.draw(f"{_SLUG}{shapes}")
        return SequenceValue(ask.type, tuple(draw.tensor(_F, s) for s in shapes))

    def joined(value: SequenceValue, axis: int) -> Array:
        return np.concatenate([widen(t) for t in value.items if isinstance(t, Tensor)], axis)

    output = ("tensor(float)",)
    several = [sequence((2, 3), (1, 3)), sequence((4, 2), (3, 2), (2, 2)), sequence((2, 3), (1, 3))]
    yield _draft(
        ask,
        [([s], [joined(s, 0)]) for s in several],
        outputs=output,
        attributes={"axis": 0},
        twice=True,
        oracle="native",
    )
    for slug, axis, shapes in (
        ("of-last", -1, ((2, 3), (2, 1))),
        ("of-second-last", -2, ((1, 2, 2), (1, 3, 2))),
        ("of-rank5", 2, ((1, 2, 1, 2, 1), (1, 2, 3, 2, 1))),
        ("of-empty-items", 0, ((0, 2), (0, 2))),
    ):
        value = sequence(*shapes)
        yield ask.draft(
            slug,
            [value],
            [joined(value, axis)],
            outputs=output,
            attributes={"axis": axis},
            oracle="native",
        )
