"""Sequences, optionals and subgraphs once more: one model on other values, and rows that no vector
divides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import helper

from hal import ElementType, OptionalValue, SequenceValue, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.contract.protos import type_proto

_F = ElementType.FLOAT
_TENSOR, _SEQUENCE = "tensor(float)", "seq(tensor(float))"
_ROWS = (3, 5)


def _tensor(ask: Ask, shape: Sequence[int], turn: int = 0) -> Tensor:
    return ask.draw(f"again{turn}{tuple(shape)}").tensor(_F, shape, 1, 4)


def _sequence(ask: Ask, *shapes: Sequence[int], turn: int = 0) -> SequenceValue:
    items = tuple(_tensor(ask, s, turn + 10 * i) for i, s in enumerate(shapes))
    return SequenceValue(_SEQUENCE, items)


def _again(rows: Sequence[tuple[Sequence[Any], Sequence[Any]]], **settings: Any) -> Draft:
    runs = tuple(Run(tuple(inputs), tuple(results)) for inputs, results in rows)
    return Draft(slug="again", runs=runs, dynamic_outputs=True, **{"oracle": "native", **settings})


@generates("SequenceAt")
def at_again(ask: Ask) -> Iterator[Draft]:
    """Items of other extents, zeros where there were numbers, and nothing."""
    if ask.constraint != "S" or ask.type != _SEQUENCE:
        return
    first, other = _sequence(ask, _ROWS, (2, 3)), _sequence(ask, (1, 2), (4, 7), turn=1)
    zeros = narrow(np.where(np.eye(3, 5, dtype=bool), 0.0, widen(_tensor(ask, _ROWS))), _F)
    rows: list[tuple[list[Any], list[Any]]] = [
        ([first, int64s(0)], [first.items[0]]),
        ([SequenceValue(_SEQUENCE, (zeros,)), int64s(0)], [zeros]),
        ([other, int64s(-1)], [other.items[1]]),
    ]
    yield _again(rows, outputs=(_TENSOR,))
    nothing = _sequence(ask, _ROWS, (0, 3))
    yield ask.draft(
        "nothing",
        [nothing, int64s(1)],
        [nothing.items[1]],
        outputs=(_TENSOR,),
        oracle="native",
    )


@generates("SequenceErase", "SequenceInsert")
def edited_again(ask: Ask) -> Iterator[Draft]:
    """Other positions of one sequence, and other items."""
    if ask.constraint not in ("S", "T") or ask.type not in (_SEQUENCE, _TENSOR):
        return
    if ask.constraint != ask.operator.constraints[0].name:
        return
    first, other = _sequence(ask, _ROWS, (2, 3)), _sequence(ask, (1, 2), (5, 7), turn=1)
    rows: list[tuple[list[Any], list[Any]]] = []
    for value, where in ((first, 1), (first, 0), (other, 0)):
        items = list(value.items)
        if ask.name == "SequenceErase":
            del items[where]
            rows.append(([value, int64s(where)], [SequenceValue(_SEQUENCE, tuple(items))]))
        else:
            new = _tensor(ask, (4, 4 + where), 5)
            items.insert(where, new)
            rows.append(([value, new, int64s(where)], [SequenceValue(_SEQUENCE, tuple(items))]))
    yield _again(rows, outputs=(_SEQUENCE,))


@generates("SequenceConstruct")
def construct_again(ask: Ask) -> Iterator[Draft]:
    """Other items of one model."""
    if ask.type != _TENSOR:
        return
    rows = []
    for turn in (0, 1):
        items = tuple(_tensor(ask, s, turn) for s in (_ROWS, (2, 3), (7,)))
        rows.append((items, [SequenceValue(_SEQUENCE, items)]))
    yield _again(rows, outputs=(_SEQUENCE,))


@generates("SequenceLength")
def length_again(ask: Ask) -> Iterator[Draft]:
    """One model on longer and shorter sequences, and on none."""
    if ask.type != _SEQUENCE:
        return
    values = [_sequence(ask, *[_ROWS] * n) for n in (2, 3, 0)]
    rows = [([v], [np.array(len(v.items))]) for v in values]
    yield _again(rows, outputs=("tensor(int64)",))


@generates("SplitToSequence")
def split_again(ask: Ask) -> Iterator[Draft]:
    """Other parts of the same data; the default axis and whether it stays."""
    if ask.constraint != "T" or ask.type != _TENSOR:
        return
    x = _tensor(ask, (6, 5))
    rows = []
    for parts in ([2, 4], [3, 3], [5, 1]):
        pieces = np.split(widen(x), [parts[0]])
        rows.append(([x, int64s(parts)], [pieces]))
    yield _again(rows, outputs=(_SEQUENCE,))
    plain = _tensor(ask, _ROWS)
    yield ask.draft(
        "default", [plain], [np.split(widen(plain), 3)], outputs=(_SEQUENCE,), oracle="native"
    )


@generates("SequenceMap")
def mapped_again(ask: Ask) -> Iterator[Draft]:
    """Two tensors beside the sequence, two results; the node twice, on other values."""
    if ask.constraint != "S" or ask.type != _SEQUENCE:
        return
    rows = []
    for turn in (0, 1):
        value = _sequence(ask, _ROWS, (2, 3), turn=turn)
        a, b = _tensor(ask, (2, 5), turn), _tensor(ask, (7,), turn)
        results = [SequenceValue(_SEQUENCE, (b,) * 2), SequenceValue(_SEQUENCE, (a,) * 2), value]
        rows.append(([value, a, b], results))
    yield _again(
        rows,
        outputs=(_SEQUENCE,) * 3,
        attributes={"body": _handed_on(["e", "a", "b"], ["b", "a", "e"])},
        twice=True,
    )


def _handed_on(inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A graph whose results are its inputs, in another order."""
    infos = [helper.make_value_info(n, type_proto(_TENSOR)) for n in inputs]
    given = [helper.make_value_info(f"{n}_out", type_proto(_TENSOR)) for n in outputs]
    nodes = [helper.make_node("Identity", [n], [f"{n}_out"], name=f"copy_{n}") for n in outputs]
    return helper.make_graph(nodes, "body", infos, given)


