"""Shapes that no other family asks for: scalars, five dimensions, lengths that no vector divides;
and attributes left at their defaults where these matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, SequenceValue, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges
from hal_conformance.contract.families._window import Window
from hal_conformance.contract.families.convolution import Conv, spread
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import bounds, is_integer, is_signed, narrow, widen
from hal_conformance.contract.tolerance import accumulated

_F = ElementType.FLOAT


def _x(ask: Ask, slug: str, shape: tuple[int, ...], low: float = -4, high: float = 4) -> Tensor:
    return ask.draw(slug).tensor(ask.element, shape, low, high)


@generates("ArgMax", "ArgMin")
def to_a_scalar(ask: Ask) -> Iterator[Draft]:
    """One place of one row."""
    if not ask.full:
        return
    x = narrow(np.array([1.0, 3.0, -2.0, 5.0, -7.0]), ask.element)
    find = np.argmax if ask.name == "ArgMax" else np.argmin
    yield ask.draft(
        "to-scalar",
        [x],
        [np.asarray(find(widen(x)))],
        outputs=("tensor(int64)",),
        attributes={"axis": 0, "keepdims": 0},
    )


@generates("Flatten")
def flatten(ask: Ask) -> Iterator[Draft]:
    """A scalar, and five dimensions."""
    if not ask.full:
        return
    scalar, deep = _x(ask, "of-scalar", ()), _x(ask, "of-rank5", (1, 3, 2, 1, 3))
    yield ask.draft("of-scalar", [scalar], [widen(scalar).reshape(1, 1)], attributes={"axis": 0})
    yield ask.draft("of-rank5", [deep], [widen(deep).reshape(3, 6)], attributes={"axis": 2})


@generates("Expand", "CenterCropPad")
def stays_a_scalar(ask: Ask) -> Iterator[Draft]:
    """A scalar, with no dimension asked for."""
    if ask.constraint == "T" and ask.full:
        x = _x(ask, "of-scalar", ())
        yield ask.draft("of-scalar", [x, int64s([])], [widen(x)])


@generates("Gather", "GatherND")
def one_element(ask: Ask) -> Iterator[Draft]:
    """One element, as a scalar."""
    if ask.first and ask.full:
        several = ask.name == "GatherND"
        x = _x(ask, "to-scalar", (3, 4) if several else (4,))
        at = int64s([-1, 2]) if several else int64s(-2)
        yield ask.draft("to-scalar", [x, at], [widen(x)[-1, 2] if several else widen(x)[-2]])


@generates("GatherElements")
def along_the_first(ask: Ask) -> Iterator[Draft]:
    """The default axis."""
    if ask.first and ask.full:
        x, at = _x(ask, "default", (3, 3)), np.array([[2, 0, 1], [0, -1, 2]])
        expected = np.take_along_axis(widen(x), at % 3, 0)
        yield ask.draft("default", [x, int64s(at.tolist())], [expected])


@generates("Compress")
def many_chosen(ask: Ask) -> Iterator[Draft]:
    """More elements than a vector has."""
    if ask.first and ask.full:
        x, condition = _x(ask, "many", (5, 9)), np.arange(45) % 2 == 0
        inputs = [x, narrow(condition, ElementType.BOOL)]
        yield ask.draft("many", inputs, [widen(x).ravel()[condition]], dynamic_outputs=True)


@generates("DepthToSpace")
def blocks_of_three(ask: Ask) -> Iterator[Draft]:
    """An odd block, in the default order."""
    if ask.full:
        x = _x(ask, "odd", (1, 18, 1, 3))
        moved = widen(x).reshape(1, 3, 3, 2, 1, 3).transpose(0, 3, 4, 1, 5, 2)
        yield ask.draft("odd", [x], [moved.reshape(1, 2, 3, 9)], attributes={"blocksize": 3})


@generates("Col2Im")
def other_images(ask: Ask) -> Iterator[Draft]:
    """The same columns as blocks of other images."""
    if not ask.full:
        return
    x = _x(ask, "parameters", (1, 4, 16))
    columns, runs = widen(x).reshape(4, 16), []
    for image, block in (((5, 5), (2, 2)), ((3, 9), (2, 2)), ((2, 11), (1, 4)), ((5, 5), (2, 2))):
        result = np.zeros((1, 1, *image))
        steps = [image[i] - block[i] + 1 for i in range(2)]
        for a, b, i, j in np.ndindex(*block, *steps):
            result[0, 0, i + a, j + b] += columns[a * block[1] + b, i * steps[1] + j]
        runs.append(Run((x, int64s(list(image)), int64s(list(block))), (result,)))
    yield Draft(
        slug="parameters",
        runs=tuple(runs),
        outputs=(ask.type,),
        tolerance=accumulated(ask.element, terms=4, magnitude=16.0),
        dynamic_outputs=True,
    )


@generates("BitCast")
def bits_of_a_scalar(ask: Ask) -> Iterator[Draft]:
    """A scalar's bits as an integer."""
    if ask.first and ask.full:
        x = _x(ask, "scalar", ())
        yield ask.draft(
            "scalar",
            [x],
            [Tensor(ElementType.INT32, (), x.data)],
            outputs=("tensor(int32)",),
            attributes={"to": int(ElementType.INT32)},
            oracle="native",
        )


