"""Images: resizing, and columns back into an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_complex, is_float, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed

__all__ = ["interpolation_weights"]


@generates("Col2Im")
def col_to_im(ask: Ask) -> Iterator[Draft]:
    """Blocks side by side for every type; where numbers add up, overlapping, padded and spread."""
    rows: list[tuple[str, list[int], list[int], dict[str, list[int]]]] = [
        ("tiles", [4, 6], [2, 3], {"strides": [2, 3]}),
    ]
    if is_float(ask.element):
        rows += [
            ("overlap", [4, 5], [2, 3], {}),
            ("pads", [4, 5], [3, 3], {"pads": [1, 0, 1, 2], "strides": [1, 2]}),
            ("dilations", [5, 6], [2, 2], {"dilations": [2, 3]}),
        ]
    for slug, image, block, attributes in rows:
        strides = attributes.get("strides", [1, 1])
        dilations = attributes.get("dilations", [1, 1])
        pads = attributes.get("pads", [0, 0, 0, 0])
        steps = [
            (image[i] + pads[i] + pads[i + 2] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
            for i in range(2)
        ]
        size = block[0] * block[1]
        x = ask.draw(slug).tensor(ask.element, (2, 2 * size, steps[0] * steps[1]))
        columns = widen(x).reshape(2, 2, *block, *steps)
        text = ask.element is ElementType.STRING
        expected = np.zeros((2, 2, *image), columns.dtype) if not text else _blank(image)
        for a, b, i, j in np.ndindex(*block, *steps):
            row = i * strides[0] + a * dilations[0] - pads[0]
            column = j * strides[1] + b * dilations[1] - pads[1]
            if 0 <= row < image[0] and 0 <= column < image[1]:
                expected[:, :, row, column] += columns[:, :, a, b, i, j]
        yield ask.draft(
            slug,
            [x, int64s(image), int64s(block)],
            [expected],
            attributes=attributes,
            constants=frozenset({1, 2}),
            tolerance=accumulated(ask.element, terms=9, magnitude=36.0),
        )


def _blank(image: list[int]) -> Array:
    return np.full((2, 2, *image), "", dtype=object)


@generates("Resize")
def resize(ask: Ask) -> Iterator[Draft]:
    """Nearest by whole factors and by sizes for every type; linear and cubic for real numbers in
    each transformation of coordinates."""
    if ask.constraint == "T2":
        yield from _cropped(ask)
        return
    for slug, spatial, target in (("double", (3, 4), (6, 8)), ("halve", (4, 6), (2, 3))):
        x = ask.draw(slug).tensor(ask.element, (1, 2, *spatial))
        wide = widen(x)
        for axis, size in enumerate(target):
            index = np.arange(size) * spatial[axis] // size
            wide = np.take(wide, index, axis=axis + 2)
        attributes = {
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        }
        scales = narrow(
            np.array([1.0, 1.0, *(t / s for t, s in zip(target, spatial, strict=True))]),
            ElementType.FLOAT,
        )
        for name, inputs in (
            (f"{slug}-scales", [x, None, scales]),
            (f"{slug}-sizes", [x, None, None, int64s([1, 2, *target])]),
        ):
            yield ask.draft(
                name,
                inputs,
                [wide],
                attributes=attributes,
                constants=frozenset({2, 3}),
                oracle="none" if is_complex(ask.element) else "widened",
                reason="onnx 1.23.2's evaluator drops the imaginary parts",
            )
    if is_float(ask.element):
        yield from _interpolated(ask)


def _interpolated(ask: Ask) -> Iterator[Draft]:
    """Along two axes, from 3 x 4 to 5 x 8 and to 2 x 3."""
    modes = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
    for mode in ("linear", "cubic"):
        for transform in modes if ask.full else modes[:2]:
            for target in ((5, 8), (2, 3)):
                slug = f"{mode}-{transform.replace('_', '-')}-{target[0]}x{target[1]}"
                x = ask.draw(slug).tensor(ask.element, (1, 1, 3, 4), -3, 3)
                weights = [
                    interpolation_weights(mode, transform, n, m)
                    for n, m in zip((3, 4), target, strict=True)
                ]
                expected = weights[0] @ widen(x) @ weights[1].T
                yield ask.draft(
                    slug,
                    [x, None, None, int64s([1, 1, *target])],
                    [expected],
                    attributes={"mode": mode, "coordinate_transformation_mode": transform},
                    constants=frozenset({3}),
                    tolerance=_position_tolerance(ask.element),
                )


def _position_tolerance(element: ElementType) -> Any:
    """Positions are computed in float32 whatever the type: an error of a few units in them moves
    the result by as many times the slope, which is at most eight here."""
    coarse = ElementType.FLOAT if element is ElementType.DOUBLE else element
    return composed(coarse, magnitude=8.0)


def interpolation_weights(mode: str, transform: str, length: int, size: int) -> Array:
    """How much of each of `length` elements each of `size` results takes."""
    scale = size / length
    result = np.zeros((size, length))
    for i in range(size):
        if transform == "align_corners":
            at = i * (length - 1) / (size - 1)
        elif transform == "asymmetric":
            at = i / scale
        else:
            at = (i + 0.5) / scale - 0.5
        base = int(np.floor(at))
        ratio = at - base
        if mode == "linear":
            taps = {base: 1 - ratio, base + 1: ratio}
        else:
            taps = {base - 1 + k: _cubic(ratio + 1 - k) for k in range(4)}
        for place, weight in taps.items():
            result[i, min(max(place, 0), length - 1)] += weight
    return result


def _cubic(distance: float, a: float = -0.75) -> float:
    """R. Keys, IEEE Trans. ASSP 29 (1981)."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def _cropped(ask: Ask) -> Iterator[Draft]:
    """A region of interest of each type, from which the whole image is resized."""
    roi: Tensor = narrow(np.array([0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 0.75, 1.0]), ask.element)
    x = ask.draw("region").tensor(ElementType.FLOAT, (1, 1, 5, 5), -3, 3)
    yield ask.draft(
        "region",
        [x, roi, None, int64s([1, 1, 3, 3])],
        outputs=("tensor(float)",),
        attributes={"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
        constants=frozenset({3}),
        tolerance=_position_tolerance(ElementType.FLOAT),
    )
