"""Tensors from shapes and attributes, shapes from tensors, and triangles of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges, has_infinity
from hal_conformance.contract.families.bits import has_nan
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import is_float, narrow, widen


@generates("Shape", "Size")
def extents(ask: Ask) -> Iterator[Draft]:
    """Of rank 0 to 4, of empty tensors; parts of the shape from both ends."""
    if ask.constraint != "T":
        return
    output = ("tensor(int64)",)
    shapes = ((2, 3, 4), (), (0, 5)) if ask.full else ((2, 3, 4),)
    for shape in shapes:
        slug = "x".join(map(str, shape)) or "scalar"
        x = ask.draw(slug).tensor(ask.element, shape)
        expected = np.array(shape if ask.name == "Shape" else int(np.prod(shape)), np.int64)
        yield ask.draft(slug, [x], [expected], outputs=output)
    if ask.name == "Shape" and ask.full:
        x = ask.draw("parts").tensor(ask.element, (2, 3, 4, 5))
        for start, end in ((1, None), (-2, None), (0, 2), (1, -1), (2, 1), (-9, 9)):
            attributes = {"start": start} if end is None else {"start": start, "end": end}
            expected = np.array((2, 3, 4, 5)[start:end], np.int64)
            slug = f"from{start}" + ("" if end is None else f"-to{end}")
            yield ask.draft(slug, [x], [expected], outputs=output, attributes=attributes)
    if ask.full:
        runs = []
        for shape in ((2, 3), (7, 1), (0, 4)):
            x = ask.draw(f"symbolic{shape}").tensor(ask.element, shape)
            value = np.array(shape if ask.name == "Shape" else int(np.prod(shape)), np.int64)
            runs.append(Run((x,), (value,)))
        yield Draft(slug="symbolic", runs=tuple(runs), outputs=output)


@generates("Constant")
def constant(ask: Ask) -> Iterator[Draft]:
    """A tensor of the type, a scalar and an empty one; and each of the short attributes."""
    element = ask.element
    values = ask.draw("tensor").tensor(element, (2, 3))
    for slug, value in (
        ("tensor", values),
        ("edges", narrow(edges(element, nan=has_nan(element)), element)),
        ("scalar", ask.draw("scalar").tensor(element, ())),
        ("empty", ask.draw("empty").tensor(element, (0, 2))),
    ):
        yield ask.draft(slug, [], [value], attributes={"value": value}, oracle="native")
    short: dict[ElementType, dict[str, Any]] = {
        ElementType.FLOAT: {"value_float": -1.5, "value_floats": [0.5, -2.0]},
        ElementType.INT64: {"value_int": -7, "value_ints": [1, 2**40, -3]},
        ElementType.STRING: {"value_string": "naïve", "value_strings": ["a", "", "日本"]},
    }
    for name, plain in short.get(element, {}).items():
        expected = np.array(plain, dtype=object if element is ElementType.STRING else None)
        slug = name.replace("_", "-")
        yield ask.draft(slug, [], [expected], attributes={name: plain}, oracle="native")


@generates("ConstantOfShape")
def constant_of_shape(ask: Ask) -> Iterator[Draft]:
    """A value of the type in a matrix, in nothing and in a scalar; float zeros by default."""
    if ask.constraint == "T1":
        for slug, shape in (("default", [2, 3]), ("default-scalar", [])):
            inputs = [int64s(shape)]
            expected = [np.zeros(shape)]
            output = ("tensor(float)",)
            yield ask.draft(slug, inputs, expected, outputs=output, constants=frozenset({0}))
        return
    value = ask.draw("value").tensor(ask.element, (1,), 1, 4)
    item = widen(value)[0]
    for slug, shape in (("matrix", [2, 3]), ("empty", [2, 0]), ("scalar", [])):
        yield ask.draft(
            slug,
            [int64s(shape)],
            [np.full(shape, item, dtype=widen(value).dtype)],
            attributes={"value": value},
            constants=frozenset({0}),
            oracle="native",
        )
    if is_float(ask.element) and has_infinity(ask.element):
        for slug, number in (("nan", np.nan), ("infinite", -np.inf)):
            yield ask.draft(
                slug,
                [int64s([2, 3])],
                [np.full((2, 3), number)],
                attributes={"value": narrow(np.array([number]), ask.element)},
                constants=frozenset({0}),
                oracle="native",
            )


@generates("EyeLike")
def eye_like(ask: Ask) -> Iterator[Draft]:
    """The input's type and a stated one, the diagonal and those above and below it."""
    if ask.constraint == "T1":
        x = ask.draw("like").tensor(ask.element, (3, 4))
        yield ask.draft("like", [x], [np.eye(3, 4)])
        yield ask.draft("above", [x], [np.eye(3, 4, 2)], attributes={"k": 2})
        if ask.full:
            yield ask.draft("outside", [x], [np.zeros((3, 4))], attributes={"k": 9})
            runs = []
            for shape in ((3, 5), (5, 7), (0, 4), (3, 5)):
                like = ask.draw(f"symbolic{shape}").tensor(ask.element, shape)
                runs.append(Run((like,), (np.eye(*shape),)))
            yield Draft(slug="symbolic", runs=tuple(runs), outputs=(ask.type,))
    else:
        x = ask.draw("typed").tensor(ElementType.FLOAT, (4, 3))
        attributes = {"dtype": int(ask.element), "k": -1}
        yield ask.draft("typed", [x], [np.eye(4, 3, -1)], attributes=attributes)


@generates("Trilu")
def trilu(ask: Ask) -> Iterator[Draft]:
    """Both triangles, diagonals inside and outside, a batch; zero is False and the empty string."""
    if ask.element is ElementType.STRING:
        return
    for upper in (1, 0):
        for k in (None, 1, -2) if not ask.full else (None, 0, 1, -2, 9, -9):
            slug = f"{'upper' if upper else 'lower'}{'' if k is None else k}"
            x = ask.draw(slug).tensor(ask.element, (2, 4, 5), 1, 4)
            wide = widen(x)
            expected = (np.triu if upper else np.tril)(wide, k or 0)
            inputs = [x] if k is None else [x, int64s(k)]
            attributes = {} if upper and k is None else {"upper": upper}
            yield ask.draft(slug, inputs, [expected], attributes=attributes)
