"""Fourier transforms against NumPy in double precision, windows and mel filters against ONNX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError
from hal.tensor import Tensor
from hal.types import ElementType

Check = Callable[..., None]
NEAR = {
    "float16": {"rtol": 2e-2, "atol": 1e-2},
    "bfloat16": {"rtol": 2e-2, "atol": 6e-2},
    "float32": {"rtol": 1e-6, "atol": 1e-6},
    "float64": {"rtol": 1e-12, "atol": 1e-12},
}


def test_official_cases(official_failures: Callable[..., list[str]]) -> None:
    operators = ["DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"]
    assert not official_failures(operators)


def signal(shape: tuple[int, ...], dtype: str) -> Any:
    x = np.random.default_rng(0).normal(size=shape)
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def by_numpy(x: Any, size: int | None, axis: int, inverse: int, onesided: int) -> Any:
    wide = x.astype(np.float64)
    own = wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]
    axis %= x.ndim
    if inverse and onesided:
        found = np.fft.irfft(own, size or 2 * (own.shape[axis] - 1), axis)
        return found[..., None].astype(x.dtype)
    transform = np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft
    found = transform(own, size or own.shape[axis], axis)
    return np.stack([found.real, found.imag], -1).astype(x.dtype)


@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize(("inverse", "onesided"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_dft(check_node: Check, dtype: str, inverse: int, onesided: int) -> None:
    for parts in (1, 2):
        if onesided and parts != 1 + inverse:
            continue
        x = signal((3, 7, 4, parts), dtype)
        names = [ElementType.from_dtype(x.dtype).onnx_name]
        attributes = {"inverse": inverse, "onesided": onesided}
        for size in (None, 5, 12):
            length = None if size is None else np.array(size)
            for axis in (1, -2):
                want = [by_numpy(x, size, axis, inverse, onesided)]
                given = [x, length, np.array(axis)]
                check_node("DFT", given, names, attributes, expected=want, **NEAR[dtype])
                old = {**attributes, "axis": axis}
                check_node("DFT", given[:2], names, old, opset=19, expected=want, **NEAR[dtype])


def test_dft_defaults(check_node: Check) -> None:
    x = signal((3, 5, 4, 1), "float32")
    near = NEAR["float32"]
    check_node("DFT", [x], ["float"], expected=[by_numpy(x, None, -2, 0, 0)], **near)
    check_node("DFT", [x], ["float"], opset=19, expected=[by_numpy(x, None, 1, 0, 0)], **near)


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("onesided", [0, 1])
def test_dft_of_an_empty_batch(
    run_node: Callable[..., list[Tensor]], inverse: int, onesided: int
) -> None:
    parts = 2 if inverse or not onesided else 1
    given = [signal((0, 6, parts), "float32"), None, np.array(1)]
    (found,) = run_node("DFT", given, ["float"], {"inverse": inverse, "onesided": onesided})
    ends = {(0, 0): (6, 2), (0, 1): (4, 2), (1, 0): (6, 2), (1, 1): (10, 1)}
    assert found.shape == (0, *ends[inverse, onesided])


def test_dft_along_the_parts_of_a_number(run_node: Callable[..., list[Tensor]]) -> None:
    with pytest.raises(ExecutionError, match="no axis of the signal"):
        run_node("DFT", [signal((2, 4, 1), "float32"), None, np.array(-1)], ["float"])


@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize(("parts", "onesided"), [(1, 0), (1, 1), (2, 0)])
def test_stft(check_node: Check, dtype: str, parts: int, onesided: int) -> None:
    x = signal((2, 30, parts), dtype)
    window = np.hanning(8).astype(x.dtype)
    for shape, length in ((window, np.array(8)), (window, None), (None, np.array(8)), (None, None)):
        size = 8 if shape is not None or length is not None else 30
        starts = range(0, 30 - size + 1, 3)
        weights = 1.0 if shape is None else shape.astype(np.float64)[None, :, None]
        frames = [x[:, s : s + size].astype(np.float64) * weights for s in starts]
        spectra = [
            by_numpy(f, None, 1, 0, 0)[:, : size // 2 + 1 if onesided else size] for f in frames
        ]
        want = np.stack(spectra, 1).astype(x.dtype)
        names = [ElementType.from_dtype(x.dtype).onnx_name]
        given = [x, np.array(3), shape, length]
        check_node("STFT", given, names, {"onesided": onesided}, expected=[want], **NEAR[dtype])


@pytest.mark.parametrize("op_type", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("name", ["float", "double", "float16", "bfloat16", "int32", "uint8"])
def test_windows(check_node: Check, op_type: str, name: str) -> None:
    near = {"double": 1e-12, "float": 1e-6}.get(name, 8e-3)
    for periodic in (0, 1):
        for size in (0, 2, 9, 10):
            attributes = {
                "periodic": periodic,
                "output_datatype": int(ElementType.from_onnx_name(name)),
            }
            check_node(op_type, [np.array(size)], [name], attributes, rtol=near, atol=near)


@pytest.mark.parametrize("name", ["float", "double", "int32"])
def test_mel_weights(check_node: Check, name: str) -> None:
    attributes = {"output_datatype": int(ElementType.from_onnx_name(name))}
    for bands, size, rate, low, high in ((8, 16, 8192, 0, 4096), (20, 512, 16000, 20, 8000)):
        edges = [np.array(low, np.float32), np.array(high, np.float32)]
        given = [*(np.array(v) for v in (bands, size, rate)), *edges]
        check_node("MelWeightMatrix", given, [name], attributes, rtol=1e-6, atol=1e-7)
