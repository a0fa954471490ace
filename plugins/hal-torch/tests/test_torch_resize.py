"""Resize and Upsample: the official cases; types, axes, old versions."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError, UnsupportedError

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize("operator", ["Resize", "Upsample"])
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(
    "mode",
    [
        *({"mode": "nearest", "nearest_mode": n} for n in NEAREST),
        {"mode": "linear"},
        {"mode": "linear", "antialias": 1},
        {"mode": "linear", "exclude_outside": 1},
        {"mode": "cubic"},
        {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
        {"mode": "cubic", "antialias": 1},
    ],
    ids=lambda mode: "-".join(map(str, mode.values())),
)
def test_against_the_reference(
    check_node: Any, values: Any, mode: dict[str, Any], coordinates: str
) -> None:
    given = {**mode, "coordinate_transformation_mode": coordinates}
    roi = None
    if coordinates == "tf_crop_and_resize":
        given["extrapolation_value"] = 7.5
        roi = np.float32([0, 0, 0.25, -0.5, 1, 1, 0.75, 1.5])
    x = values(np.float32, (2, 3, 4, 6))
    sizes = [np.int64([2, 3, 8, 3]), np.int64([2, 3, 3, 9])]
    for size in sizes:
        check_node("Resize", [x, roi, None, size], ["float"], given, rtol=1e-5, atol=1e-5)
    scales = np.float32([1, 1, 2, 0.5])
    check_node("Resize", [x, roi, scales], ["float"], given, rtol=1e-5, atol=1e-5)
    if roi is None:
        for policy in ("not_larger", "not_smaller"):
            more = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
            check_node(
                "Resize",
                [x, None, None, np.int64([8, 12])],
                ["float"],
                {**given, **more},
                rtol=1e-5,
                atol=1e-5,
            )


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 2, 3, 2), (1, 2, 2, 2, 3, 2)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_ranks(check_node: Any, values: Any, mode: str, shape: tuple[int, ...]) -> None:
    x = values(np.float32, shape)
    scales = np.float32([1] * (len(shape) - 1) + [2])
    if len(shape) > 2:
        scales[1] = 1.5
    check_node("Resize", [x, None, scales], ["float"], {"mode": mode}, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "dtype",
    [
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("bool", "complex64", "complex128", "float64", "float16", "bfloat16"),
    ],
)
def test_nearest_is_exact_for_every_type(run_node: Any, values: Any, dtype: str) -> None:
    real = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    base = real if real.kind in "iu" else np.float32
    x = values(base, (2, 3, 4)).astype(real)
    if dtype == "bool":
        x = values(np.int8, (2, 3, 4)) > 0
    name = {"float64": "double"}.get(dtype, dtype)
    given = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    (got,) = run_node("Resize", [x, None, np.float32([1, 2, 3])], [name], given, opset=19)
    np.testing.assert_array_equal(got.numpy(), x.repeat(2, axis=1).repeat(3, axis=2))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint16"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_weighted_integers_are_rounded_and_saturated(
    check_node: Any, values: Any, mode: str, dtype: str
) -> None:
    x = values(dtype, (1, 1, 5, 4))
    if dtype == "int64":
        x = x >> 20  # the oracle has 53 bits too
    if mode == "cubic" and dtype in ("int32", "int64"):
        x = x >> (x.itemsize * 4)  # and cubic weights in float32
    check_node("Resize", [x, None, np.float32([1, 1, 2, 0.75])], [dtype], {"mode": mode})


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_half_precision_is_rounded_once(run_node: Any, values: Any, mode: str, name: str) -> None:
    dtype = np.float16 if name == "float16" else ml_dtypes.bfloat16
    x = values(np.float32, (1, 2, 5, 4)).astype(dtype)
    scales = np.float32([1, 1, 2, 0.75])
    (got,) = run_node("Resize", [x, None, scales], [name], {"mode": mode})
    (want,) = run_node("Resize", [x.astype(np.float32), None, scales], ["float"], {"mode": mode})
    have = got.numpy().astype(np.float32)
    np.testing.assert_allclose(have, want.numpy().astype(dtype).astype(np.float32), rtol=1e-2)


def test_strings(run_node: Any) -> None:
    x = np.array([["a", "b"], ["c", "d"]], dtype=object)
    given = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    (got,) = run_node("Resize", [x, None, np.float32([1, 2])], ["string"], given, opset=19)
    assert got.numpy().tolist() == [["a", "a", "b", "b"], ["c", "c", "d", "d"]]
    (old,) = run_node("Resize", [x, np.float32([2, 1])], ["string"], opset=10)
    assert old.numpy().tolist() == [["a", "b"], ["a", "b"], ["c", "d"], ["c", "d"]]
    with pytest.raises(UnsupportedError, match="strings have no mode linear"):
        run_node("Resize", [x, None, np.float32([1, 2])], ["string"], {"mode": "linear"})


@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
def test_old_versions(run_node: Any, operator: str, opset: int) -> None:
    x = np.float32([[[[1, 2], [3, 4]]]])
    scales = [1.0, 1.0, 2.0, 1.0]
    for mode, rows in (("nearest", [1, 1, 3, 3]), ("linear", [1, 2, 3, 3])):
        given: dict[str, Any] = {"mode": mode}
        inputs = [x]
        if opset == 7:
            given["scales"] = scales
        else:
            inputs.append(np.float32(scales))
        (got,) = run_node(operator, inputs, ["float"], given, opset=opset)
        np.testing.assert_array_equal(got.numpy()[0, 0, :, 0], rows)


def test_version_10_picks_the_element_above_when_it_shrinks(run_node: Any) -> None:
    """As onnxruntime does; the standard had no nearest_mode yet."""
    x = np.arange(10, dtype=np.float32).reshape(1, 1, 10)
    (got,) = run_node("Resize", [x, np.float32([1, 1, 0.6])], ["float"], opset=10)
    assert got.numpy().ravel().tolist() == [0, 2, 4, 5, 7, 9]


def test_tf_half_pixel_for_nn(run_node: Any) -> None:
    x = np.float32([[[1, 2, 3, 4]]])
    given = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
    roi = np.zeros(0, np.float32)
    (got,) = run_node("Resize", [x, roi, np.float32([1, 1, 0.5])], ["float"], given, opset=11)
    assert got.numpy().ravel().tolist() == [2, 4]


def test_negative_axes(run_node: Any, values: Any) -> None:
    x, scales = values(np.float32, (2, 3, 4)), np.float32([2])
    got, want = (
        run_node("Resize", [x, None, scales], ["float"], {"axes": [axis]})[0] for axis in (-2, 1)
    )
    np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_no_elements(run_node: Any, mode: str) -> None:
    x = np.zeros((0, 3, 4, 4), np.float32)
    (got,) = run_node("Resize", [x, None, np.float32([1, 1, 2, 2])], ["float"], {"mode": mode})
    assert got.shape == (0, 3, 8, 8)


def test_scales_that_do_not_fit(run_node: Any) -> None:
    x = np.zeros((1, 3, 4), np.float32)
    with pytest.raises(ExecutionError, match="scales or sizes for 3 axes"):
        run_node("Resize", [x, None, np.float32([2, 2])], ["float"])
