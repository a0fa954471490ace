"""Sequences and optionals: made, taken apart, handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import helper

from hal import ElementType, OptionalValue, SequenceValue, Tensor, Value
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import Draw, edges
from hal_conformance.contract.numbers import is_float, narrow, widen
from hal_conformance.contract.protos import type_proto

__all__ = ["drawn", "element_of", "hard", "inner"]

_SHAPES = ((4, 6), (4,), (), (1, 0))


def inner(type_: str) -> str:
    """What a container type holds: of "seq(tensor(float))", "tensor(float)"."""
    return type_.partition("(")[2][:-1]


def element_of(type_: str) -> ElementType:
    """The element type at the bottom of a tensor, sequence or optional type."""
    while not type_.startswith("tensor("):
        type_ = inner(type_)
    return ElementType.from_onnx_name(inner(type_))


def hard(draw: Draw, element: ElementType, shape: Sequence[int]) -> Tensor:
    """A tensor of the values at which kernels go wrong, NaN among them, in random order."""
    values = edges(element, nan=is_float(element) and element.bits > 4)
    count = int(np.prod(shape))
    return narrow(np.resize(values, count)[draw.order(count)].reshape(tuple(shape)), element)


def drawn(draw: Draw, type_: str, *, count: int = 3) -> Value:
    """A value of any type: a matrix; a sequence of `count` tensors of different shapes; an optional
    that holds one of them."""
    if type_.startswith("tensor("):
        return hard(draw, element_of(type_), (4, 6))
    if type_.startswith("seq("):
        element = element_of(type_)
        items = tuple(hard(draw, element, shape) for shape in _SHAPES[:count])
        return SequenceValue(type_, items)
    return OptionalValue(type_, drawn(draw, inner(type_), count=count))


def position(value: int, element: ElementType = ElementType.INT64) -> Tensor:
    """A scalar index."""
    return narrow(value, element)


@generates("SequenceConstruct")
def construct(ask: Ask) -> Iterator[Draft]:
    """From one tensor, and from several of different ranks."""
    if ask.constraint != "T":
        return
    sequence = f"seq({ask.type})"
    for count in (1, 4):
        draw = ask.draw(f"of{count}")
        items = tuple(hard(draw, ask.element, shape) for shape in _SHAPES[:count])
        expected = SequenceValue(sequence, items)
        yield ask.draft(f"of{count}", items, [expected], outputs=(sequence,), oracle="native")


@generates("SequenceEmpty")
def empty(ask: Ask) -> Iterator[Draft]:
    """By its attribute, and float by default."""
    element = element_of(ask.type)
    expected = [SequenceValue(ask.type, ())]
    yield ask.draft("typed", [], expected, attributes={"dtype": int(element)}, oracle="native")
    if element is ElementType.FLOAT:
        yield ask.draft("default", [], expected, oracle="native")


@generates("SequenceLength")
def length(ask: Ask) -> Iterator[Draft]:
    """Of none, of one and of several."""
    if ask.constraint != "S":
        return
    for count in (0, 1, 4):
        slug = f"of{count}"
        value = drawn(ask.draw(slug), ask.type, count=count)
        outputs = ("tensor(int64)",)
        yield ask.draft(slug, [value], [np.array(count)], outputs=outputs, oracle="native")


@generates("SequenceAt", "SequenceErase")
def at(ask: Ask) -> Iterator[Draft]:
    """Positions from both ends; SequenceErase without one takes the last."""
    if ask.constraint == "S":
        for where in (0, 1, 2, -1, -3):
            yield _at(ask, ask.type, where, ElementType.INT64, f"at{where}")
        if ask.name == "SequenceErase":
            yield _at(ask, ask.type, None, ElementType.INT64, "default")
    elif ask.constraint == "I":
        for where in (1, -2):
            yield _at(ask, "seq(tensor(float))", where, ask.element, f"at{where}")


def _at(ask: Ask, type_: str, where: int | None, kind: ElementType, slug: str) -> Draft:
    value = drawn(ask.draw(slug), type_)
    assert_sequence = value.items if isinstance(value, SequenceValue) else ()
    inputs: list[Value] = [value] if where is None else [value, position(where, kind)]
    if ask.name == "SequenceAt":
        expected: Value = assert_sequence[where or 0]
        outputs = (inner(type_),)
    else:
        items = list(assert_sequence)
        del items[-1 if where is None else where]
        expected, outputs = SequenceValue(type_, tuple(items)), (type_,)
    return ask.draft(slug, inputs, [expected], outputs=outputs, oracle="native")


@generates("SequenceInsert")
def insert(ask: Ask) -> Iterator[Draft]:
    """At the front, in the middle, at the end and by default; into an empty sequence."""
    if ask.constraint == "T":
        yield _insert(ask, ask.type, 0, ElementType.INT64, "into-empty", count=0)
        for where in (None, 0, 1, 3, -1, -3):
            slug = "default" if where is None else f"at{where}"
            yield _insert(ask, ask.type, where, ElementType.INT64, slug)
    elif ask.constraint == "I":
        yield _insert(ask, "tensor(float)", 2, ask.element, "at2")
        yield _insert(ask, "tensor(float)", -2, ask.element, "at-2")


def _insert(
    ask: Ask, tensor: str, where: int | None, kind: ElementType, slug: str, *, count: int = 3
) -> Draft:
    draw, type_ = ask.draw(slug), f"seq({tensor})"
    value = drawn(draw, type_, count=count)
    items = list(value.items) if isinstance(value, SequenceValue) else []
    new = hard(draw, element_of(tensor), (4, 6))
    items.insert(len(items) if where is None else where, new)
    inputs: list[Value] = [value, new] + ([] if where is None else [position(where, kind)])
    expected = SequenceValue(type_, tuple(items))
    settings = {"oracle": "none", "reason": _AT_END} if where == count else {"oracle": "native"}
    return ask.draft(slug, inputs, [expected], outputs=(type_,), **settings)


_AT_END = (
    "onnx 1.23.2's evaluator puts a tensor inserted at position n of n in front; the standard "
    "accepts [-n, n], and n is behind the last"
)


@generates("ConcatFromSequence")
def concat_from_sequence(ask: Ask) -> Iterator[Draft]:
    """Along an axis that is there, from both ends, and along a new one."""
    if ask.constraint != "S":
        return
    element, output = element_of(ask.type), (inner(ask.type),)
    for axis in (0, 1, -1):
        slug = f"axis{axis}"
        draw = ask.draw(slug)
        shapes = [(4, k) if axis else (k, 4) for k in (3, 1, 2)]
        items = tuple(hard(draw, element, shape) for shape in shapes)
        expected = np.concatenate([widen(t) for t in items], axis=axis)
        value = SequenceValue(ask.type, items)
        yield ask.draft(
            slug, [value], [expected], outputs=output, attributes={"axis": axis}, oracle="native"
        )
    for axis in (0, 2, -1, -2):
        slug = f"new-axis{axis}"
        draw = ask.draw(slug)
        items = tuple(draw.tensor(element, (2, 3)) for _ in range(3))
        expected = np.stack([widen(t) for t in items], axis=axis)
        attributes = {"axis": axis, "new_axis": 1}
        value = SequenceValue(ask.type, items)
        yield ask.draft(
            slug, [value], [expected], outputs=output, attributes=attributes, oracle="native"
        )


@generates("SplitToSequence")
def split_to_sequence(ask: Ask) -> Iterator[Draft]:
    """One by one with and without the axis kept, in chunks with a shorter last, in stated parts."""
    if ask.constraint == "T":
        for slug, split, axis, keep in (
            ("one-by-one", None, 0, 1),
            ("without-axis", None, 1, 0),
            ("chunks", 2, -1, 1),
            ("parts", [1, 0, 4], 1, 1),
        ):
            yield _split(ask, ask.type, slug, split, axis, keep, ElementType.INT64)
    elif ask.constraint == "I":
        yield _split(ask, "tensor(float)", "chunks", 2, 1, 1, ask.element)
        yield _split(ask, "tensor(float)", "parts", [3, 2], -1, 1, ask.element)


def _split(
    ask: Ask, type_: str, slug: str, split: Any, axis: int, keep: int, kind: ElementType
) -> Draft:
    x = hard(ask.draw(slug), element_of(type_), (5, 5))
    wide = widen(x)
    extent = wide.shape[axis]
    if isinstance(split, list):
        ends = np.cumsum(split)[:-1]
    else:
        step = split or 1
        ends = np.arange(step, extent, step)
    parts = np.split(wide, ends, axis=axis)
    if split is None and not keep:
        parts = [part.squeeze(axis) for part in parts]
    inputs = [x] if split is None else [x, narrow(np.array(split), kind)]
    return ask.draft(
        slug,
        inputs,
        [parts],
        outputs=(f"seq({type_})",),
        attributes={"axis": axis, "keepdims": keep},
        oracle="native",
    )


@generates("Identity")
def identity(ask: Ask) -> Iterator[Draft]:
    """Every kind of value; sequences and optionals of nothing as well."""
    value = drawn(ask.draw("value"), ask.type)
    yield ask.draft("value", [value], [value], oracle="native")
    if ask.type.startswith("tensor("):
        for slug, shape in (("scalar", ()), ("empty", (2, 0))):
            value = ask.draw(slug).tensor(ask.element, shape)
            yield ask.draft(slug, [value], [value], oracle="native")
    else:
        value = (
            SequenceValue(ask.type, ())
            if ask.type.startswith("seq(")
            else OptionalValue(ask.type, None)
        )
        yield ask.draft("empty", [value], [value], oracle="native")


@generates("Optional")
def optional(ask: Ask) -> Iterator[Draft]:
    """Around a value, and empty of a stated type."""
    if ask.constraint != "V":
        return
    type_ = f"optional({ask.type})"
    value = drawn(ask.draw("value"), ask.type)
    yield ask.draft(
        "value",
        [value],
        [OptionalValue(type_, value)],
        outputs=(type_,),
        oracle="none",
        reason="onnx 1.23.2's evaluator gives a list of one for an optional",
    )
    yield ask.draft(
        "none",
        [],
        [OptionalValue(type_, None)],
        outputs=(type_,),
        attributes={"type": type_proto(ask.type)},
        oracle="none",
        reason="onnx 1.23.2's evaluator gives a list of None for an empty optional",
    )


@generates("OptionalGetElement")
def get_element(ask: Ask) -> Iterator[Draft]:
    """What an optional holds; a tensor or sequence is handed on."""
    if ask.constraint != "O":
        return
    value = drawn(ask.draw("value"), ask.type)
    held = value.value if isinstance(value, OptionalValue) else value
    type_ = inner(ask.type) if ask.type.startswith("optional(") else ask.type
    yield ask.draft("value", [value], [held], outputs=(type_,), oracle="native")


@generates("OptionalHasElement")
def has_element(ask: Ask) -> Iterator[Draft]:
    """Of a value, of an empty optional, and without an input."""
    if ask.constraint != "O":
        return
    bool_ = ("tensor(bool)",)
    value = drawn(ask.draw("value"), ask.type)
    yield ask.draft("value", [value], [np.array(True)], outputs=bool_, oracle="native")
    if ask.type.startswith("optional("):
        none = OptionalValue(ask.type, None)
        yield ask.draft("none", [none], [np.array(False)], outputs=bool_, oracle="native")
    elif ask.full:
        yield ask.draft("no-input", [], [np.array(False)], outputs=bool_, oracle="native")


@generates("SequenceMap")
def sequence_map(ask: Ask) -> Iterator[Draft]:
    """A body that hands on its element; with a second sequence and with a tensor beside it."""
    if ask.constraint == "S":
        value = drawn(ask.draw("copy"), ask.type)
        body = _body([inner(ask.type)], 0)
        yield ask.draft("copy", [value], [value], attributes={"body": body}, oracle="native")
    elif ask.constraint == "V":
        sequence = ask.type if ask.type.startswith("seq(") else f"seq({ask.type})"
        draw = ask.draw("second")
        first = drawn(draw, "seq(tensor(float))")
        second = drawn(draw, ask.type)
        expected = second
        if isinstance(second, Tensor):  # handed whole to every step
            count = len(first.items) if isinstance(first, SequenceValue) else 0
            expected = SequenceValue(sequence, (second,) * count)
        body = _body(["tensor(float)", inner(sequence)], 1)
        yield ask.draft(
            "second",
            [first, second],
            [expected],
            outputs=(sequence,),
            attributes={"body": body},
            oracle="native",
        )


def _body(types: list[str], chosen: int) -> Any:
    """A graph that hands on one of its inputs."""
    inputs = [helper.make_value_info(f"e{i}", type_proto(t)) for i, t in enumerate(types)]
    output = helper.make_value_info("out", type_proto(types[chosen]))
    copy = helper.make_node("Identity", [f"e{chosen}"], ["out"], name="copy")
    return helper.make_graph([copy], "body", inputs, [output])
