"""Operators that pick and place by index or mask, and those that search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_complex, is_float, narrow, widen

__all__ = ["drawn_indices", "index_types"]


def index_types(ask: Ask) -> tuple[ElementType, ElementType] | None:
    """The types of data and of indices; None where a constraint needs no cases of its own."""
    if ask.first:
        return ask.element, ElementType.INT64
    if ask.constraint == "Tind" and ask.type == "tensor(int32)":
        return ElementType.FLOAT, ElementType.INT32
    return None


def drawn_indices(ask: Ask, slug: str, shape: tuple[int, ...], extent: int) -> Array:
    """Indices from both ends."""
    return ask.draw(f"{slug}-indices").integers(shape, -extent, extent - 1)


@generates("Gather")
def gather(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends, indices of rank 0 to 3, repeated, negative, none."""
    types = index_types(ask)
    if types is None:
        return
    element, kind = types
    shape = (4, 3, 5)
    for slug, axis, ranks in (
        ("rows", 0, (2, 3)),
        ("last", -1, (4,)),
        ("middle", 1, (2, 1, 2)),
        ("scalar", 0, ()),
        ("none", 1, (0,)),
    ):
        if not ask.full and slug not in ("rows", "last"):
            continue
        x = ask.draw(slug).tensor(element, shape)
        indices = drawn_indices(ask, slug, ranks, shape[axis])
        expected = np.take(widen(x), indices, axis=axis)
        yield ask.draft(
            slug,
            [x, narrow(indices, kind)],
            [expected],
            outputs=(f"tensor({element.onnx_name})",),
            attributes={"axis": axis},
        )


