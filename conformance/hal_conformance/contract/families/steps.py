"""Quantisation once more: scales a row and a column, default axes, what is beyond float8."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.convolution import CONVS, convolved
from hal_conformance.contract.families.quantization import quantised_to
from hal_conformance.contract.numbers import Array, narrow, widen

_F, _U8 = ElementType.FLOAT, ElementType.UINT8


@generates("QLinearMatMul")
def rows_and_columns(ask: Ask) -> Iterator[Draft]:
    """A scale and a zero point a row of the first and a column of the second matrix, of matrices
    and of batches of them; two vectors."""
    if ask.constraint != "T1" or ask.element is not ElementType.INT8:
        return
    rows: list[tuple[str, tuple[int, ...], tuple[int, ...], Array, Array]] = [
        ("columns", (3, 4), (4, 2), np.array(0.5), np.array([0.25, 0.5])),
        ("rows", (3, 4), (4, 2), np.array([0.5, 0.25, 1.0]), np.array(0.25)),
        (
            "batches",
            (2, 3, 4),
            (2, 4, 2),
            np.array([0.5, 0.25, 1.0, 2.0, 0.125, 0.75]).reshape(2, 3, 1),
            np.array([0.25, 0.5, 1.0, 0.125]).reshape(2, 1, 2),
        ),
        ("vectors", (4,), (4,), np.array(0.5), np.array(0.25)),
    ]
    for slug, left, right, a_scale, b_scale in rows:
        draw = ask.draw(slug)
        a, b = draw.tensor(ask.element, left, -9, 9), draw.tensor(ask.element, right, -9, 9)
        a_point = np.arange(a_scale.size).reshape(a_scale.shape) % 4
        b_point = (np.arange(b_scale.size).reshape(b_scale.shape) + 1) % 3
        by_row = a_scale[:, None] if a_scale.ndim == 1 else a_scale
        row_point = a_point[:, None] if a_point.ndim == 1 else a_point
        product = np.matmul(
            (widen(a) - row_point) * by_row,
            (widen(b) - b_point) * b_scale,
        )
        scale = 1.8371
        points = [narrow(v, ask.element) for v in (a_point, b_point, np.array(3))]
        yield ask.draft(
            slug,
            [
                a,
                narrow(a_scale, _F),
                points[0],
                b,
                narrow(b_scale, _F),
                points[1],
                narrow(np.array(scale), _F),
                points[2],
            ],
            [quantised_to(product, scale, 3, ask.element)],
            oracle="none",
            reason="onnx 1.23.2's evaluator has one scale for each matrix",
        )


@generates("QLinearConv")
def channels_and_volumes(ask: Ask) -> Iterator[Draft]:
    """A zero point a channel; three dimensions."""
    if ask.constraint != "T1" or ask.element is not _U8:
        return
    row = CONVS["groups"]
    draw = ask.draw("channel-points")
    x, w = draw.tensor(_U8, row.shape, 0, 20), draw.tensor(_U8, row.weights, 0, 9)
    made = row.weights[0]
    point = np.arange(made) % 3
    shaped = point.reshape(-1, *[1] * (len(row.weights) - 1))
    sums = convolved(widen(x) - 3, widen(w) - shaped, row)
    one = narrow(np.array(0.5), _F)
    scales = narrow(np.full(made, 0.25), _F)
    attributes = {**window_attributes(row.window), "group": row.group}
    inputs = [x, one, narrow(np.array(3), _U8), w, scales, narrow(point, _U8)]
    rest = [narrow(np.array(1.8371), _F), narrow(np.array(7), _U8)]
    yield ask.draft(
        "channel-points",
        [*inputs, *rest],
        [quantised_to(sums * 0.125, 1.8371, 7, _U8)],
        attributes=attributes,
        oracle="native",
    )
    x, w = draw.tensor(_U8, (1, 2, 3, 3, 3), 0, 20), draw.tensor(_U8, (2, 2, 2, 2, 2), 0, 9)
    inputs = [x, one, narrow(np.array(3), _U8), w, one, narrow(np.array(1), _U8)]
    yield ask.draft("volume", [*inputs, *rest], oracle="native")


@generates("QuantizeLinear")
def default_axis(ask: Ask) -> Iterator[Draft]:
    """The second axis by default; blocks whose rows differ; NaN, and float8 that does not
    saturate; integers of many bits."""
    if ask.constraint != "T1":
        return
    if ask.element is ElementType.INT32:
        x = narrow(np.array([70000, -70000, 90000, 500]), ask.element)
        inputs = [x, narrow(np.array(1000), ask.element), narrow(np.array(0), ElementType.INT8)]
        expected = [np.array([70, -70, 90, 0])]
        yield ask.draft("wide", inputs, expected, outputs=("tensor(int8)",), oracle="native")
    if not ask.full:
        return
    outputs = ("tensor(uint8)",)
    x = ask.draw("default").tensor(_F, (2, 3, 3), -9, 9)
    scale = np.array([0.5, 1.0, 2.0])
    points = np.array([3, 100, 50])
    yield ask.draft(
        "default-axis",
        [x, narrow(scale, _F), narrow(points, _U8)],
        [quantised_to(widen(x), scale[:, None], points[:, None], _U8)],
        outputs=outputs,
        oracle="native",
    )
    x = ask.draw("blocks").tensor(_F, (4, 3), -9, 9)
    scale = np.array([[0.5, 1.0, 2.0], [4.0, 0.25, 1.0]])
    points = np.array([[3, 100, 50], [7, 9, 128]])
    spread, zeros = (np.repeat(v, 2, axis=0) for v in (scale, points))
    yield ask.draft(
        "block-rows",
        [x, narrow(scale, _F), narrow(points, _U8)],
        [quantised_to(widen(x), spread, zeros, _U8)],
        outputs=outputs,
        attributes={"axis": 0, "block_size": 2},
        oracle="native",
    )
    float8 = ElementType.FLOAT8E4M3FN
    x = narrow(np.array([1.5, 1e6, -1e6, np.nan, 448.0]), _F)
    yield ask.draft(
        "unsaturated",
        [x, narrow(np.array(1.0), _F), narrow(np.array(0.0), float8)],
        [np.array([1.5, np.nan, np.nan, np.nan, 448.0])],
        outputs=("tensor(float8e4m3fn)",),
        attributes={"saturate": 0},
        oracle="native",
    )
