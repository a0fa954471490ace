"""The largest elements of regions of interest, and largest elements put back where they stood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, narrow, widen


@generates("MaxRoiPool")
def max_roi_pool(ask: Ask) -> Iterator[Draft]:
    """Whole places of several images, the scale at 1 and at a half, square and oblong."""
    for slug, pooled, scale in (
        ("square", (2, 2), 1.0),
        ("oblong", (1, 3), 1.0),
        ("scale", (3, 2), 0.5),
        ("large-scale", (2, 3), 1.5),
    ):
        x = ask.draw(slug).tensor(ask.element, (2, 2, 8, 9), -3, 3)
        whole = np.array([[0, 0, 0, 6, 7], [1, 2, 2, 5, 4], [1, 0, 4, 3, 7]], np.float64)
        rois = whole.copy()
        rois[:, 1:] = whole[:, 1:] / scale if scale != 1.5 else np.array([0, 0, 4, 4])
        expected = np.stack([_pooled(widen(x), roi, pooled, scale) for roi in rois])
        yield ask.draft(
            slug,
            [x, narrow(rois, ask.element)],
            [expected],
            attributes={
                "pooled_shape": pooled,
                **({} if scale == 1 else {"spatial_scale": scale}),
            },
            oracle="none",
            reason="onnx 1.23.2's evaluator does not have it",
        )


@generates("MaxRoiPool")
def max_roi_pool_again(ask: Ask) -> Iterator[Draft]:
    """One model on other images and regions, on none, on zeros, and on infinities; the last column
    has the largest numbers."""
    if not ask.full:
        return
    runs = []
    regions = [[0, 0, 0, 7, 6], [1, 2, 2, 8, 7], [1, 4, 0, 8, 3]]
    for i, count in enumerate((3, 3, 1, 0, 3, 3)):
        x = widen(ask.draw(f"again{i}").tensor(ask.element, (2, 2, 8, 9), -3, 3))
        x[..., -1] += 4.0
        if i == 4:
            x[...] = 0.0
        if i == 5:
            x[:, :, 3, 3], x[:, 0, 6] = np.inf, -np.inf
        rois = np.array(regions[:count], np.float64).reshape(count, 5)
        expected = [_pooled(x, roi, (3, 3), 1.0) for roi in rois]
        runs.append(
            Run(
                (narrow(x, ask.element), narrow(rois, ask.element)),
                (np.stack(expected) if count else np.zeros((0, 2, 3, 3)),),
            )
        )
    yield Draft(
        slug="again",
        runs=tuple(runs),
        outputs=(ask.type,),
        attributes={"pooled_shape": (3, 3)},
        oracle="none",
        reason="onnx 1.23.2's evaluator does not have it",
    )


def _pooled(x: Array, roi: Array, pooled: tuple[int, int], scale: float) -> Array:
    """R. Girshick, Fast R-CNN, ICCV 2015, 2.1: the largest of each part of the region."""
    image = x[int(roi[0])]
    x1, y1, x2, y2 = (int(np.floor(v * scale + 0.5)) for v in roi[1:])
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    result = np.zeros((image.shape[0], *pooled))
    for i, j in np.ndindex(*pooled):
        top = y1 + int(np.floor(i * height / pooled[0]))
        bottom = y1 + int(np.ceil((i + 1) * height / pooled[0]))
        left = x1 + int(np.floor(j * width / pooled[1]))
        right = x1 + int(np.ceil((j + 1) * width / pooled[1]))
        part = image[:, max(top, 0) : bottom, max(left, 0) : right]
        result[:, i, j] = part.max((1, 2)) if part.size else 0
    return result


@generates("MaxUnpool")
def max_unpool(ask: Ask) -> Iterator[Draft]:
    """Where MaxPool found its largest elements; strides, padding, the output's size given."""
    if ask.constraint != "T1":
        return
    rows: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, list[int]], bool]] = [
        ("windows", (2, 2, 2, 3), (2, 2, 4, 6), {"kernel_shape": [2, 2], "strides": [2, 2]}, False),
        ("oblong", (1, 2, 2, 2), (1, 2, 4, 6), {"kernel_shape": [2, 3], "strides": [2, 3]}, False),
        (
            "volume",
            (1, 1, 1, 2, 2),
            (1, 1, 2, 4, 4),
            {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]},
            False,
        ),
        ("line", (2, 1, 3), (2, 1, 6), {"kernel_shape": [2], "strides": [2]}, False),
        ("strides-absent", (1, 1, 2, 3), (1, 1, 3, 4), {"kernel_shape": [2, 2]}, False),
        (
            "pads",
            (1, 2, 3, 3),
            (1, 2, 4, 5),
            {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]},
            False,
        ),
        ("given", (1, 2, 2, 2), (1, 2, 5, 5), {"kernel_shape": [2, 2], "strides": [2, 2]}, True),
    ]
    for slug, shape, result, attributes, given in rows:
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, shape, -4, 4)
        inferred = (*result[:2], 4, 4) if given else result
        size, count = int(np.prod(inferred)), int(np.prod(shape))
        places = np.sort(np.array(draw.order(size)[:count])).reshape(shape)
        flat = np.zeros(size)
        flat[places.ravel()] = widen(x).ravel()
        inputs: list[Any] = [x, Tensor.from_numpy(places)]
        if given:
            inputs.append(int64s(result))
        yield ask.draft(
            slug,
            inputs,
            [_in_corner(flat.reshape(inferred), result)],
            attributes=attributes,
            constants=frozenset({2}) if given else frozenset(),
            oracle="none" if slug == "pads" else "widened",
            reason="the evaluator's sizes are those without padding",
        )


@generates("MaxUnpool")
def max_unpool_again(ask: Ask) -> Iterator[Draft]:
    """One model on other extents, and on none."""
    if ask.constraint != "T1" or not ask.full:
        return
    runs = []
    for i, shape in enumerate(((1, 1, 3, 3), (2, 1, 2, 2), (0, 1, 3, 3), (1, 1, 3, 3))):
        draw = ask.draw(f"again{i}")
        x = draw.tensor(ask.element, shape, 1, 4)
        result = (*shape[:2], *(3 * d for d in shape[2:]))
        size, count = int(np.prod(result)), int(np.prod(shape))
        places = np.array(draw.order(size)[:count], np.int64).reshape(shape)
        flat = np.zeros(size)
        flat[places.ravel()] = widen(x).ravel()
        runs.append(Run((x, Tensor.from_numpy(places)), (flat.reshape(result),)))
    yield Draft(
        slug="again",
        runs=tuple(runs),
        outputs=(ask.type,),
        attributes={"kernel_shape": [3, 3], "strides": [3, 3]},
    )


def _in_corner(values: Array, shape: tuple[int, ...]) -> Array:
    result = np.zeros(shape)
    result[tuple(slice(0, d) for d in values.shape)] = values
    return result
