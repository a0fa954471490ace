"""Vision: the official cases, and what these leave out against ONNX's reference evaluator."""

from __future__ import annotations

import io
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import UnsupportedError

OPERATORS = ("GridSample", "AffineGrid", "RoiAlign", "NonMaxSuppression")


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def grid_of(*shape: int) -> Any:
    return np.random.default_rng(5).uniform(-1.9, 1.9, shape).astype(np.float32)


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize(
    ("mode", "padding"),
    [
        (mode, padding)
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        # There the reference differs from torch and onnxruntime; see the test below.
        if (mode, padding) != ("cubic", "border")
    ],
)
@pytest.mark.parametrize("sizes", [(5,), (4, 5), (3, 4, 5)])
def test_grid_sample(
    check_node: Any, values: Any, sizes: Any, mode: str, padding: str, align_corners: int
) -> None:
    x = values(np.float32, (2, 2, *sizes))
    grid = grid_of(2, *[3] * len(sizes), len(sizes))
    given = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    check_node("GridSample", [x, grid], ["float"], given, opset=22, rtol=1e-4, atol=1e-4)


def test_cubic_border_takes_the_border_for_each_neighbour(run_node: Any) -> None:
    x = np.float32([[[[1, 2, 4, 8]]]])
    # 0.25 elements before the first: neighbours 1, 1, 1, 2 with the kernel's weights at 0.75.
    grid = np.float32([[[[(2 * -0.25 + 1) / 4 - 1, 0]]]])
    given = {"mode": "cubic", "padding_mode": "border"}
    (got,) = run_node("GridSample", [x, grid], ["float"], given, opset=22)
    a, t = -0.75, 1.25
    last = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    np.testing.assert_allclose(got.numpy().ravel(), [1 + last], rtol=1e-5)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "double", "int8", "uint64", "complex64"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_types(run_node: Any, values: Any, mode: str, name: str) -> None:
    dtype = np.dtype({"double": "float64"}.get(name, getattr(ml_dtypes, name, None) or name))
    x = (np.arange(40).reshape(1, 2, 4, 5) * 3).astype(dtype)
    grid = grid_of(1, 3, 3, 2)
    given = {"mode": mode, "padding_mode": "border"}
    (got,) = run_node("GridSample", [x, grid], [name], given, opset=22)
    wide = x.real.astype(np.float32) if dtype.kind == "c" else x.astype(np.float32)
    (want,) = run_node("GridSample", [wide, grid], ["float"], given, opset=22)
    have = got.numpy()
    assert have.dtype == dtype
    if dtype.kind in "iu":
        np.testing.assert_array_equal(have, np.trunc(want.numpy()).astype(dtype))
    else:
        real = have.real.astype(np.float32)
        np.testing.assert_allclose(real, want.numpy(), rtol=1e-2, atol=1e-3)


def test_grid_sample_strings(run_node: Any) -> None:
    x = np.array([[[["a", "b"], ["c", "d"]]]], dtype=object)
    grid = np.float32([[[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [3, 0]]]])
    (got,) = run_node("GridSample", [x, grid], ["string"], {"mode": "nearest"}, opset=20)
    assert got.numpy().ravel().tolist() == ["a", "b", "d", ""]
    with pytest.raises(UnsupportedError, match="strings have no mode linear"):
        run_node("GridSample", [x, grid], ["string"], opset=20)


