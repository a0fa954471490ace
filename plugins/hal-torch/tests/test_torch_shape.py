"""Data movement: every operator of the family, over every element type that the standard allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError
from hal.tensor import Tensor
from hal.types import ElementType

NATIVE = "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bool complex64"
EXTENDED = (
    "bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz int4 uint4 float4_e2m1fn"
)
Check = Callable[..., None]

OFFICIAL = [
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Concat",
    "Split",
    "Tile",
    "Expand",
    "DepthToSpace",
    "SpaceToDepth",
    "Trilu",
    "ReverseSequence",
    "Slice",
    "Pad",
    "CenterCropPad",
]


def values(shape: tuple[int, ...], dtype: str) -> Any:
    """Different values, near the ends of an integer type's range too."""
    count = int(np.prod(shape))
    if dtype == "str":
        return np.array([f"s{i}" if i % 5 else "" for i in range(count)], object).reshape(shape)
    if dtype in EXTENDED.split():
        small = np.arange(count) % 7 - (0 if dtype == "uint4" else 3)
        return small.astype(np.float32).astype(getattr(ml_dtypes, dtype)).reshape(shape)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        rng = np.random.default_rng(0)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return (np.arange(count) % 11 - 5).astype(dtype).reshape(shape)


def ints(*given: int) -> Any:
    return np.array(given, dtype=np.int64)


def name_of(x: Any) -> str:
    return ElementType.from_dtype(x.dtype).onnx_name


def test_official_cases(official_failures: Callable[..., list[str]]) -> None:
    assert not official_failures(OFFICIAL)


@pytest.mark.parametrize("constant", [(), (1,)], ids=["given", "constant"])
@pytest.mark.parametrize("dtype", [*NATIVE.split(), *EXTENDED.split(), "str"])
def test_movement_of_every_type(check_node: Check, dtype: str, constant: tuple[int, ...]) -> None:
    x = values((2, 3, 4), dtype)
    out = [name_of(x)]
    for shape in (ints(4, 6), ints(0, -1), ints(-1), ints(2, 0, 2, 2)):
        check_node("Reshape", [x, shape], out, constant=constant)
    check_node("Squeeze", [x[:1, :, :1], ints(-1, 0)], out, constant=constant)
    check_node("Unsqueeze", [x, ints(-1, 0)], out, constant=constant)
    check_node("Unsqueeze", [x, ints(2)], out, constant=constant)
    check_node("Transpose", [x], out)
    check_node("Transpose", [x], out, {"perm": [2, 0, 1]})
    check_node("Flatten", [x], out, {"axis": -1})
    for mode in ("reflect", "edge", "wrap"):
        check_node("Pad", [x, ints(0, 1, 2, 1, 0, 1)], out, {"mode": mode}, constant=constant)


@pytest.mark.parametrize("constant", [(), (1, 2, 3, 4)], ids=["given", "constant"])
@pytest.mark.parametrize("dtype", [*NATIVE.split(), "bfloat16", "str"])
def test_parts_of_every_type(check_node: Check, dtype: str, constant: tuple[int, ...]) -> None:
    x = values((2, 3, 4), dtype)
    out = [name_of(x)]
    for starts, ends, axes, steps in (
        ([0], [2], [1], [1]),
        ([-1], [-100], [2], [-1]),
        ([-1], [0], [2], [-2]),
        ([10], [-10], [-1], [-3]),
        ([1, -3], [2**60, 2], [0, 1], [1, 1]),
        ([3], [1], [2], [1]),
    ):
        given = [x, ints(*starts), ints(*ends), ints(*axes), ints(*steps)]
        check_node("Slice", given, out, constant=constant)
    one = constant[:1]
    check_node("Split", [x, ints(1, 0, 3)], out * 3, {"axis": -1}, constant=one)
    check_node("Split", [x], out * 3, {"axis": 2, "num_outputs": 3})
    check_node("Concat", [x, x[:0], x], out, {"axis": 0})
    check_node("Tile", [x, ints(1, 2, 0)], out, constant=one)
    check_node("Tile", [x, ints(2, 1, 3)], out, constant=one)
    wide = np.broadcast_to(x[:, :1], (3, 2, 3, 4))
    check_node("Expand", [x[:, :1], ints(3, 1, 3, 1)], out, constant=one, expected=[wide])
    check_node("ReverseSequence", [x, ints(1, 3)], out, {"batch_axis": 0, "time_axis": 1}, opset=28)
    check_node(
        "ReverseSequence", [x, ints(1, 2, 0)], out, {"batch_axis": 1, "time_axis": 0}, opset=28
    )
    blocks = values((1, 8, 2, 3), dtype)
    for mode in ("DCR", "CRD"):
        attributes = {"blocksize": 2, "mode": mode}
        check_node("DepthToSpace", [blocks], out, attributes)
        check_node("SpaceToDepth", [values((2, 3, 4, 6), dtype)], out, attributes, opset=28)