@generates("GatherElements")
def gather_elements(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends, fewer and more indices than data, negative ones."""
    types = index_types(ask)
    if types is None:
        return
    element, kind = types
    shape = (3, 4, 2)
    for slug, axis, extents in (
        ("axis0", 0, (5, 4, 2)),
        ("axis1", 1, (3, 2, 2)),
        ("negative", -1, (3, 4, 3)),
        ("fewer", 0, (2, 3, 1)),
    ):
        if not ask.full and slug not in ("axis0", "negative"):
            continue
        x = ask.draw(slug).tensor(element, shape)
        indices = drawn_indices(ask, slug, extents, shape[axis])
        index: list[Any] = list(np.indices(extents))
        index[axis] = indices
        expected = widen(x)[tuple(index)]
        yield ask.draft(
            slug,
            [x, narrow(indices, kind)],
            [expected],
            outputs=(f"tensor({element.onnx_name})",),
            attributes={"axis": axis},
        )


@generates("GatherND")
def gather_nd(ask: Ask) -> Iterator[Draft]:
    """Whole slices and single elements, batch dimensions, negative indices."""
    shape = (3, 4, 2)
    for slug, extents, batch in (
        ("elements", (2, 3), 0),
        ("slices", (2, 2, 1), 0),
        ("pairs", (5, 2), 0),
        ("batch", (3, 2, 1), 1),
        ("batch2", (3, 4, 1), 2),
    ):
        if not ask.full and slug not in ("pairs", "batch"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        columns = [
            drawn_indices(ask, f"{slug}{i}", extents[:-1], shape[batch + i])
            for i in range(extents[-1])
        ]
        indices = np.stack(columns, axis=-1)
        grid = np.indices(extents[:-1])
        index = tuple(grid[i] for i in range(batch)) + tuple(np.moveaxis(indices, -1, 0))
        expected = widen(x)[index]
        yield ask.draft(
            slug,
            [x, int64s(indices.tolist())],
            [expected],
            attributes={"batch_dims": batch} if batch else {},
        )


@generates("Compress")
def compress(ask: Ask) -> Iterator[Draft]:
    """Along each axis from both ends and flattened; a condition shorter than the axis; none."""
    if not ask.first:
        return
    for slug, condition, axis in (
        ("rows", [True, False, True], 0),
        ("columns", [False, True, True, False], -1),
        ("flat", [True, False, False, True, True], None),
        ("shorter", [False, True], 1),
        ("nothing", [False, False, False], 0),
    ):
        x = ask.draw(slug).tensor(ask.element, (3, 4))
        yield ask.draft(
            slug,
            [x, narrow(np.array(condition), ElementType.BOOL)],
            [np.compress(condition, widen(x), axis=axis)],
            attributes={} if axis is None else {"axis": axis},
            dynamic_outputs=True,
        )


@generates("NonZero")
def non_zero(ask: Ask) -> Iterator[Draft]:
    """Row by row, in a matrix, in three dimensions, and where nothing is."""
    output = ("tensor(int64)",)
    for slug, shape in (("matrix", (3, 4)), ("rank3", (2, 3, 2)), ("nothing", (2, 2))):
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, shape, 1, 3)
        wide = widen(x).copy()
        zero: Any = "" if ask.element is ElementType.STRING else 0
        keep = (
            draw.integers(shape, 0, 1).astype(bool) if slug != "nothing" else np.zeros(shape, bool)
        )
        wide[~keep] = zero
        truth = wide != zero
        settings: dict[str, Any] = {"outputs": output, "dynamic_outputs": True}
        x = narrow(wide, ask.element)
        yield ask.draft(slug, [x], [np.array(np.nonzero(truth), np.int64)], **settings)


@generates("OneHot")
def one_hot(ask: Ask) -> Iterator[Draft]:
    """Indices negative and outside, every axis from both ends, each type of index and depth."""
    kinds = {"T1": ElementType.INT64, "T2": ElementType.INT64, "T3": ElementType.FLOAT}
    kinds[ask.constraint] = ask.element
    rows: tuple[tuple[str, int], ...] = (("last", -1), ("first", 0))
    if ask.full and ask.constraint == "T3":
        rows += (("middle", 1), ("negative", -2))
    for slug, axis in rows:
        draw = ask.draw(slug)
        low = 0 if kinds["T1"].name.startswith("UINT") else -4
        indices = draw.integers((2, 3), low, 5)
        values = narrow(widen(draw.distinct(kinds["T3"], 2)), kinds["T3"])
        off, on = widen(values)
        depth = 4
        inside = (indices >= -depth) & (indices < depth)
        hot = (np.arange(depth) == (indices % depth)[..., None]) & inside[..., None]
        hot = np.moveaxis(hot, -1, axis)
        yield ask.draft(
            slug,
            [narrow(indices, kinds["T1"]), narrow(depth, kinds["T2"]), values],
            [np.where(hot, on, off)],
            outputs=(f"tensor({kinds['T3'].onnx_name})",),
            attributes={"axis": axis},
            constants=frozenset({1}),
            oracle="native",
        )
    if ask.constraint == "T3":
        yield _hot_values(ask)


def _hot_values(ask: Ask) -> Draft:
    """Every hard value as on and as off, in one model."""
    values = edges(ask.element, nan=is_float(ask.element) and ask.element.bits > 4)
    hot = np.eye(3, dtype=bool)
    runs = []
    for pair in zip(values, np.roll(values, 1), strict=True):
        inputs = (int64s([0, 1, 2]), narrow(3, ElementType.INT64), narrow(pair, ask.element))
        runs.append(Run(inputs, (np.where(hot, *np.array(pair, values.dtype)[::-1]),)))
    return Draft(
        slug="hard",
        runs=tuple(runs),
        outputs=(ask.type,),
        constants=frozenset({1}),
        oracle="none" if is_float(ask.element) or is_complex(ask.element) else "native",
        reason="the evaluator multiplies and adds where the standard chooses",
    )


@generates("ReverseSequence")
def reverse_sequence(ask: Ask) -> Iterator[Draft]:
    """Both arrangements of batch and time, lengths from one to all, a further dimension."""
    for slug, batch, time in (("time-first", 1, 0), ("batch-first", 0, 1)):
        x = ask.draw(slug).tensor(ask.element, (4, 4, 2))
        lengths = [1, 4, 2, 3]
        wide = np.moveaxis(widen(x), (batch, time), (0, 1))
        expected = wide.copy()
        for row, length in enumerate(lengths):
            expected[row, :length] = wide[row, :length][::-1]
        expected = np.moveaxis(expected, (0, 1), (batch, time))
        attributes = {"batch_axis": batch, "time_axis": time}
        yield ask.draft(slug, [x, int64s(lengths)], [expected], attributes=attributes)


@generates("TopK")
def top_k(ask: Ask) -> Iterator[Draft]:
    """Largest and smallest along each axis, equal values (the lower index first), k of one and of
    all, a constant k and a computed one; not sorted."""
    if ask.constraint != "T":
        return
    outputs = (ask.type, "tensor(int64)")
    for slug, axis, k, largest in (
        ("default", None, 3, 1),
        ("smallest", 1, 2, 0),
        ("axis0", 0, 2, 1),
        ("all", -1, 6, 1),
        ("one", -2, 1, 0),
    ):
        x = ask.draw(slug).tensor(ask.element, (4, 6), -3, 3)
        wide = widen(x)
        along = -1 if axis is None else axis
        order = np.argsort(_descending(wide) if largest else wide, axis=along, kind="stable")
        index = np.take(order, range(k), axis=along)
        values = np.take_along_axis(wide, index, axis=along)
        attributes = {} if axis is None else {"axis": axis}
        if not largest:
            attributes["largest"] = 0
        inputs = [x, int64s([k])]
        settings: dict[str, Any] = {"outputs": outputs, "attributes": attributes}
        yield ask.draft(slug, inputs, [values, index], constants=frozenset({1}), **settings)
        if ask.full:
            yield ask.draft(
                f"{slug}-computed", inputs, [values, index], dynamic_outputs=True, **settings
            )
    if ask.full:  # of one there is no order that `sorted` 0 could leave open
        x = ask.draw("unsorted").tensor(ask.element, (4, 6), -3, 3)
        index = widen(x).argmax(axis=0)[None]
        values = np.take_along_axis(widen(x), index, axis=0)
        attributes = {"axis": 0, "sorted": 0}
        yield ask.draft(
            "unsorted",
            [x, int64s([1])],
            [values, index],
            constants=frozenset({1}),
            outputs=outputs,
            attributes=attributes,
        )


def _descending(x: Array) -> Array:
    """Numbers in the reverse order, also where a type has no negative ones."""
    return x.max() - x if x.dtype.kind == "u" else -x


@generates("Unique")
def unique(ask: Ask) -> Iterator[Draft]:
    """Sorted and in order of first occurrence, flattened and along axes, with every output."""
    outputs = (ask.type, *("tensor(int64)",) * 3)
    for slug, axis, ordered in (("sorted", None, 1), ("first-seen", None, 0), ("rows", 0, 1)):
        if slug == "rows" and ask.element is ElementType.STRING:
            continue
        x = ask.draw(slug).tensor(ask.element, (5, 2), 0, 2)
        wide = widen(x)
        if axis is not None:
            wide[3] = wide[0]
        text = wide.astype(str) if ask.element is ElementType.STRING else wide
        values, first, inverse, counts = np.unique(
            text, return_index=True, return_inverse=True, return_counts=True, axis=axis
        )
        inverse = inverse.reshape(-1)
        if not ordered:
            order = np.argsort(first)
            place = np.argsort(order)
            values, first, counts = values[order], first[order], counts[order]
            inverse = place[inverse]
        attributes = {"sorted": ordered} | ({} if axis is None else {"axis": axis})
        yield ask.draft(
            slug,
            [narrow(wide, ask.element)],
            [values, first, inverse, counts],
            outputs=outputs,
            attributes=attributes,
            dynamic_outputs=True,
        )


@generates("Range")
def range_(ask: Ask) -> Iterator[Draft]:
    """Up, down, with a remainder, and none; the same model at several sizes."""
    element = ask.element
    runs = []
    for row in ((1, 9, 2), (10, 3, -3), (2, 3, 5), (3, 3, 1), (5, 1, 2)):
        start, limit, delta = (np.array(row) / 4 if is_float(element) else np.array(row)).tolist()
        values = np.arange(start, limit, delta)
        inputs = tuple(narrow(np.array(v), element) for v in (start, limit, delta))
        runs.append(Run(inputs, (values,)))
    yield Draft(slug="several", runs=tuple(runs), outputs=(ask.type,), dynamic_outputs=True)
