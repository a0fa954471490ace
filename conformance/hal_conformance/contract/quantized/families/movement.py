"""What moves values and keeps their grid: the integers are the same, so nothing may differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.families.image import interpolation_weights
from hal_conformance.contract.numbers import Array, narrow
from hal_conformance.contract.quantized.form import (
    Activation,
    Constant,
    Feed,
    Form,
    Input,
    Kit,
    Weight,
    quantised,
)

_SHAPE = (1, 4, 4, 6)


def _ints(*values: int) -> Constant:
    return Constant(narrow(np.array(values, np.int64), ElementType.INT64))


@dataclasses.dataclass(frozen=True)
class _Move:
    """Further inputs, attributes, and the same done by NumPy."""

    done: Any
    constants: Sequence[Constant] = ()
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = _SHAPE


def _blocks(x: Array, mode: str) -> Array:
    n, c, h, w = x.shape
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    split = (n, 2, 2, c // 4, h, w) if mode == "DCR" else (n, c // 4, 2, 2, h, w)
    moved = x.reshape(split).transpose(order)
    return np.asarray(moved.reshape(n, c // 4, h * 2, w * 2))


def _to_depth(x: Array) -> Array:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 3, 5, 1, 2, 4)
    return np.asarray(parts.reshape(n, c * 4, h // 2, w // 2))


_MOVES: Mapping[str, Mapping[str, _Move]] = {
    "Reshape": {
        "": _Move(lambda x: x.reshape(1, 4, 24), [_ints(1, 4, -1)]),
        "zero": _Move(lambda x: x.reshape(1, 4, 8, 3), [_ints(0, 0, 8, 3)]),
    },
    "Transpose": {
        "channels-last": _Move(
            lambda x: x.transpose(0, 2, 3, 1), attributes={"perm": [0, 2, 3, 1]}
        ),
        "reversed": _Move(np.transpose),
    },
    "Flatten": {
        "": _Move(lambda x: x.reshape(1, -1)),
        "axis2": _Move(lambda x: x.reshape(4, 24), attributes={"axis": 2}),
    },
    "Squeeze": {"": _Move(lambda x: x.reshape(4, 3), [_ints(0, -1)], shape=(1, 4, 3, 1))},
    "Unsqueeze": {"": _Move(lambda x: x.reshape(1, 4, 1, 3), [_ints(0, 2)], shape=(4, 3))},
    "Slice": {
        "": _Move(lambda x: x[:, 1:3, :, 2:6], [_ints(1, 2), _ints(3, 6), _ints(1, 3)]),
        "steps": _Move(lambda x: x[..., ::-2], [_ints(-1), _ints(-100), _ints(-1), _ints(-2)]),
    },
    "Pad": {
        "": _Move(
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3))), [_ints(0, 0, 1, 0, 0, 0, 2, 3)]
        ),
        "edge": _Move(
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)), mode="edge"),
            [_ints(0, 0, 1, 2, 0, 0, 0, 1)],
            {"mode": "edge"},
        ),
        "reflect": _Move(
            lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 3)), mode="reflect"),
            [_ints(0, 0, 2, 0, 0, 0, 1, 3)],
            {"mode": "reflect"},
        ),
    },
    "Expand": {
        "": _Move(lambda x: np.broadcast_to(x, (2, 4, 5)), [_ints(2, 4, 5)], shape=(4, 1)),
    },
    "Tile": {"": _Move(lambda x: np.tile(x, (1, 2, 3)), [_ints(1, 2, 3)], shape=(2, 3, 4))},
    "DepthToSpace": {
        "dcr": _Move(lambda x: _blocks(x, "DCR"), attributes={"blocksize": 2}, shape=(1, 8, 2, 3)),
        "crd": _Move(
            lambda x: _blocks(x, "CRD"),
            attributes={"blocksize": 2, "mode": "CRD"},
            shape=(1, 8, 2, 3),
        ),
    },
    "SpaceToDepth": {"": _Move(_to_depth, attributes={"blocksize": 2})},
}


@quantised(*_MOVES)
def move(kit: Kit) -> Iterator[Form]:
    """One activation, moved."""
    for what, row in _MOVES[kit.operator].items():
        x = kit.activation(kit.draw(what), row.shape)
        yield kit.form(
            what,
            [x, *row.constants],
            [np.asarray(row.done(x.real))],
            steps=0,
            outputs=[x.grid],
            attributes=row.attributes,
        )


@quantised("Split")
def split(kit: Kit) -> Iterator[Form]:
    """Into unequal parts."""
    x = kit.activation(kit.draw(), (1, 6, 5))
    parts = np.split(x.real, [1, 3], axis=1)
    yield kit.form(
        "",
        [x, _ints(1, 2, 3)],
        parts,
        steps=0,
        outputs=[x.grid] * 3,
        attributes={"axis": 1},
    )


@quantised("Concat")
def concat(kit: Kit) -> Iterator[Form]:
    """Three parts on one grid, and on grids of their own that are requantised."""
    for what, axis, ranges in (
        ("", 1, ((-1.0, 2.0), (-3.0, 1.0), (-0.5, 0.5))),
        ("same-grid", 1, ((-2.0, 2.0),) * 3),
        ("last-axis", -1, ((-1.0, 2.0), (-3.0, 1.0), (-0.5, 0.5))),
    ):
        draw = kit.draw(what)
        shapes = [(1, 2 + i, 4, 3) if axis == 1 else (1, 2, 4, 3 + i) for i in range(3)]
        parts = [kit.activation(draw, s, *r) for s, r in zip(shapes, ranges, strict=True)]
        same = what == "same-grid"
        yield kit.form(
            what,
            parts,
            [np.concatenate([p.real for p in parts], axis=axis)],
            steps=0 if same else 1,
            outputs=[parts[0].grid] if same else None,
            attributes={"axis": axis},
        )


def _feed(values: Array) -> Feed:
    return Feed(narrow(values, ElementType.INT64))


@quantised("Gather")
def gather(kit: Kit) -> Iterator[Form]:
    """An embedding: a table of integers and indices, negative ones too; and of an activation."""
    draw = kit.draw("embedding")
    found = kit.activation(draw, (12, 8))
    table = Weight(found.grid.quantise(found.values.astype(np.float64)), found.grid)
    index = draw.integers((2, 5), -12, 11)
    yield kit.form(
        "embedding",
        [table, _feed(index)],
        [table.real[index]],
        steps=0,
        outputs=[table.grid],
    )
    draw = kit.draw("axis1")
    x = kit.activation(draw, (2, 5, 3))
    yield kit.form(
        "axis1",
        [x, _ints(4, 0, -2)],
        [x.real[:, [4, 0, -2]]],
        steps=0,
        outputs=[x.grid],
        attributes={"axis": 1},
    )


@quantised("GatherElements")
def gather_elements(kit: Kit) -> Iterator[Form]:
    """Along the last axis."""
    draw = kit.draw()
    x, index = kit.activation(draw, (3, 6)), draw.integers((3, 4), -6, 5)
    result = np.take_along_axis(x.real, index % 6, axis=1)
    yield kit.form(
        "", [x, _feed(index)], [result], steps=0, outputs=[x.grid], attributes={"axis": 1}
    )


@quantised("Resize")
def resize(kit: Kit) -> Iterator[Form]:
    """Nearest by whole factors, which moves values, and linear, which mixes them."""
    x = kit.activation(kit.draw("nearest"), (1, 2, 3, 4))
    doubled = x.real.repeat(2, axis=2).repeat(2, axis=3)
    floor = {"mode": "nearest", "nearest_mode": "floor"}
    asymmetric = {"coordinate_transformation_mode": "asymmetric"}
    scales = Constant(narrow(np.array([1.0, 1.0, 2.0, 2.0]), ElementType.FLOAT))
    inputs: list[Input] = [x, None, scales]
    yield kit.form(
        "nearest", inputs, [doubled], steps=0, outputs=[x.grid], attributes={**floor, **asymmetric}
    )
    for transform in ("half_pixel", "align_corners"):
        what = f"linear-{transform.replace('_', '-')}"
        x = kit.activation(kit.draw(what), (1, 2, 3, 4))
        rows, columns = (
            interpolation_weights("linear", transform, n, m) for n, m in ((3, 5), (4, 8))
        )
        yield kit.form(
            what,
            [x, None, None, _ints(1, 2, 5, 8)],
            [rows @ x.real @ columns.T],
            steps=1,
            outputs=[x.grid],
            attributes={"mode": "linear", "coordinate_transformation_mode": transform},
        )


@quantised("TopK", "ArgMax")
def choice(kit: Kit) -> Iterator[Form]:
    """The largest of values that all differ: which they are, and where."""
    draw = kit.draw()
    grid = kit.activation(draw, (1,)).grid
    places = np.array([draw.order(10) for _ in range(3)]) * 12
    low = int(grid.quantise(np.array(grid.ends[0])))
    x = Activation(grid.real(low + places).astype(np.float32), grid)
    if kit.operator == "ArgMax":
        result = x.real.argmax(axis=1)[:, None]
        yield kit.form(
            "", [x], [result], steps=0, outputs=["tensor(int64)"], attributes={"axis": 1}
        )
        return
    order = np.argsort(-x.real, axis=1)[:, :4]
    k = Constant(narrow(np.array([4]), ElementType.INT64))
    yield kit.form(
        "",
        [x, k],
        [np.take_along_axis(x.real, order, axis=1), order],
        steps=0,
        outputs=[x.grid, "tensor(int64)"],
    )
