"""Products of com.microsoft against onnxruntime: fused ones, packed weights, convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

F32 = np.float32


def floats(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def whole(dtype: Any, *shape: int, seed: int = 1) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


@pytest.mark.parametrize(
    ("a", "b", "attributes"),
    [
        ((2, 3, 4), (2, 4, 5), {"alpha": 0.5}),
        ((4, 3), (5, 4), {"transA": 1, "transB": 1}),
        ((3, 2, 4), (2, 4, 5), {"transBatchA": 1}),
        ((4, 2, 3), (2, 4, 5), {"transBatchA": 1, "transA": 1}),
        ((2, 3, 4), (4, 2, 5), {"transBatchB": 1}),
        ((4,), (4, 5), {"transA": 1}),
    ],
)
def test_fused_matmul(check_ort: Any, a: Any, b: Any, attributes: Any) -> None:
    check_ort("FusedMatMul", [floats(*a), floats(*b, seed=2)], ["float"], attributes)
    if not any("Batch" in name for name in attributes):
        check_ort("TransposeMatMul", [floats(*a), floats(*b, seed=2)], ["float"], attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu"},
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1},
        {"activation": "Tanh", "alpha": 0.5, "beta": 2.0, "transA": 1},
        {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4},
    ],
    ids=lambda a: a["activation"],
)
@pytest.mark.parametrize("bias", [False, True])
def test_fused_gemm(check_ort: Any, attributes: Any, bias: bool) -> None:
    a = floats(4, 3) if attributes.get("transA") else floats(3, 4)
    b = floats(5, 4, seed=2) if attributes.get("transB") else floats(4, 5, seed=2)
    check_ort("FusedGemm", [a, b, floats(5) if bias else None], ["float"], attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu", "pads": [1, 1, 1, 1]},
        {"activation": "Clip", "activation_params": [-0.5, 0.5], "strides": [2, 2]},
        {"activation": "HardSigmoid", "activation_params": [0.2, 0.5], "auto_pad": "SAME_UPPER"},
        {"activation": "Sigmoid", "group": 2},
    ],
    ids=lambda a: a["activation"],
)
def test_fused_conv(check_ort: Any, attributes: Any) -> None:
    w = floats(4, 4 // attributes.get("group", 1), 3, 3, seed=2)
    check_ort("FusedConv", [floats(1, 4, 7, 6), w, floats(4)], ["float"], attributes, rtol=1e-3)


def test_fused_conv_adds_residual(check_ort: Any) -> None:
    inputs = [floats(1, 4, 5, 5), floats(4, 4, 1, 1, seed=2), floats(4), floats(1, 4, 5, 5, seed=3)]
    check_ort("FusedConv", inputs, ["float"], {"activation": "Relu"})


@pytest.mark.parametrize("constant", [False, True], ids=["fed", "constant"])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize(("bits", "block"), [(4, 16), (4, 32), (8, 32), (2, 32)])
def test_matmul_nbits(check_ort: Any, bits: int, block: int, zeros: str, constant: bool) -> None:
    rows, columns = 5, 72  # the last block is not full
    blocks = -(-columns // block)
    inputs = [
        floats(2, 3, columns),
        whole(np.uint8, rows, blocks, block * bits // 8),
        floats(rows, blocks),
        None,
        None,
        floats(rows, seed=3),
    ]
    if zeros == "packed":
        inputs[3] = whole(np.uint8, rows, -(-blocks * bits // 8), seed=4)
    elif zeros == "float":
        if bits != 4:
            pytest.skip("onnxruntime takes zero points as floats for four bits only")
        inputs[3] = floats(rows, blocks, seed=4)
    attributes = {"K": columns, "N": rows, "bits": bits, "block_size": block}
    tolerance = {8: 2e-2, 4: 1e-3, 2: 1e-3}[bits]
    check_ort(
        "MatMulNBits",
        inputs,
        ["float"],
        attributes,
        constant=(1, 2, 3) if constant else (),
        rtol=1e-3,
        atol=tolerance,
    )


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_gather_block_quantized(check_ort: Any, bits: int, zeros: bool) -> None:
    data = whole(np.uint8, 6, 64 * bits // 8)
    scales = floats(6, 4)
    zero = whole(np.uint8, 6, 4 * bits // 8, seed=3) if zeros else None
    indices = np.array([[1, 5], [-1, 0]], np.int64)
    attributes = {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
    inputs = [data, indices, scales, zero]
    check_ort("GatherBlockQuantized", inputs, ["float"], attributes, constant=(0, 2, 3))


def test_matmul_nbits_refuses_by_name(run_microsoft: Any) -> None:
    with pytest.raises(Exception, match="3 bits"):
        run_microsoft(
            "MatMulNBits",
            [floats(1, 16), whole(np.uint8, 2, 1, 6), floats(2, 1)],
            {"K": 16, "N": 2, "bits": 3, "block_size": 16},
        )
