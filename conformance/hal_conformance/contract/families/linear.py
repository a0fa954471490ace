"""Products of matrices: MatMul, Gemm, Einsum and the integer and quantised forms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.numbers import Array, bounds, is_float, narrow, widen
from hal_conformance.contract.tolerance import accumulated, elementary

Shape = tuple[int, ...]


def product(ask: Ask, slug: str, left: Shape, right: Shape) -> tuple[Run, float]:
    draw = ask.draw(slug)
    a, b = draw.tensor(ask.element, left, -3, 3), draw.tensor(ask.element, right, -3, 3)
    x, y = widen(a), widen(b)
    return Run((a, b), (np.matmul(x, y),)), magnitude_of(x, y)


def magnitude_of(x: Array, y: Array) -> float:
    if x.dtype.kind != "f":
        return 0.0
    return float(np.max(np.matmul(np.abs(x), np.abs(y)), initial=0.0))


@generates("MatMul")
def matmul(ask: Ask) -> Iterator[Draft]:
    """Vectors on either side, batches that broadcast, odd and larger extents, empty ones."""
    rows: dict[str, tuple[Shape, Shape]] = {
        "matrices": ((3, 5), (5, 4)),
        "batch": ((2, 3, 5), (2, 5, 4)),
        "broadcast": ((2, 1, 3, 5), (4, 5, 2)),
        "matrix-vector": ((3, 5), (5,)),
        "vector-matrix": ((5,), (5, 4)),
        "vectors": ((5,), (5,)),
        "batch-vector": ((2, 3, 5), (5,)),
        "large": ((33, 65), (65, 17)),
        "long": ((1, 1025), (1025, 3)),
        "one": ((1, 1), (1, 1)),
        "no-rows": ((0, 5), (5, 4)),
        "no-terms": ((3, 0), (0, 4)),
    }
    for slug, (left, right) in rows.items():
        if not ask.full and slug not in ("matrices", "broadcast", "vector-matrix", "long"):
            continue
        run, magnitude = product(ask, slug, left, right)
        tolerance = accumulated(ask.element, terms=left[-1], magnitude=magnitude)
        yield Draft(slug=slug, runs=(run,), outputs=(ask.type,), tolerance=tolerance)
    if ask.full:
        pairs = (((2, 3), (3, 4)), ((5, 1), (1, 2)), ((1, 7), (7, 1)))
        made = [product(ask, f"symbolic{i}", *pair) for i, pair in enumerate(pairs)]
        magnitude = max(m for _, m in made)
        tolerance = accumulated(ask.element, terms=7, magnitude=magnitude)
        runs = tuple(run for run, _ in made)
        yield Draft(slug="symbolic", runs=runs, outputs=(ask.type,), tolerance=tolerance)


@generates("Gemm")
def gemm(ask: Ask) -> Iterator[Draft]:
    """Both transpositions, factors, and every way in which C broadcasts or is left out."""
    for slug, shape, attributes in (
        ("plain", None, {}),
        ("row", (4,), {}),
        ("column", (3, 1), {"transB": 1}),
        ("scalar", (), {"transA": 1}),
        ("matrix", (3, 4), {"transA": 1, "transB": 1}),
        ("factors", (1, 4), {"alpha": 0.5, "beta": 2.0}),
        ("no-beta", (4,), {"alpha": 2.0, "beta": 0.0}),
    ):
        whole = not is_float(ask.element)
        if whole and slug == "factors":
            attributes = {"alpha": 3.0, "beta": 2.0}
        draw = ask.draw(slug)
        left = (5, 3) if attributes.get("transA") else (3, 5)
        right = (4, 5) if attributes.get("transB") else (5, 4)
        a, b = draw.tensor(ask.element, left, -3, 3), draw.tensor(ask.element, right, -3, 3)
        x = widen(a).T if attributes.get("transA") else widen(a)
        y = widen(b).T if attributes.get("transB") else widen(b)
        alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
        result = alpha * np.matmul(x, y)
        inputs: list[Tensor] = [a, b]
        magnitude = abs(alpha) * magnitude_of(x, y)
        if shape is not None:
            c = draw.tensor(ask.element, shape, -3, 3)
            result = result + beta * widen(c)
            inputs.append(c)
            magnitude += 3 * abs(beta)
        expected = np.rint(result).astype(np.int64) if whole else result
        # The product may be rounded to the type before C is added, which may cancel it.
        tolerance = accumulated(
            ask.element,
            terms=7,
            magnitude=magnitude,
            steps=2.0,
            rounded=float(np.max(np.abs(alpha * np.matmul(x, y)))),
        )
        yield ask.draft(slug, inputs, [expected], attributes=attributes, tolerance=tolerance)


@generates("Einsum")
def einsum(ask: Ask) -> Iterator[Draft]:
    """Products, transposes, traces, sums, batches with an ellipsis, one operand to three."""
    for slug, equation, shapes in (
        ("matmul", "ij,jk->ik", ((3, 4), (4, 2))),
        ("implicit", "ij,jk", ((3, 4), (4, 2))),
        ("batch", "...ij,...jk->...ik", ((2, 3, 4), (2, 4, 2))),
        ("transpose", "ijk->kij", ((2, 3, 4),)),
        ("diagonal", "ii->i", ((3, 3),)),
        ("trace", "ii", ((3, 3),)),
        ("sum", "ij->", ((3, 4),)),
        ("outer", "i,j->ij", ((3,), (4,))),
        ("three", "ij,jk,kl->il", ((2, 3), (3, 2), (2, 3))),
        ("blanks", " i j , j -> i ", ((3, 4), (4,))),
    ):
        if not ask.full and slug not in ("matmul", "transpose", "sum"):
            continue
        draw = ask.draw(slug)
        xs = [draw.tensor(ask.element, shape, 0, 3) for shape in shapes]
        if ask.element.bits == 8:
            xs = [draw.tensor(ask.element, shape, 0, 2) for shape in shapes]
        wide = [widen(x) for x in xs]
        expected = np.einsum(equation.replace(" ", ""), *wide)
        magnitude = float(np.max(np.einsum(equation.replace(" ", ""), *(np.abs(w) for w in wide))))
        tolerance = accumulated(ask.element, terms=12, magnitude=magnitude, steps=2.0)
        yield ask.draft(
            slug, xs, [expected], attributes={"equation": equation}, tolerance=tolerance
        )


@generates("MatMulInteger")
def matmul_integer(ask: Ask) -> Iterator[Draft]:
    """Each pair of types, with no zero point, one of them, both, extremes; one zero point a row
    and a column."""
    if not ask.first:
        return
    for other in (ElementType.UINT8, ElementType.INT8):
        for slug in ("plain", "a-zero", "both-zero", "extremes", "per-row"):
            name = f"by-{other.onnx_name}-{slug}"
            draw = ask.draw(name)
            a = draw.tensor(ask.element, (3, 5), *_range(ask.element))
            b = draw.tensor(other, (5, 4), *_range(other))
            if slug == "extremes":
                low, high = bounds(ask.element)
                a = narrow(np.where(draw.integers((3, 5), 0, 1) == 1, low, high), ask.element)
            zeros: list[Tensor | None] = []
            x, y = widen(a), widen(b)
            if slug in ("a-zero", "both-zero", "per-row"):
                zero = draw.tensor(ask.element, (3,) if slug == "per-row" else (), 1, 9)
                zeros.append(zero)
                x = x - (widen(zero)[:, None] if slug == "per-row" else widen(zero))
            if slug in ("both-zero", "per-row"):
                zero = draw.tensor(other, (4,) if slug == "per-row" else (), 1, 9)
                zeros.append(zero)
                y = y - widen(zero)
            yield ask.draft(
                name,
                [a, b, *zeros],
                [np.matmul(x, y)],
                outputs=("tensor(int32)",),
                oracle="none" if slug == "per-row" else "native",
                reason="onnx 1.23.2's evaluator takes a zero point a row along the wrong axis",
            )


def _range(element: ElementType) -> tuple[float, float]:
    low, high = bounds(element)
    return float(low), float(high)


@generates("Det")
def determinant(ask: Ask) -> Iterator[Draft]:
    """Of one matrix and of batches; a matrix of rank one has none."""
    for slug, shape in (("matrix", (3, 3)), ("batch", (3, 2, 3, 3)), ("one", (1, 1))):
        x = ask.draw(slug).tensor(ask.element, shape, -2, 2)
        expected = np.linalg.det(widen(x))
        size = 2.0 * _permanent(np.abs(widen(x)))
        yield ask.draft(slug, [x], [expected], tolerance=elementary(ask.element, absolute=size))


def _permanent(x: Array) -> float:
    """The largest sum of all products of which one element of every row and column is a factor."""
    rows = range(x.shape[-1])
    products = (
        np.prod([x[..., i, j] for i, j in enumerate(order)], axis=0)
        for order in itertools.permutations(rows)
    )
    return float(np.max(sum(products)))
