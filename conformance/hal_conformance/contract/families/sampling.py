"""Images read at positions that are computed: grids, regions of interest, deformable windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance, accumulated, composed

_F = ElementType.FLOAT


def _positions(element: ElementType) -> Tolerance:
    """Positions are computed in float32 whatever the type; an error of a few units in them moves
    the result by as many times the slope, which is at most sixteen here."""
    coarse = _F if element is ElementType.DOUBLE else element
    return composed(coarse, magnitude=16.0)


@generates("AffineGrid")
def affine_grid(ask: Ask) -> Iterator[Draft]:
    """Of images and of volumes, the corners' centres or edges being the ends; sizes computed."""
    if ask.constraint != "T1":
        return
    for align in (None, 1):
        for size in ((2, 3, 4, 5), (2, 1, 3, 2, 4)):
            rank = len(size) - 2
            slug = f"{rank}d" + ("-corners" if align else "")
            theta = ask.draw(slug).tensor(ask.element, (size[0], rank, rank + 1), -1, 1)
            yield ask.draft(
                slug,
                [theta, int64s(size)],
                [_grid(widen(theta), size[2:], bool(align))],
                attributes={} if align is None else {"align_corners": align},
                constants=frozenset({1}),
                tolerance=_products(ask.element),
                reference_error=1e-6,
            )
    if ask.full:
        yield _grids(ask)
    sizes = [(2, 3, 4, 5), (2, 3, 2, 3)]
    theta = ask.draw("computed").tensor(ask.element, (2, 2, 3), -1, 1)
    for size in sizes[: 2 if ask.full else 1]:
        slug = "computed" if size == sizes[0] else "computed-smaller"
        yield ask.draft(
            slug,
            [theta, int64s(size)],
            [_grid(widen(theta), size[2:], False)],
            tolerance=_products(ask.element),
            reference_error=1e-6,
            dynamic_outputs=True,
        )


def _products(element: ElementType) -> Tolerance:
    """Of three numbers below one, each place and product being rounded."""
    return accumulated(element, terms=6, magnitude=3.0, steps=2.0, rounded=1.0)


def _grids(ask: Ask) -> Draft:
    """One model called with other sizes, with nothing, and with an infinite translation."""
    runs = []
    for i, size in enumerate(
        ((1, 1, 3, 3), (2, 2, 4, 5), (0, 1, 2, 2), (1, 1, 3, 3), (1, 1, 3, 3))
    ):
        theta = widen(ask.draw(f"sizes{i % 3}").tensor(ask.element, (size[0], 2, 3), -1, 1))
        if i == 4:
            theta[0, 0, 2] = np.inf
        runs.append(
            Run((narrow(theta, ask.element), int64s(size)), (_grid(theta, size[2:], False),))
        )
    return Draft(
        slug="sizes",
        runs=tuple(runs),
        outputs=(ask.type,),
        tolerance=_products(ask.element),
        reference_error=1e-6,
        dynamic_outputs=True,
    )


def _grid(theta: Array, size: tuple[int, ...], corners: bool) -> Array:
    """theta times (x, y, ..., 1) of each place, x along the last axis."""
    axes = []
    for n in size:
        steps = np.arange(n) * (2 / (n - 1)) - 1 if corners else (2 * np.arange(n) + 1) / n - 1
        axes.append(steps)
    places = np.stack([*np.meshgrid(*axes, indexing="ij")][::-1], axis=-1)
    ones = np.ones((*size, 1))
    points = np.concatenate([places, ones], axis=-1)
    return np.asarray(np.einsum("...k,bik->b...i", points, theta))


