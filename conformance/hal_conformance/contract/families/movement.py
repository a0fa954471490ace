"""Operators that move whole tensors about: shapes, axes, parts, copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.numbers import narrow, widen

__all__ = ["int64s"]

_SHAPE = frozenset({1})


def int64s(values: Sequence[int] | int) -> Tensor:
    """An int64 tensor: a vector, or a scalar from a number."""
    return narrow(np.array(values, dtype=np.int64), ElementType.INT64)


def _both(
    ask: Ask, slug: str, inputs: Sequence[Any], expected: Any, **settings: Any
) -> Iterator[Draft]:
    """With the second input as a constant, and where the type gets every variant, computed."""
    yield ask.draft(slug, inputs, [expected], constants=_SHAPE, **settings)
    if ask.full:
        yield ask.draft(f"{slug}-computed", inputs, [expected], dynamic_outputs=True, **settings)


@generates("Reshape")
def reshape(ask: Ask) -> Iterator[Draft]:
    """Extents inferred, copied, taken as zero; to and from rank 0; empty tensors."""
    if not ask.first:
        return
    for slug, shape, target, allowzero in (
        ("flatten", (2, 3, 4), (24,), 0),
        ("infer", (2, 3, 4), (4, -1), 0),
        ("copy", (2, 3, 4), (0, 2, -1), 0),
        ("scalar", (1, 1), (), 0),
        ("from-scalar", (), (1, 1), 0),
        ("rank5", (4, 6), (2, 1, 2, 3, 2), 0),
        ("empty", (0, 3), (3, 0), 1),
        ("empty-copy", (0, 3), (0, 3), 0),
    ):
        if not ask.full and slug not in ("infer", "copy", "empty"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        known = [shape[i] if d == 0 and not allowzero else d for i, d in enumerate(target)]
        expected = widen(x).reshape(known)
        attributes = {"allowzero": 1} if allowzero else {}
        yield from _both(ask, slug, [x, int64s(list(target))], expected, attributes=attributes)


@generates("Flatten")
def flatten(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends, and the default."""
    axes = (None, 0, 1, 2, 3, -1, -3) if ask.full else (None, 2, -1)
    for axis in axes:
        slug = "default" if axis is None else f"axis{axis}"
        x = ask.draw(slug).tensor(ask.element, (2, 3, 4))
        at = 1 if axis is None else axis + (3 if axis < 0 else 0)
        expected = widen(x).reshape(int(np.prod((2, 3, 4)[:at])), -1)
        attributes = {} if axis is None else {"axis": axis}
        yield ask.draft(slug, [x], [expected], attributes=attributes)


