"""Reductions along axes, running ones, and the position of the extremes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, bounds, is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance, accumulated, composed

Formula = Callable[..., Array]
_SHAPE = (3, 4, 5)


@dataclasses.dataclass(frozen=True)
class Reduction:
    """A reduction: its formula over (x, axis, keepdims), the range of its numbers, what its sum's
    terms are in absolute value (None: it does not sum), and the result over an empty set, if the
    standard states one."""

    formula: Formula
    low: float = -8.0
    high: float = 8.0
    terms: Callable[[Array], Array] | None = np.abs
    empty: float | None = None


def _mean(x: Array, **where: Any) -> Array:
    mean = np.mean(x, **where)
    return np.asarray(np.trunc(mean).astype(np.int64) if x.dtype.kind in "iu" else mean)


def _l2(x: Array, **where: Any) -> Array:
    return np.asarray(np.sqrt(np.sum(np.square(x.astype(np.float64)), **where)))


def _log_sum_exp(x: Array, **where: Any) -> Array:
    return np.asarray(np.log(np.sum(np.exp(x), **where)))


REDUCTIONS: Mapping[str, Reduction] = {
    "ReduceSum": Reduction(np.sum, empty=0.0),
    "ReduceMean": Reduction(_mean),
    "ReduceSumSquare": Reduction(lambda x, **w: np.sum(x * x, **w), terms=np.square, empty=0.0),
    "ReduceL1": Reduction(lambda x, **w: np.sum(np.abs(x), **w), empty=0.0),
    "ReduceL2": Reduction(_l2, terms=None, empty=0.0),
    "ReduceLogSum": Reduction(lambda x, **w: np.log(np.sum(x, **w)), 0.5, 4, None, -np.inf),
    "ReduceLogSumExp": Reduction(_log_sum_exp, -4, 4, None, -np.inf),
    "ReduceProd": Reduction(np.prod, 0.5, 1.75, None, 1.0),
    "ReduceMax": Reduction(np.max, terms=None),
    "ReduceMin": Reduction(np.min, terms=None),
}


@generates(*REDUCTIONS)
def reduction(ask: Ask) -> Iterator[Draft]:
    """Axes from both ends, several, all, none with and without the no-op, kept and dropped."""
    row = REDUCTIONS[ask.name]
    for slug, axes, keep, noop in (
        ("axis0", [0], 1, 0),
        ("last-dropped", [-1], 0, 0),
        ("two", [0, 2], 0, 0),
        ("unsorted", [-1, 0], 1, 0),
        ("all-dropped", None, 0, 0),
        ("all-kept", None, 1, 0),
        ("empty-axes", [], 1, 0),
        ("noop", [], 1, 1),
        ("noop-default", None, 1, 1),
    ):
        if not ask.full and slug not in ("last-dropped", "unsorted", "all-kept", "noop"):
            continue
        x = drawn(ask, slug, _SHAPE, row)
        settings: dict[str, Any] = {
            "attributes": {"keepdims": keep} | ({"noop_with_empty_axes": 1} if noop else {}),
            "tolerance": sum_tolerance(ask, row, x, axes),
        }
        expected = reduced(ask, row, x, axes, keep=bool(keep), noop=bool(noop))
        inputs = [x] if axes is None else [x, int64s(axes)]
        yield ask.draft(slug, inputs, [expected], constants=frozenset({1}), **settings)
        if axes and ask.full:
            yield ask.draft(
                f"{slug}-computed", inputs, [expected], dynamic_outputs=True, **settings
            )
    if ask.full:
        x = drawn(ask, "scalar", (), row)
        expected = reduced(ask, row, x, None, keep=False, noop=False)
        yield ask.draft(
            "scalar",
            [x],
            [expected],
            attributes={"keepdims": 0},
            tolerance=sum_tolerance(ask, row, x, None),
        )
        yield _symbolic(ask, row)
    yield from _empty(ask, row)
    if is_float(ask.element) and ask.name not in ("ReduceMax", "ReduceMin", "ReduceLogSum"):
        x = narrow(np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]]), ask.element)
        expected = reduced(ask, row, x, [1], keep=True, noop=False)
        tolerance = sum_tolerance(ask, row, narrow(np.array([6.0]), ask.element), None)
        yield ask.draft("nan", [x, int64s([1])], [expected], tolerance=tolerance)


@generates("ReduceSum", "ReduceMean")
def long_sum(ask: Ask) -> Iterator[Draft]:
    """So many terms that an accumulator in half precision stops growing."""
    if not is_float(ask.element):
        return
    row = REDUCTIONS[ask.name]
    x = ask.draw("long").tensor(ask.element, (2, 4099), 0, 1)
    expected = reduced(ask, row, x, [1], keep=False, noop=False)
    tolerance = sum_tolerance(ask, row, x, [1])
    attributes = {"keepdims": 0}
    inputs = [x, int64s([1])]
    yield ask.draft("long", inputs, [expected], attributes=attributes, tolerance=tolerance)


def drawn(ask: Ask, slug: str, shape: tuple[int, ...], row: Reduction) -> Tensor:
    low, high = row.low, row.high
    if is_integer(ask.element):
        low, high = (1, 2) if ask.name == "ReduceProd" else (-9, 9)
    elif ask.name == "ReduceProd" and shape == _SHAPE:
        low, high = 0.75, 1.25
    x = ask.draw(slug).tensor(ask.element, shape, low, high)
    if ask.name == "ReduceProd" and is_integer(ask.element):
        wide = widen(x)
        keep = np.arange(wide.size).reshape(wide.shape) % 3 == 0
        x = narrow(np.where(keep, wide, 1), ask.element)
    return x


def reduced(
    ask: Ask, row: Reduction, x: Tensor, axes: list[int] | None, *, keep: bool, noop: bool
) -> Array:
    wide = widen(x)
    if noop and not axes:
        if ask.name == "ReduceLogSumExp":
            return wide
        along: Any = ()
    else:
        along = tuple(axes) if axes else None
    with np.errstate(all="ignore"):
        result = np.asarray(row.formula(wide, axis=along, keepdims=keep))
    if wide.dtype.kind in "iu" and result.dtype.kind == "f":
        # A root of a whole number is cut off, as a conversion to an integer does.
        result = np.trunc(result).astype(np.int64)
    return result


def sum_tolerance(ask: Ask, row: Reduction, x: Tensor, axes: list[int] | None) -> Tolerance:
    wide = widen(x)
    if not is_float(ask.element) or ask.name in ("ReduceMax", "ReduceMin"):
        return EXACT
    along = tuple(axes) if axes else None
    if row.terms is None:
        return composed(ask.element, magnitude=0.0 if ask.name == "ReduceProd" else 8.0)
    sums = np.sum(row.terms(wide), axis=along)
    count = int(wide.size / max(1, np.size(sums)))
    magnitude = float(np.max(sums, initial=0.0))
    if ask.name == "ReduceMean":
        magnitude /= max(count, 1)
    return accumulated(ask.element, terms=count, magnitude=magnitude, steps=2.0)


def _symbolic(ask: Ask, row: Reduction) -> Draft:
    runs = []
    tolerance = EXACT
    for shape in ((2, 3), (5, 1), (1, 7)):
        x = drawn(ask, f"symbolic{shape}", shape, row)
        expected = reduced(ask, row, x, [-1], keep=True, noop=False)
        runs.append(Run((x, int64s([-1])), (expected,)))
        mine = sum_tolerance(ask, row, x, [-1])
        tolerance = mine if mine.atol > tolerance.atol else tolerance
    return Draft(
        slug="symbolic",
        runs=tuple(runs),
        outputs=(ask.type,),
        constants=frozenset({1}),
        tolerance=tolerance,
    )


def _empty(ask: Ask, row: Reduction) -> Iterator[Draft]:
    """Over an empty set, where the standard states the result, and of an empty tensor."""
    element = ask.element
    x = narrow(np.zeros((2, 0, 3)), element)
    value = row.empty
    if ask.name in ("ReduceMax", "ReduceMin"):
        lowest = ask.name == "ReduceMax"
        if element is ElementType.BOOL:
            value = float(not lowest)
        elif is_integer(element):
            low, high = bounds(element)
            limit = np.full((2, 1, 3), low if lowest else high, dtype=object)
            yield ask.draft("empty-set", [x, int64s([1])], [limit])
            return
        else:
            value = -np.inf if lowest else np.inf
    if value is None or (is_integer(element) and not np.isfinite(value)):
        return
    yield ask.draft("empty-set", [x, int64s([1])], [np.full((2, 1, 3), value)])


@generates("ReduceMax", "ReduceMin")
def extremes(ask: Ask) -> Iterator[Draft]:
    """The ends of the type's range among the values."""
    if ask.element is ElementType.BOOL:
        return
    if is_integer(ask.element):
        low, high = bounds(ask.element)
        values = np.array([[low, 1, high], [high, high - 1, low], [low, low, low + 1]], object)
    else:
        values = np.array([[-np.inf, 1, 2], [3, np.inf, 1], [-np.inf, -np.inf, -np.inf]])
    x = narrow(values, ask.element)
    formula = np.max if ask.name == "ReduceMax" else np.min
    expected = formula(widen(x), axis=1, keepdims=True)
    yield ask.draft("extremes", [x, int64s([1])], [expected])


