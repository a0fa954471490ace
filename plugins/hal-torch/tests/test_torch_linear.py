"""Matrix products against NumPy and ONNX's reference, integers modulo 2^n included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hal_torch.kernels import linear

INTEGERS = ["int32", "int64", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
NAMES = {"float32": "float", "float64": "double"}
NEAR = {
    "float16": {"rtol": 4e-3, "atol": 4e-3},
    "bfloat16": {"rtol": 3e-2, "atol": 6e-2},
    "float32": {"rtol": 1e-5, "atol": 1e-5},
}
Check = Callable[..., None]

PRODUCTS = [
    ((3, 4), (4, 5)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((4,), (4,)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((0, 4), (4, 2)),
    ((3, 0), (0, 2)),
]
EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 4)),
    ("bij,bjk", (2, 2, 3), (2, 3, 4)),
    ("ii->i", (3, 3)),
    ("...ii->...i", (2, 3, 3)),
    ("ii", (3, 3)),
    ("i,j->ij", (2,), (3,)),
    ("ij->", (2, 3)),
    (" i j , jk , k -> i ", (2, 3), (3, 4), (4,)),
    ("aB,Ba->aB", (2, 3), (3, 2)),
    ("i...,i...->...", (2, 3), (2, 4, 3)),
    ("ij,jk->ik", (0, 3), (3, 4)),
]


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if dtype == "bfloat16":
        return rng.normal(size=shape).astype(ml_dtypes.bfloat16)
    if dtype in FLOATS:
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def test_official_cases(official_failures: Callable[..., list[str]]) -> None:
    assert not official_failures(["MatMul", "Gemm", "Einsum", "Det"])


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_matmul(check_node: Check, dtype: str) -> None:
    for one, other in PRODUCTS:
        given = [values(one, dtype), values(other, dtype, 1)]
        check_node("MatMul", given, [NAMES.get(dtype, dtype)], **NEAR.get(dtype, {"rtol": 1e-12}))


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("constant", [(), (1, 2)], ids=["given", "constant"])
def test_gemm(check_node: Check, dtype: str, constant: tuple[int, ...]) -> None:
    def small(shape: tuple[int, ...], seed: int) -> Any:
        if dtype in FLOATS:
            return values(shape, dtype, seed)
        return np.random.default_rng(seed).integers(0, 99, shape).astype(dtype)

    for shape in (None, (3, 5), (5,), (1,), (3, 1), ()):
        for turn_a, turn_b, alpha, beta in (
            (0, 0, 1, 1),
            (1, 0, 2, 0.5),
            (0, 1, 1, 1),
            (1, 1, 0.25, 2),
        ):
            a, b = small((4, 3) if turn_a else (3, 4), 1), small((5, 4) if turn_b else (4, 5), 2)
            given = [a, b] if shape is None else [a, b, small(shape, 3)]
            attributes = {
                "transA": turn_a, "transB": turn_b, "alpha": float(alpha), "beta": float(beta)
            }  # fmt: skip
            check_node(
                "Gemm",
                given,
                [NAMES.get(dtype, dtype)],
                attributes,
                constant=[i for i in constant if i < len(given)],
                **NEAR.get(dtype, {"rtol": 1e-12}),
            )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", *INTEGERS, *FLOATS])
def test_einsum(check_node: Check, dtype: str) -> None:
    for equation, *shapes in EQUATIONS:
        given = [values(shape, dtype, i) for i, shape in enumerate(shapes)]
        near = NEAR.get(dtype, {"rtol": 1e-12})
        check_node(
            "Einsum", given, [NAMES.get(dtype, dtype)], {"equation": equation}, opset=28, **near
        )


def test_products_on_devices_without_integer_ones() -> None:
    for dtype in ("int32", "int64"):
        a, b = values((3, 70), dtype), values((70, 4), dtype, 1)
        got = linear._limbs(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        assert np.array_equal(got, a @ b)
    for equation, *shapes in EQUATIONS:
        plain = equation.replace(" ", "")
        xs = [values(shape, "int64", i) for i, shape in enumerate(shapes)]
        labels = linear._labels(plain, len(xs))
        sums = linear._sum_of_products([torch.from_numpy(x) for x in xs], *labels).numpy()
        assert np.array_equal(sums, np.einsum(plain, *xs)), equation


@pytest.mark.parametrize("dtype", FLOATS)
def test_det(check_node: Check, dtype: str) -> None:
    for shape in ((2, 3, 3), (3, 3), (2, 0, 0)):
        x = values(shape, dtype)
        want = np.asarray(np.linalg.det(x.astype(np.float64))).astype(x.dtype)
        near = NEAR.get(dtype, {"rtol": 1e-12, "atol": 1e-12})
        check_node("Det", [x], [NAMES.get(dtype, dtype)], expected=[want], **near)