@generates("Transpose")
def transpose(ask: Ask) -> Iterator[Draft]:
    """The default, cycles, swaps, rank 0 to 5, an empty tensor, extents of one."""
    for slug, shape, perm in (
        ("default", (2, 3, 4), None),
        ("cycle", (2, 3, 4), (1, 2, 0)),
        ("swap", (2, 3, 4, 5), (0, 2, 1, 3)),
        ("matrix", (37, 19), (1, 0)),
        ("rank5", (2, 1, 3, 2, 4), (4, 2, 0, 3, 1)),
        ("same", (2, 3), (0, 1)),
        ("vector", (5,), None),
        ("scalar", (), None),
        ("empty", (2, 0, 3), (2, 1, 0)),
    ):
        if not ask.full and slug not in ("default", "cycle"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        attributes = {} if perm is None else {"perm": list(perm)}
        yield ask.draft(slug, [x], [np.transpose(widen(x), perm)], attributes=attributes)
    if ask.full:
        yield _symbolic(ask, "symbolic", ((2, 3), (5, 1), (0, 4)), np.transpose)


def _symbolic(ask: Ask, slug: str, shapes: Sequence[tuple[int, ...]], formula: Any) -> Draft:
    runs = []
    for i, shape in enumerate(shapes):
        x = ask.draw(f"{slug}{i}").tensor(ask.element, shape)
        runs.append(Run((x,), (formula(widen(x)),)))
    return Draft(slug=slug, runs=tuple(runs), outputs=(ask.type,))


@generates("Squeeze")
def squeeze(ask: Ask) -> Iterator[Draft]:
    """Stated axes from both ends, and all of extent one by default."""
    if not ask.first:
        return
    for slug, shape, axes in (
        ("axis", (2, 1, 3), [1]),
        ("negative", (1, 2, 1), [-1, 0]),
        ("to-scalar", (1, 1), [0, 1]),
    ):
        x = ask.draw(slug).tensor(ask.element, shape)
        yield from _both(ask, slug, [x, int64s(axes)], np.squeeze(widen(x), tuple(axes)))
    x = ask.draw("all").tensor(ask.element, (1, 3, 1, 2))
    yield ask.draft("all", [x], [np.squeeze(widen(x))])


@generates("Unsqueeze")
def unsqueeze(ask: Ask) -> Iterator[Draft]:
    """At both ends, in the middle, unsorted, onto a scalar."""
    for slug, shape, axes in (
        ("axis", (2, 3), [1]),
        ("ends", (2, 3), [0, -1]),
        ("unsorted", (2, 3), [3, 1]),
        ("scalar", (), [0]),
    ):
        x = ask.draw(slug).tensor(ask.element, shape)
        yield from _both(ask, slug, [x, int64s(axes)], np.expand_dims(widen(x), tuple(axes)))


@generates("Concat")
def concat(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends; one input, several, empty ones among them."""
    for slug, shapes, axis in (
        ("one", [(2, 3)], 0),
        ("axis0", [(2, 3), (1, 3), (4, 3)], 0),
        ("axis1", [(2, 3), (2, 1), (2, 5)], 1),
        ("negative", [(2, 3, 1), (2, 3, 2)], -1),
        ("middle", [(2, 3, 1, 2), (2, 1, 1, 2)], -3),
        ("with-empty", [(2, 3), (0, 3), (1, 3)], 0),
        ("vectors", [(3,), (0,), (2,)], 0),
    ):
        if not ask.full and slug not in ("axis0", "negative", "with-empty"):
            continue
        draw = ask.draw(slug)
        xs = [draw.tensor(ask.element, shape) for shape in shapes]
        expected = np.concatenate([widen(x) for x in xs], axis=axis)
        yield ask.draft(slug, xs, [expected], attributes={"axis": axis})


@generates("Split")
def split(ask: Ask) -> Iterator[Draft]:
    """Stated parts, one of them empty; equal ones; unequal ones where the last is shorter."""
    for slug, axis, parts, count in (
        ("parts", 0, [1, 3, 2], 0),
        ("with-empty", -1, [4, 0, 3], 0),
        ("equal", 0, None, 3),
        ("shorter-last", 1, None, 3),
    ):
        x = ask.draw(slug).tensor(ask.element, (6, 7))
        wide = widen(x)
        extent = wide.shape[axis]
        if parts is None:
            step = -(-extent // count)
            ends = list(range(step, extent, step))
            inputs, attributes = [x], {"axis": axis, "num_outputs": count}
        else:
            ends = list(np.cumsum(parts)[:-1])
            inputs, attributes = [x, int64s(parts)], {"axis": axis}
        pieces = np.split(wide, ends, axis=axis)
        settings: dict[str, Any] = {
            "outputs": (ask.type,) * len(pieces),
            "attributes": attributes,
        }
        constants = frozenset({1} if parts else ())
        yield ask.draft(slug, inputs, pieces, constants=constants, **settings)


@generates("Slice")
def slice_(ask: Ask) -> Iterator[Draft]:
    """Steps both ways and larger than one, bounds from both ends and far outside, some axes only,
    empty results, bounds of both index types."""
    shape = (5, 6, 7)
    rows: tuple[tuple[str, list[int], list[int], list[int] | None, list[int] | None], ...] = (
        ("plain", [1, 0, 2], [4, 5, 7], None, None),
        ("axes", [1], [-1], [-2], None),
        ("steps", [0, 1], [5, 6], [0, 1], [2, 3]),
        ("backward", [-1, 4], [-1000, 0], [2, 0], [-2, -1]),
        ("outside", [-1000, 3], [1000, 2**31 - 1], [0, 1], None),
        ("to-the-ends", [0, 6], [2**63 - 1, -(2**63)], [0, 2], [1, -3]),
        ("nothing", [4], [2], [1], None),
    )
    if ask.constraint == "T":
        for row in rows:
            if ask.full or row[0] in ("steps", "backward", "nothing"):
                yield from _sliced(ask, ask.element, shape, row, ElementType.INT64)
    elif ask.type == "tensor(int32)":
        for row in rows:
            if row[0] != "to-the-ends":
                yield from _sliced(ask, ElementType.FLOAT, shape, row, ElementType.INT32)


def _sliced(
    ask: Ask, element: ElementType, shape: tuple[int, ...], row: Any, kind: ElementType
) -> Iterator[Draft]:
    slug, starts, ends, axes, steps = row
    x = ask.draw(slug).tensor(element, shape)
    index = [slice(None)] * len(shape)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[i] if steps else 1
        # Python's own clamping is the standard's, but a negative end counts from the back again.
        stop = None if step < 0 and end < -shape[axes[i] if axes else i] else end
        index[axes[i] if axes else i] = slice(start, stop, step)
    expected = widen(x)[tuple(index)]
    inputs = [x, *(narrow(np.array(v, np.int64), kind) for v in (starts, ends))]
    if axes or steps:
        chosen = axes if axes is not None else list(range(len(starts)))
        inputs.append(narrow(np.array(chosen, np.int64), kind))
    if steps:
        inputs.append(narrow(np.array(steps, np.int64), kind))
    output = (f"tensor({element.onnx_name})",)
    constants = frozenset(range(1, len(inputs)))
    yield ask.draft(slug, inputs, [expected], outputs=output, constants=constants)
    if ask.full:
        yield ask.draft(
            f"{slug}-computed", inputs, [expected], outputs=output, dynamic_outputs=True
        )


@generates("Pad")
def pad(ask: Ask) -> Iterator[Draft]:
    """Each mode with unequal pads, negative pads, some axes only, a value of the type."""
    if ask.constraint == "T":
        for mode in ("constant", "reflect", "edge", "wrap"):
            yield from _padded(ask, mode, mode, [1, 2, 0, 3], None, ElementType.INT64)
        yield from _padded(ask, "value", "constant", [0, 1, 2, 0], None, ElementType.INT64)
        yield from _padded(ask, "crop", "constant", [-1, 2, 1, -2], None, ElementType.INT64)
        if ask.full:
            yield from _padded(ask, "axes", "reflect", [2, 1], [-1], ElementType.INT64)
            yield from _padded(ask, "axis0", "edge", [3, 0], [0], ElementType.INT64)
            yield from _padded(ask, "nothing", "constant", [0, 0, 0, 0], None, ElementType.INT64)
    elif ask.constraint == "Tind":
        yield from _padded(ask, "axes", "constant", [2, 1], [-1], ask.element)


def _padded(
    ask: Ask, slug: str, mode: str, pads: list[int], axes: list[int] | None, kind: ElementType
) -> Iterator[Draft]:
    element = ask.element if ask.constraint == "T" else ElementType.FLOAT
    draw = ask.draw(slug)
    x = draw.tensor(element, (4, 5))
    wide = widen(x)
    count = len(pads) // 2
    width = [(0, 0), (0, 0)]
    for i, axis in enumerate(axes if axes is not None else range(2)):
        width[axis] = (pads[i], pads[i + count])
    index = tuple(
        slice(max(0, -a), extent + min(0, b))
        for (a, b), extent in zip(width, wide.shape, strict=True)
    )
    grown = [(max(0, a), max(0, b)) for a, b in width]
    inputs: list[Tensor | None] = [x, int64s(pads)]
    settings: dict[str, Any] = {}
    if slug == "value":
        value = narrow(widen(draw.tensor(element, (), 1, 2)), element)
        inputs.append(value)
        settings["constant_values"] = widen(value).item()
    elif mode == "constant" and element is ElementType.STRING:
        settings["constant_values"] = ""
    if axes is not None:
        inputs += [None] * (3 - len(inputs)) + [narrow(np.array(axes), kind)]
    expected = np.pad(wide[index], grown, mode=mode, **settings)  # type: ignore[call-overload]
    if mode == "constant" and slug != "value" and not _has_zero(element):
        return  # the default pads with a zero that the type lacks
    alone = element is ElementType.STRING and mode == "constant" and slug != "value"
    yield ask.draft(
        slug,
        inputs,
        [expected],
        outputs=(f"tensor({element.onnx_name})",),
        attributes={} if slug == "constant" else {"mode": mode},
        constants=_SHAPE,
        oracle="none" if alone else "native" if element is ElementType.STRING else "widened",
        reason="onnx 1.23.2's evaluator pads with '0', the standard says the empty string",
    )


def _has_zero(element: ElementType) -> bool:
    return element is not ElementType.FLOAT8E8M0


@generates("Tile")
def tile(ask: Ask) -> Iterator[Draft]:
    """Repeats of one, several and none, along one axis and all."""
    if ask.constraint != "T":
        return
    for slug, shape, repeats in (
        ("all", (2, 3), [2, 3]),
        ("one-axis", (2, 3, 2), [1, 4, 1]),
        ("same", (2, 3), [1, 1]),
        ("none", (2, 3), [0, 2]),
        ("vector", (3,), [5]),
        ("rank3", (2, 3, 2), [2, 3, 2]),
        ("rank4", (2, 3, 2, 2), [2, 2, 3, 2]),
        ("rank5", (1, 2, 1, 3, 1), [2, 1, 3, 1, 2]),
    ):
        if not ask.full and slug not in ("all", "one-axis"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        expected = np.tile(widen(x), repeats)
        inputs = [x, int64s(repeats)]
        yield ask.draft(slug, inputs, [expected], constants=_SHAPE)
        if ask.full or slug == "all":
            yield ask.draft(f"{slug}-computed", inputs, [expected], dynamic_outputs=True)


@generates("Expand")
def expand(ask: Ask) -> Iterator[Draft]:
    """Both ways: the shape may be of lower rank, and its ones give way to the input's extents."""
    for slug, shape, target in (
        ("rows", (1, 3), [4, 3]),
        ("both", (3, 1), [2, 1, 4]),
        ("shape-gives-way", (2, 3, 4), [3, 1]),
        ("scalar", (), [2, 2]),
        ("empty", (1, 3), [0, 3]),
        ("same", (2, 3), [2, 3]),
    ):
        if not ask.full and slug not in ("both", "shape-gives-way"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        extents = np.broadcast_shapes(shape, tuple(target))
        expected = np.broadcast_to(widen(x), extents)
        yield from _both(ask, slug, [x, int64s(target)], expected)


@generates("DepthToSpace", "SpaceToDepth")
def depth_and_space(ask: Ask) -> Iterator[Draft]:
    """Blocks of two and three, both orders of channels."""
    modes = ("DCR", "CRD")
    for block in (2, 3):
        for mode in modes:
            slug = f"block{block}-{mode.lower()}"
            shape = (2, 2 * block * block, 2, 3)
            if ask.name == "SpaceToDepth":
                shape = (2, 2, 2 * block, 3 * block)
            x = ask.draw(slug).tensor(ask.element, shape)
            if ask.name == "DepthToSpace":
                expected = _depth_to_space(widen(x), block, mode)
            else:
                expected = _space_to_depth(widen(x), block, mode)
            settings: dict[str, Any] = {"blocksize": block}
            if ask.operator.attribute("mode") is not None:
                settings["mode"] = mode
            elif mode == "CRD":
                continue
            yield ask.draft(slug, [x], [expected], attributes=settings)
            if not ask.full:
                break


def _depth_to_space(x: Any, block: int, mode: str) -> Any:
    n, c, h, w = x.shape
    inner = c // block**2
    if mode == "DCR":
        parts = x.reshape(n, block, block, inner, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, inner, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, inner, h * block, w * block)


def _space_to_depth(x: Any, block: int, mode: str) -> Any:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.transpose(order).reshape(n, c * block**2, h // block, w // block)


@generates("CenterCropPad")
def center_crop_pad(ask: Ask) -> Iterator[Draft]:
    """Cropped, padded and both, by odd and even amounts, along some axes."""
    element = ask.element if ask.constraint == "T" else ElementType.FLOAT
    kind = ElementType.INT64 if ask.constraint == "T" else ask.element
    for slug, target, axes in (
        ("crop", [3, 4], None),
        ("pad", [8, 9], None),
        ("both", [8, 3], None),
        ("axis", [2], [-1]),
    ):
        if element is ElementType.STRING and slug not in ("crop", "axis"):
            continue  # the standard does not say what strings are padded with
        x = ask.draw(slug).tensor(element, (5, 6), 1, 4)
        wide = widen(x)
        for size, axis in zip(target, axes if axes is not None else (0, 1), strict=True):
            wide = _centered(wide, size, axis)
        yield ask.draft(
            slug,
            [x, narrow(np.array(target), kind)],
            [wide],
            outputs=(f"tensor({element.onnx_name})",),
            attributes={} if axes is None else {"axes": axes},
            constants=_SHAPE,
        )


def _centered(x: Any, size: int, axis: int) -> Any:
    extent = x.shape[axis]
    if size <= extent:
        start = (extent - size) // 2
        return np.take(x, range(start, start + size), axis=axis)
    before = (size - extent) // 2
    width = [(0, 0)] * x.ndim
    width[axis] = (before, size - extent - before)
    return np.pad(x, width)