@pytest.mark.parametrize("dtype", [*NATIVE.split(), "bfloat16"])
def test_zeros_around_and_beside(check_node: Check, dtype: str) -> None:
    x = values((2, 3, 4), dtype)
    out = [name_of(x)]
    for upper in (0, 1):
        for k in (0, 1, -2, 2**40):
            check_node("Trilu", [x, np.array(k)], out, {"upper": upper})
    check_node("CenterCropPad", [x, ints(5, 2, 4)], out)
    check_node("CenterCropPad", [x, ints(1, 7)], out, {"axes": [-1, 0]})
    value = values((3,), dtype)[2:].reshape(())
    for constant in ((), (1, 2, 3)):
        check_node("Pad", [x, ints(0, 1, 2, 1, 0, 1), value], out, constant=constant)
        check_node("Pad", [x, ints(1, 2), value, ints(-1)], out, constant=constant)


@pytest.mark.parametrize("constant", [(), (1, 2)], ids=["given", "constant"])
def test_negative_pads(check_node: Check, constant: tuple[int, ...]) -> None:
    x = values((2, 5), "float32")
    given = [x, ints(0, -2, 1, 1), np.array(7, np.float32)]
    want = np.pad(x[:, 2:], ((0, 1), (0, 1)), constant_values=7)
    check_node("Pad", given, ["float"], constant=constant, expected=[want])
    want = np.pad(x[:, 2:], ((0, 0), (0, 2)), mode="reflect")
    given = [x, ints(0, -2, 0, 2)]
    check_node("Pad", given, ["float"], {"mode": "reflect"}, expected=[want])


def test_images_are_padded(check_node: Check) -> None:
    x = values((2, 3, 5, 6), "float32")
    for mode in ("reflect", "edge"):
        check_node("Pad", [x, ints(0, 0, 2, 1, 0, 0, 3, 4)], ["float"], {"mode": mode})
    check_node("Pad", [x], ["float"], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 2.5}, opset=7)


def test_strings_are_padded_with_the_empty_one(check_node: Check) -> None:
    x = np.array(["a", "b"], object)
    want = np.array(["", "a", "b", ""], object)
    check_node("Pad", [x, ints(1, 1)], ["string"], expected=[want])
    want = np.array([["", "a", "b"]], object)
    check_node("CenterCropPad", [x[None], ints(1, 3)], ["string"], expected=[np.roll(want, -1)])


def test_attributes_of_old_versions(check_node: Check) -> None:
    x = values((1, 3, 1, 6), "float32")
    check_node("Squeeze", [x], ["float"], {"axes": [0, 2]}, opset=7)
    check_node("Unsqueeze", [x], ["float"], {"axes": [0, 5]}, opset=7)
    check_node("Split", [x], ["float"] * 2, {"axis": 3}, opset=7)
    check_node("Split", [x], ["float"] * 2, {"axis": 3, "split": [1, 5]}, opset=7)
    check_node(
        "Slice", [x], ["float"], {"starts": [1, -2], "ends": [9, 5], "axes": [1, 3]}, opset=7
    )
    check_node("Slice", [x], ["float"], {"starts": [-2], "ends": [5], "axes": [-1]}, opset=7)
    turned = [x.reshape(1, 9, 2)]
    check_node("Reshape", [x], ["float"], {"shape": [0, -1, 2]}, opset=1, expected=turned)
    twice = [np.concatenate([x, x], 1)]
    check_node("Concat", [x, x], ["float"], opset=1, expected=twice)


def test_minus_one_beside_a_copied_zero(check_node: Check) -> None:
    empty = np.zeros((0, 3, 4), np.float32)
    check_node("Reshape", [empty, ints(0, -1)], ["float"], expected=[np.zeros((0, 12), np.float32)])
    check_node("Reshape", [empty, ints(3, 0, 4)], ["float"], {"allowzero": 1})
    check_node("Flatten", [empty], ["float"], {"axis": 2}, expected=[np.zeros((0, 4), np.float32)])


def test_split_that_runs_out(run_node: Callable[..., list[Tensor]]) -> None:
    got = run_node("Split", [np.zeros(4, np.float32)], ["float"] * 3, {"num_outputs": 3})
    assert [t.shape for t in got] == [(2,), (2,), (0,)]


@pytest.mark.parametrize(
    ("op_type", "inputs", "words"),
    [
        ("Squeeze", [np.zeros((2, 3), np.float32), ints(1)], "cannot be squeezed"),
        ("Unsqueeze", [np.zeros(2, np.float32), ints(1, 1)], "twice"),
        ("Reshape", [np.zeros((2, 3), np.float32), ints(0, 0, 0)], "does not have"),
        ("Split", [np.zeros(4, np.float32), ints(1, 2)], "no split"),
        ("Expand", [np.zeros(4, np.float32), ints(3)], "broadcast"),
        ("Pad", [np.zeros((0,), np.float32), ints(1, 1)], "nothing to pad with"),
    ],
)
def test_what_cannot_be(
    run_node: Callable[..., list[Tensor]], op_type: str, inputs: list[Any], words: str
) -> None:
    attributes = {"mode": "edge"} if op_type == "Pad" else None
    outputs = ["float"] * (2 if op_type == "Split" else 1)
    with pytest.raises(ExecutionError, match=words):
        run_node(op_type, inputs, outputs, attributes)