@generates("GridSample")
def grid_sample(ask: Ask) -> Iterator[Draft]:
    """Each way to interpolate and to go beyond the border, of images, and linear of volumes. Types
    that hold no fractions are read at whole places."""
    if ask.constraint != "T1":
        return
    if not is_float(ask.element):
        x = ask.draw("nearest").tensor(ask.element, (1, 2, 3, 5))
        rows, columns = np.array([0, 2, 1]), np.array([4, 0, 2])
        grid = np.stack([columns / 2 - 1, rows - 1], axis=-1).reshape(1, 1, 3, 2)
        yield ask.draft(
            "nearest",
            [x, narrow(grid, _F)],
            [Tensor.from_numpy(x.bits()[:, :, rows, columns][:, :, None], ask.element)],
            attributes={"mode": "nearest", "align_corners": 1},
            oracle="none",
            reason="the evaluator computes weights for every type",
        )
        if is_integer(ask.element):
            yield _whole_places(ask)
        return
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            if (mode, padding) == ("cubic", "border"):  # the evaluator and the engines differ
                continue
            for corners in (0, 1) if ask.full else (0,):
                slug = f"{mode}-{padding}" + ("-corners" if corners else "")
                draw = ask.draw(slug)
                x = draw.tensor(ask.element, (2, 2, 4, 5), -2, 2)
                grid = draw.floats((2, 3, 4, 2), -1.4, 1.4)
                if mode == "nearest":  # away from the middle between two places
                    grid = _off_the_middle(grid, (5, 4), bool(corners))
                yield ask.draft(
                    slug,
                    [x, narrow(grid, _F)],
                    attributes={"mode": mode, "padding_mode": padding, "align_corners": corners},
                    tolerance=EXACT if mode == "nearest" else _positions(ask.element),
                )
    draw = ask.draw("default")
    x, grid = draw.tensor(ask.element, (2, 1, 4, 5), -2, 2), draw.floats((2, 3, 2, 2), -1.4, 1.4)
    yield ask.draft("default", [x, narrow(grid, _F)], tolerance=_positions(ask.element))
    draw = ask.draw("volume")
    x = draw.tensor(ask.element, (1, 2, 3, 4, 2), -2, 2)
    grid = draw.floats((1, 2, 3, 2, 3), -1.2, 1.2)
    for corners in (0, 1):
        slug = "volume-corners" if corners else "volume"
        yield ask.draft(
            slug,
            [x, narrow(grid, _F)],
            attributes={"align_corners": corners},
            tolerance=_positions(ask.element),
        )


def _whole_places(ask: Ask) -> Draft:
    """The ends of an integer type, read as they are."""
    x = narrow(np.resize(edges(ask.element), (1, 1, 3, 5)), ask.element)
    rows, columns = np.mgrid[0:3, 0:5]
    grid = np.stack([columns / 2 - 1, rows - 1], axis=-1)[None]
    return ask.draft(
        "ends",
        [x, narrow(grid, _F)],
        [x],
        attributes={"mode": "nearest", "align_corners": 1},
        oracle="none",
        reason="the evaluator computes weights for every type",
    )


def _off_the_middle(grid: Array, size: tuple[int, ...], corners: bool) -> Array:
    """Positions a quarter of a step from a whole place."""
    result = grid.copy()
    for i, n in enumerate(size):
        at = (grid[..., i] + 1) / 2 * (n - 1) if corners else ((grid[..., i] + 1) * n - 1) / 2
        at = np.round(at) + 0.25 * np.where(np.arange(at.size).reshape(at.shape) % 2, 1, -1)
        result[..., i] = at / (n - 1) * 2 - 1 if corners else (2 * at + 1) / n - 1
    return np.asarray(result)


@generates("RoiAlign")
def roi_align(ask: Ask) -> Iterator[Draft]:
    """Regions of several images, larger and smaller than a place; each attribute away from its
    default."""
    if ask.constraint != "T1":
        return
    size: dict[str, Any] = {"output_height": 2, "output_width": 3, "sampling_ratio": 2}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("sampling", size),
        ("adaptive", {"output_height": 3, "output_width": 2}),
        ("default", {}),
        ("scale", {**size, "spatial_scale": 0.5}),
        ("large-scale", {**size, "spatial_scale": 1.5}),
        ("max", {**size, "mode": "max"}),
        ("pixels", {**size, "coordinate_transformation_mode": "output_half_pixel"}),
    ]
    for slug, attributes in rows if ask.full else rows[:4]:
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (2, 3, 7, 8), -2, 2)
        start = draw.floats((4, 2), 0.1, 2.4)
        rois = np.concatenate([start, start + draw.floats((4, 2), 1.2, 3.9)], axis=1)
        places = int64s([1, 0, 1, 1])
        if slug == "max":
            attributes = {**attributes, "sampling_ratio": 1}
        yield ask.draft(
            slug,
            [x, narrow(rois, ask.element), places],
            attributes=attributes,
            tolerance=_positions(ask.element),
        )


