"""Conv, ConvTranspose, DeformConv and Col2Im: the official cases, and what these leave out."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError, UnsupportedError

OPERATORS = ("Conv", "ConvTranspose", "DeformConv", "Col2Im")


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize(
    ("sizes", "kernel", "attributes"),
    [
        ((9,), (3,), {"strides": [2], "pads": [0, 2]}),
        ((7, 6), (3, 2), {"dilations": [2, 1], "pads": [2, 0, 1, 3]}),
        ((7, 6), (3, 2), {"strides": [2, 3], "auto_pad": "SAME_LOWER"}),
        ((7, 6), (3, 2), {"strides": [2, 3], "auto_pad": "SAME_UPPER"}),
        ((7, 6), (3, 2), {"auto_pad": "VALID", "group": 2}),
        ((5, 4, 6), (2, 3, 1), {"pads": [1, 1, 0, 1, 1, 0]}),
    ],
)
def test_conv(
    check_node: Any, values: Any, opset: int, sizes: Any, kernel: Any, attributes: Any
) -> None:
    group = attributes.get("group", 1)
    x = values(np.float32, (2, 4, *sizes))
    w = values(np.float32, (6, 4 // group, *kernel))
    check_node(
        "Conv",
        [x, w, values(np.float32, (6,))],
        ["float"],
        attributes,
        opset=opset,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("constant", [(), (1, 2)])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_types(run_node: Any, values: Any, operator: str, dtype: Any, constant: Any) -> None:
    inputs = [values(np.float32, s) for s in ((1, 3, 5, 5), (3, 3, 3, 3), (3,))]
    low = [x.astype(dtype) for x in inputs]
    name = {"float16": "float16", "bfloat16": "bfloat16", "float64": "double"}[str(low[0].dtype)]
    (got,) = run_node(operator, low, [name], {"pads": [1, 0, 0, 1]}, constant=constant)
    (want,) = run_node(
        operator, [x.astype(np.float32) for x in low], ["float"], {"pads": [1, 0, 0, 1]}
    )
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "double": 1e-5}[name]
    np.testing.assert_allclose(
        got.numpy().astype(np.float64), want.numpy(), rtol=tolerance, atol=10 * tolerance
    )


def full_transpose(x: Any, w: Any, strides: Any) -> Any:
    """A two-dimensional transposed convolution without padding, from its definition."""
    rows = (x.shape[2] - 1) * strides[0] + w.shape[2]
    columns = (x.shape[3] - 1) * strides[1] + w.shape[3]
    y = np.zeros((x.shape[0], w.shape[1], rows, columns), np.float32)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            block = np.einsum("nc,cmkl->nmkl", x[:, :, i, j], w)
            at = (i * strides[0], j * strides[1])
            y[:, :, at[0] : at[0] + w.shape[2], at[1] : at[1] + w.shape[3]] += block
    return y


@pytest.mark.parametrize(
    ("attributes", "cut"),
    [
        ({"pads": [1, 0, 0, 2]}, ((1, 0), (0, 2))),
        ({"output_padding": [1, 1]}, ((0, -1), (0, -1))),
        ({"pads": [1, 1, 1, 1], "output_padding": [1, 0]}, ((1, 0), (1, 1))),
        ({"output_shape": [8, 7]}, ((1, 0), (1, 1))),
        ({"output_shape": [8, 7], "auto_pad": "SAME_UPPER"}, ((0, 1), (1, 1))),
        ({"output_shape": [2, 2, 8, 7]}, ((1, 0), (1, 1))),
        ({"output_shape": [11, 9]}, ((0, -2), (0, 0))),
        ({"auto_pad": "SAME_UPPER"}, ((0, 1), (0, 1))),
        ({"auto_pad": "SAME_LOWER"}, ((1, 0), (1, 0))),
    ],
)
def test_conv_transpose_padding(run_node: Any, values: Any, attributes: Any, cut: Any) -> None:
    x, w = values(np.float32, (1, 3, 4, 4)), values(np.float32, (3, 2, 3, 3))
    b = np.float32([10, 20])
    full = full_transpose(x, w, (2, 2))
    (got,) = run_node("ConvTranspose", [x, w, b], ["float"], {"strides": [2, 2], **attributes})
    behind = [max(-c[1], 0) for c in cut]
    full = np.pad(full, ((0, 0), (0, 0), (0, behind[0]), (0, behind[1])))
    ends = [size - max(c[1], 0) for size, c in zip(full.shape[2:], cut, strict=True)]
    want = full[:, :, cut[0][0] : ends[0], cut[1][0] : ends[1]] + b[:, None, None]
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-4)


def test_deform_conv_without_offsets_is_conv_in_three_dimensions(
    run_node: Any, values: Any
) -> None:
    x, w = values(np.float32, (2, 4, 3, 4, 5)), values(np.float32, (4, 2, 2, 2, 2))
    attributes = {"group": 2, "pads": [1, 0, 0, 0, 1, 1], "strides": [1, 2, 1]}
    (want,) = run_node("Conv", [x, w], ["float"], attributes)
    offset = np.zeros((2, 2 * 8 * 3, *want.shape[2:]), np.float32)
    (got,) = run_node("DeformConv", [x, w, offset], ["float"], {**attributes, "offset_group": 2})
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-4, atol=1e-4)


def test_deform_conv_with_offsets_and_mask(check_node: Any, values: Any) -> None:
    x, w = values(np.float32, (1, 2, 4, 4)), values(np.float32, (3, 2, 2, 2))
    offset, mask = values(np.float32, (1, 8, 3, 3)), values(np.float32, (1, 4, 3, 3))
    b = values(np.float32, (3,))
    check_node("DeformConv", [x, w, offset, b, mask], ["float"], opset=19, rtol=1e-4, atol=1e-4)


def folded(x: Any, sizes: Any, kernel: Any, strides: Any, begins: Any, counts: Any) -> Any:
    """Col2Im of one channel of one axis, from its definition."""
    made = np.zeros((x.shape[0], 1, *sizes), x.dtype)
    for k in range(kernel[0]):
        for step in range(counts[0]):
            at = step * strides[0] + k - begins[0]
            if 0 <= at < sizes[0]:
                made[:, 0, at] += x[:, k, step]
    return made


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", "int32", "float64", "complex64"])
def test_col2im_types_and_one_axis(run_node: Any, dtype: str) -> None:
    counts = ((7 + 1 + 2 - 3) // 2 + 1,)
    x = (np.arange(2 * 3 * counts[0]).reshape(2, 3, -1) * 37).astype(dtype)
    if dtype == "uint64":
        x += np.uint64(2**63)  # sums wrap
    name = {"float64": "double"}.get(dtype, dtype)
    shape, block = np.int64([7]), np.int64([3])
    (got,) = run_node(
        "Col2Im", [x, shape, block], [name], {"pads": [1, 2], "strides": [2]}, opset=18
    )
    np.testing.assert_array_equal(got.numpy(), folded(x, (7,), (3,), (2,), (1,), counts))


def test_empty_batch(run_node: Any) -> None:
    x, w = np.zeros((0, 3, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    (got,) = run_node("Conv", [x, w], ["float"])
    assert got.shape == (0, 2, 3, 3)


def test_four_spatial_axes_are_refused_at_compile(run_node: Any) -> None:
    x, w = np.ones((1, 1, 2, 2, 2, 2), np.float32), np.ones((1, 1, 1, 1, 1, 1), np.float32)
    with pytest.raises((UnsupportedError, ExecutionError), match="4 spatial axes"):
        run_node("Conv", [x, w], ["float"])