@generates("ArgMax", "ArgMin")
def arg_extreme(ask: Ask) -> Iterator[Draft]:
    """Ties by the first and by the last, each axis from both ends, kept and dropped, extremes."""
    outputs = ("tensor(int64)",)
    for slug, axis, keep, last in (
        ("default", None, None, 0),
        ("last-index", 1, 1, 1),
        ("dropped", -1, 0, 0),
        ("dropped-last-index", 0, 0, 1),
    ):
        x = ask.draw(slug).tensor(ask.element, (4, 5, 3), -1, 2)
        yield arg_draft(ask, slug, x, axis, keep, last, outputs)
    if is_integer(ask.element):
        low, high = bounds(ask.element)
        values = np.array([[low, high, 0, high], [high, low, low, 1]], object)
    else:
        values = np.array([[-np.inf, np.inf, 0, np.inf], [1, -np.inf, -np.inf, -1]])
    x = narrow(values, ask.element)
    yield arg_draft(ask, "extremes", x, 1, 1, 0, outputs)


def arg_draft(
    ask: Ask,
    slug: str,
    x: Tensor,
    axis: int | None,
    keep: int | None,
    last: int,
    outputs: tuple[str, ...],
) -> Draft:
    wide, along = widen(x), axis or 0
    find = np.argmax if ask.name == "ArgMax" else np.argmin
    if last:
        index = wide.shape[along] - 1 - find(np.flip(wide, along), axis=along)
    else:
        index = find(wide, axis=along)
    if keep is None or keep:
        index = np.expand_dims(index, along)
    attributes = {} if axis is None else {"axis": axis}
    if keep is not None:
        attributes["keepdims"] = keep
    if last:
        attributes["select_last_index"] = 1
    return ask.draft(slug, [x], [index], outputs=outputs, attributes=attributes)