@generates("DeformConv")
def deform_conv(ask: Ask) -> Iterator[Draft]:
    """Offsets of fractions and beyond the border; groups of channels and of offsets; mask, bias,
    padding, strides and dilations that differ along the axes."""
    rows: list[tuple[str, int, dict[str, Any], bool, bool]] = [
        ("plain", 2, {}, False, False),
        ("bias", 2, {"pads": [1, 0, 0, 1]}, True, False),
        ("mask", 2, {"pads": [1, 1, 1, 1]}, True, True),
        ("strides", 2, {"strides": [2, 1], "pads": [0, 1, 2, 1]}, False, True),
        ("dilations", 2, {"dilations": [2, 1], "pads": [1, 1, 1, 1]}, False, False),
        ("groups", 4, {"group": 2, "offset_group": 2}, False, True),
        ("offset-groups", 4, {"offset_group": 2}, True, False),
    ]
    for slug, channels, attributes, biased, masked in rows if ask.full else rows[:6]:
        draw = ask.draw(slug)
        image, kernel = (5, 6), (2, 3)
        pads = attributes.get("pads", [0, 0, 0, 0])
        strides = attributes.get("strides", [1, 1])
        dilations = attributes.get("dilations", [1, 1])
        out = [
            (image[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i]
            + 1
            for i in range(2)
        ]
        groups, offsets = attributes.get("group", 1), attributes.get("offset_group", 1)
        x = draw.tensor(ask.element, (2, channels, *image), -2, 2)
        made = 3 if slug == "bias" else 4
        w = draw.tensor(ask.element, (made, channels // groups, *kernel), -1, 1)
        offset = draw.tensor(ask.element, (2, offsets * 12, *out), -1.5, 1.5)
        inputs: list[Any] = [x, w, offset]
        inputs.append(draw.tensor(ask.element, (made,), -2, 2) if biased else None)
        if masked:
            inputs.append(draw.tensor(ask.element, (2, offsets * 6, *out), 0, 1))
        while inputs[-1] is None:
            inputs.pop()
        shown = {"kernel_shape": kernel} if slug in ("plain", "mask") else {}
        yield ask.draft(
            slug,
            inputs,
            attributes={**shown, **attributes},
            tolerance=_positions(ask.element),
        )


@generates("NonMaxSuppression")
def non_max_suppression(ask: Ask) -> Iterator[Draft]:
    """Boxes of several images and classes, by corners in either order and by centres; thresholds at
    their defaults and away from them; none selected."""
    draw = ask.draw("boxes")
    corner = draw.floats((2, 6, 2), 0, 4)
    boxes = np.concatenate([corner, corner + draw.floats((2, 6, 2), 1, 3)], axis=-1)
    boxes[0, 1] = boxes[0, 0] + 0.125
    boxes[1, 4] = boxes[1, 3] + 0.0625
    flipped = boxes.copy()
    flipped[:, ::2] = boxes[:, ::2][..., [2, 3, 0, 1]]
    centred = np.concatenate(
        [(boxes[..., [1, 0]] + boxes[..., [3, 2]]) / 2, boxes[..., [3, 2]] - boxes[..., [1, 0]]],
        axis=-1,
    )
    order = np.array(draw.order(36), np.float64).reshape(2, 3, 6)
    scores = (order + 1) / 64
    rows: list[tuple[str, Array, list[Any], dict[str, int]]] = [
        ("corners", boxes, [3, 0.5, 0.0], {}),
        ("flipped", flipped, [2, 0.3, 0.2], {}),
        ("centres", centred, [3, 0.5, 0.1], {"center_point_box": 1}),
        ("absent", boxes, [], {}),
        ("one", boxes, [1], {}),
        ("overlap", boxes, [6, 0.9], {}),
        ("none", boxes, [4, 0.5, 2.0], {}),
    ]
    for slug, given, limits, attributes in rows:
        inputs: list[Any] = [narrow(given, _F), narrow(scores, _F)]
        if limits:
            inputs.append(int64s([limits[0]]))
        inputs += [narrow(np.array([v]), _F) for v in limits[1:]]
        yield ask.draft(
            slug,
            inputs,
            [_selected(boxes, scores, *limits)],
            outputs=("tensor(int64)",),
            attributes=attributes,
            oracle="native" if len(limits) == 3 else "none",
            reason="onnx 1.23.2's evaluator wants every input",
            dynamic_outputs=True,
        )


def _selected(
    boxes: Array, scores: Array, most: int = 0, overlap: float = 0.0, least: float = -np.inf
) -> Array:
    """Of each image and class the boxes with the highest scores, but none that overlaps one of
    them by more."""
    found = []
    for image, classes in enumerate(scores):
        for label, row in enumerate(classes):
            kept: list[int] = []
            for i in np.argsort(-row):
                if len(kept) < most and row[i] > least:
                    others = (_overlap(boxes[image][i], boxes[image][j]) for j in kept)
                    if all(o <= overlap for o in others):
                        kept.append(int(i))
            found += [[image, label, i] for i in kept]
    return np.array(found, np.int64).reshape(-1, 3)


def _overlap(a: Array, b: Array) -> float:
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    area = float(np.prod(shared))
    return area / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - area)