@generates("Optional")
def optional_again(ask: Ask) -> Iterator[Draft]:
    """Around other values of one model."""
    if ask.constraint != "V" or ask.type != _TENSOR:
        return
    type_ = "optional(tensor(float))"
    values = [_tensor(ask, s, i) for i, s in enumerate((_ROWS, _ROWS, (7, 3)))]
    yield _again(
        [([v], [OptionalValue(type_, v)]) for v in values],
        outputs=(type_,),
        oracle="none",
        reason="onnx 1.23.2's evaluator gives a list of one for an optional",
    )


@generates("OptionalGetElement", "OptionalHasElement")
def held(ask: Ask) -> Iterator[Draft]:
    """Of tensors of other ranks: rows, a scalar, nothing."""
    if ask.constraint != "O" or ask.type != _TENSOR:
        return
    gets = ask.name == "OptionalGetElement"
    for slug, shape in (("rows", _ROWS), ("of-scalar", ()), ("of-nothing", (0, 2))):
        x = _tensor(ask, shape)
        yield ask.draft(
            slug,
            [x],
            [x if gets else np.array(True)],
            outputs=(_TENSOR if gets else "tensor(bool)",),
            oracle="native",
        )


@generates("Scan")
def scanned_again(ask: Ask) -> Iterator[Draft]:
    """States of two dimensions, of none, and empty; the last axis from the back."""
    if ask.type != _TENSOR:
        return
    body = _handed_on(["s", "t", "e"], ["s", "t", "e"])
    for slug, shape, axis in (
        ("axis-last", _ROWS, -1),
        ("of-scalar", (), 0),
        ("of-none", (0, 2), 0),
    ):
        s, t, x = _tensor(ask, shape), _tensor(ask, shape, 1), _tensor(ask, (3, 4, 5), 2)
        settings: dict[str, Any] = {"scan_input_axes": [axis]} if axis else {}
        yield ask.draft(
            slug,
            [s, t, x],
            [s, t, np.moveaxis(widen(x), axis, 0)],
            outputs=(_TENSOR,) * 3,
            attributes={"body": body, "num_scan_inputs": 1, **settings},
            oracle="native",
        )