@pytest.mark.parametrize("name", ["float", "double", "float16", "bfloat16"])
@pytest.mark.parametrize("align_corners", [0, 1])
def test_affine_grid(run_node: Any, align_corners: int, name: str) -> None:
    dtype = {"float": np.float32, "double": np.float64, "float16": np.float16}.get(
        name, ml_dtypes.bfloat16
    )
    theta = np.array([[[1, 0.5, 0.25], [0, -2, 1]]], dtype)
    size = np.int64([1, 1, 2, 3])
    (got,) = run_node("AffineGrid", [theta, size], [name], {"align_corners": align_corners})
    if align_corners:
        steps = [np.linspace(-1, 1, n) for n in (2, 3)]
    else:
        steps = [(np.arange(n) * 2 + 1) / n - 1 for n in (2, 3)]
    y, x = np.meshgrid(*steps, indexing="ij")
    want = np.stack([x + 0.5 * y + 0.25, -2 * y + 1], axis=-1)[None]
    np.testing.assert_allclose(got.numpy().astype(np.float64), want, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("shift", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(check_node: Any, values: Any, mode: str, samples: int, shift: str) -> None:
    x = values(np.float32, (2, 3, 8, 9))
    rois = np.float32([[0, 0, 4, 5], [-3, 1, 2, 2.5], [5, 6, 20, 19], [2, 2, 2, 2], [1, 3, 7, 3.5]])
    given = {
        "mode": mode,
        "sampling_ratio": samples,
        "output_height": 2,
        "output_width": 3,
        "spatial_scale": 0.5,
        "coordinate_transformation_mode": shift,
    }
    batches = np.int64([0, 1, 1, 0, 1])
    check_node("RoiAlign", [x, rois, batches], ["float"], given, opset=16, rtol=1e-4, atol=1e-5)
    check_node("RoiAlign", [x, rois[:0], batches[:0]], ["float"], given, opset=16)


def test_roi_align_before_16_has_no_shift(run_node: Any, values: Any) -> None:
    x, rois = values(np.float32, (1, 1, 6, 6)), np.float32([[0.5, 1, 4, 3]])
    given = {"output_height": 2, "output_width": 2, "sampling_ratio": 2}
    (old,) = run_node("RoiAlign", [x, rois, np.int64([0])], ["float"], given, opset=10)
    given["coordinate_transformation_mode"] = "output_half_pixel"
    (new,) = run_node("RoiAlign", [x, rois, np.int64([0])], ["float"], given, opset=16)
    np.testing.assert_array_equal(old.numpy(), new.numpy())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("centred", [0, 1])
def test_non_max_suppression(check_node: Any, seed: int, centred: int) -> None:
    random = np.random.default_rng(seed)
    boxes = random.uniform(0, 1, (2, 40, 4)).astype(np.float32)
    scores = random.uniform(0, 1, (2, 3, 40)).astype(np.float32)
    if seed % 2:  # ties, and boxes without an area
        boxes, scores = np.round(boxes * 4) / 4, np.round(scores * 4) / 4
    most = np.int64([0, 1, 5, 100][seed % 4])
    inputs: list[Any] = [boxes, scores, np.asarray(most), np.asarray(np.float32(0.3))]
    if seed > 3:
        inputs.append(np.asarray(np.float32(0.5)))
    inputs[2:] = [i.reshape(1) for i in inputs[2:]]
    check_node("NonMaxSuppression", inputs, ["int64"], {"center_point_box": centred}, opset=11)


def test_non_max_suppression_selects_nothing_by_default(run_node: Any) -> None:
    inputs = [np.zeros((1, 3, 4), np.float32), np.ones((1, 1, 3), np.float32)]
    (got,) = run_node("NonMaxSuppression", inputs, ["int64"], opset=11)
    assert got.shape == (0, 3)


def encoded(image: Any, format_: str) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, format=format_)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def test_official_images(official_failures: Any) -> None:
    pytest.importorskip("PIL")
    assert official_failures(["ImageDecoder"]) == []


def test_image_decoder_makes_three_channels_of_any_image(run_node: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    gray = image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    (got,) = run_node("ImageDecoder", [encoded(gray, "png")], ["uint8"], {"pixel_format": "BGR"})
    np.testing.assert_array_equal(got.numpy(), np.asarray(gray)[:, :, None].repeat(3, axis=2))


def test_image_decoder_gives_no_pixels_for_what_is_no_image(run_node: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    cut = encoded(image.new("RGB", (64, 64), (1, 2, 3)), "png")[:60]
    for data in (np.arange(50, dtype=np.uint8), np.zeros(0, np.uint8), cut):
        (got,) = run_node("ImageDecoder", [data], ["uint8"], {"pixel_format": "Grayscale"})
        assert got.shape == (0, 0, 1)


def test_image_decoder_without_pillow(run_node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnsupportedError, match="Pillow"):
        run_node("ImageDecoder", [np.zeros(3, np.uint8)], ["uint8"])