@generates("CumSum", "CumProd")
def running(ask: Ask) -> Iterator[Draft]:
    """Inclusive and exclusive, forward and reverse, axes from both ends, both axis types."""
    element = ask.element if ask.constraint == "T" else ElementType.FLOAT
    kind = ElementType.INT32 if ask.type == "tensor(int32)" and not ask.first else ElementType.INT64
    if not ask.first and kind is ElementType.INT64:
        return
    for axis in (0, 1, -1) if ask.full else (-1,):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                slug = f"axis{axis}-exclusive{exclusive}-reverse{reverse}"
                x = ask.draw(slug).tensor(element, (4, 5), 1, 3)
                expected = _cumulated(ask, widen(x), axis, exclusive, reverse)
                attributes = {}
                if exclusive:
                    attributes["exclusive"] = 1
                if reverse:
                    attributes["reverse"] = 1
                yield ask.draft(
                    slug,
                    [x, narrow(axis, kind)],
                    [expected],
                    outputs=(f"tensor({element.onnx_name})",),
                    attributes=attributes,
                    constants=frozenset({1}),
                    tolerance=_running_tolerance(element, ask.name),
                )


def _running_tolerance(element: ElementType, name: str) -> Tolerance:
    """Each partial result is an output of the type, and the next may be made from it."""
    if not is_float(element):
        return EXACT
    if name == "CumProd":
        return composed(element)
    return accumulated(element, terms=5, magnitude=15.0, steps=2.0, rounded=4.0)


def _cumulated(ask: Ask, x: Array, axis: int, exclusive: int, reverse: int) -> Array:
    x = np.flip(x, axis) if reverse else x
    combine, neutral = (np.cumsum, 0) if ask.name == "CumSum" else (np.cumprod, 1)
    result = combine(x, axis=axis)
    if exclusive:
        first = np.full_like(np.take(result, [0], axis=axis), neutral)
        result = np.concatenate([first, np.delete(result, -1, axis=axis)], axis=axis)
    return np.flip(result, axis) if reverse else result