@generates("CastLike")
def cast_shapes(ask: Ask) -> Iterator[Draft]:
    """A matrix, and a scalar, whose type changes."""
    if ask.first and ask.full:
        like = narrow(np.array([1, 2]), ElementType.INT32)
        for slug, shape in (("matrix", (3, 7)), ("of-scalar", ())):
            x = narrow(np.arange(np.prod(shape, dtype=int)).reshape(shape) * 1.5, ask.element)
            yield ask.draft(
                slug,
                [x, like],
                [np.trunc(widen(x)).astype(np.int64)],
                outputs=("tensor(int32)",),
                oracle="native",
            )


@generates("Einsum")
def deep_and_flat(ask: Ask) -> Iterator[Draft]:
    """A scalar operand, and five dimensions."""
    if ask.full:
        factor, row = _x(ask, "of-scalar", (), 1, 3), _x(ask, "of-scalar-row", (3,), 1, 3)
        tolerance = accumulated(ask.element, terms=1, magnitude=9.0)
        yield ask.draft(
            "of-scalar",
            [factor, row],
            [widen(factor) * widen(row)],
            attributes={"equation": ",i->i"},
            tolerance=tolerance,
        )
        deep = _x(ask, "of-rank5", (1, 2, 1, 3, 2))
        expected = widen(deep).transpose(4, 3, 2, 1, 0)
        yield ask.draft("of-rank5", [deep], [expected], attributes={"equation": "abcde->edcba"})


@generates("ConvTranspose")
def transposed_volume(ask: Ask) -> Iterator[Draft]:
    """Three spatial dimensions; padding that differs at every side."""
    if not ask.full:
        return
    for slug, extents, kernel, strides, pads in (
        ("of-volume", (2, 2, 3), (2, 2, 2), (1, 2, 1), (0, 0, 1, 0, 1, 0)),
        ("all-sides", (3, 4), (3, 3), (2, 1), (0, 1, 2, 1)),
    ):
        draw, rank = ask.draw(slug), len(kernel)
        x, w = (draw.tensor(ask.element, (1, 1, *e), -2, 2) for e in (extents, kernel))
        row = Conv(x.shape, w.shape, Window(kernel, strides, (1,) * rank, pads))
        yield ask.draft(
            slug,
            [x, w],
            [spread(widen(x), widen(w), row)],
            attributes={"strides": list(strides), "pads": list(pads)},
            tolerance=accumulated(ask.element, terms=9, magnitude=36.0),
        )


@generates("ConvInteger")
def integer_volume(ask: Ask) -> Iterator[Draft]:
    """Three spatial dimensions; strides that are absent beside a stated kernel."""
    if ask.constraint != "T1":
        return
    low, high = (float(v) for v in bounds(ask.element))
    for slug, extents, kernel in (("volume", (2, 3, 3), (1, 2, 2)), ("kernel", (4, 5), (2, 3))):
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (1, 1, *extents), low, high)
        w = draw.tensor(ask.element, (1, 1, *kernel), low, high)
        yield ask.draft(
            slug,
            [x, w],
            outputs=("tensor(int32)",),
            attributes={"kernel_shape": list(kernel)},
            oracle="native",
        )


@generates("MatMulInteger")
def integer_batches(ask: Ask) -> Iterator[Draft]:
    """Batches that broadcast both ways, five dimensions, and two vectors."""
    if not ask.first:
        return
    low, high = (float(v) for v in bounds(ask.element))
    for slug, left, right in (
        ("batches", (2, 1, 3, 5), (3, 5, 3)),
        ("rank5", (1, 2, 1, 3, 5), (5, 3)),
        ("vectors", (5,), (5,)),
    ):
        draw = ask.draw(slug)
        a, b = (draw.tensor(ask.element, shape, low, high) for shape in (left, right))
        expected = np.asarray(np.matmul(widen(a), widen(b)))
        yield ask.draft(slug, [a, b], [expected], outputs=("tensor(int32)",), oracle="native")


@generates("Mod")
def large_remainders(ask: Ask) -> Iterator[Draft]:
    """Integers that need every digit, signs by the default; real numbers whose remainder does."""
    if is_integer(ask.element):
        low, high = bounds(ask.element)
        left = [high, high - 1, high // 3 * 2 + 1, low + 1 if low < 0 else 5]
        right = [7, 10, min(high, 999), 3]
        dtype = np.int64 if is_signed(ask.element) else np.uint64
        a, b = np.array(left, dtype)[:, None], np.array(right, dtype)
        yield ask.draft("large", [narrow(a, ask.element), narrow(b, ask.element)], [np.mod(a, b)])
    elif ask.element in (_F, ElementType.DOUBLE):
        draw = ask.draw("fractions")
        x, y = (draw.tensor(ask.element, (3, 7), *ends) for ends in ((-50, 50), (0.5, 5)))
        yield ask.draft("fractions", [x, y], [np.fmod(widen(x), widen(y))], attributes={"fmod": 1})


@generates("Gemm")
def large_integers(ask: Ask) -> Iterator[Draft]:
    """Integers that need every digit, each as a sum of itself and zeros."""
    if not is_integer(ask.element):
        return
    high = bounds(ask.element)[1]
    dtype = np.int64 if is_signed(ask.element) else np.uint64
    a = np.array([[1, 0], [0, 1], [0, 0]], dtype)
    b = np.array([[high, high - 1, high // 3], [high - 2, 1, high // 5 * 3]], dtype)
    yield ask.draft(
        "large",
        [narrow(a, ask.element), narrow(b, ask.element)],
        [a @ b],
        oracle="none",
        reason="the evaluator multiplies by alpha, in double",
    )


@generates("DequantizeLinear")
def dequantised(ask: Ask) -> Iterator[Draft]:
    """Every digit of an integer; the default axis, and the last one from the end."""
    if ask.constraint != "T1" or not is_integer(ask.element):
        return
    output = ("tensor(float)",)
    scale = narrow(np.array(0.5), _F)
    x = narrow(edges(ask.element), ask.element)
    yield ask.draft(
        "edges", [x, scale], [widen(x).astype(float) * 0.5], outputs=output, oracle="native"
    )
    if ask.element is not ElementType.UINT8:
        return
    row = np.array([0.5, 1.0, 2.0, 4.0])
    for slug, shape, attributes in (
        ("default-axis", (3, 4, 2), {}),
        ("last-axis", (2, 3, 4), {"axis": -1}),
    ):
        x = _x(ask, slug, shape, 0, 255)
        along = row[:, None] if not attributes else row
        yield ask.draft(
            slug,
            [x, narrow(row, _F)],
            [widen(x) * along],
            outputs=output,
            attributes=attributes,
            oracle="native",
        )


@generates("ConcatFromSequence")
def of_scalars(ask: Ask) -> Iterator[Draft]:
    """Scalars along a new axis."""
    if ask.type == "seq(tensor(float))" and ask.constraint == "S":
        draw = ask.draw("of-scalars")
        items = tuple(draw.tensor(_F, ()) for _ in range(5))
        yield ask.draft(
            "of-scalars",
            [SequenceValue(ask.type, items)],
            [np.array([widen(t) for t in items])],
            outputs=("tensor(float)",),
            attributes={"axis": 0, "new_axis": 1},
            oracle="native",
        )
