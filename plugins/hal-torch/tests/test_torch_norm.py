"""Normalisation and Dropout: the official cases, types, old versions, training, chance."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

OPERATORS = (
    "BatchNormalization",
    "Dropout",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "LpNormalization",
    "MeanVarianceNormalization",
    "RMSNormalization",
)
TYPES = {
    "float": (np.float32, 1e-5),
    "double": (np.float64, 1e-9),
    "float16": (np.float16, 4e-3),
    "bfloat16": (ml_dtypes.bfloat16, 3e-2),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def case(operator: str, wide: Any) -> tuple[list[Any], dict[str, Any], Any, int]:
    """Inputs, attributes, the expected output by the definition in float64, the opset."""
    x, c = wide((2, 6, 4, 5)), wide((6,))
    shaped = c.reshape(1, 6, 1, 1)
    if operator == "BatchNormalization":
        var = np.abs(c) + 0.5
        y = (x - shaped) / np.sqrt(var.reshape(1, 6, 1, 1) + 0.01) * shaped + shaped
        return [x, c, c, c, var], {"epsilon": 0.01}, y, 15
    if operator in ("InstanceNormalization", "GroupNormalization"):
        groups = 6 if operator == "InstanceNormalization" else 2
        parts = x.reshape(2, groups, -1)
        y = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + 0.01)
        given: dict[str, Any] = {"epsilon": 0.01}
        if groups == 2:
            given["num_groups"] = 2
        return [x, c, c], given, y.reshape(x.shape) * shaped + shaped, 22
    if operator == "LayerNormalization":
        w, b = wide((4, 5)), wide((1, 5))
        y = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
        return [x, w, b], {"axis": 2}, y * w + b, 17
    if operator == "RMSNormalization":
        w = wide((5,))
        return [x, w], {}, x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w, 23
    if operator == "LRN":
        squares = np.pad(x**2, ((0, 0), (1, 2), (0, 0), (0, 0)))
        total = sum(squares[:, i : i + 6] for i in range(4))
        return [x], {"size": 4, "alpha": 0.5}, x / (1 + 0.5 / 4 * total) ** 0.75, 13
    if operator == "LpNormalization":
        return [x], {"p": 1, "axis": 1}, x / np.abs(x).sum(1, keepdims=True), 22
    spread = x.std((1, 3), keepdims=True) + 1e-9
    return [x], {"axes": [1, -1]}, (x - x.mean((1, 3), keepdims=True)) / spread, 13


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("operator", [o for o in OPERATORS if o != "Dropout"])
def test_types(run_node: Any, values: Any, operator: str, name: str) -> None:
    dtype, tolerance = TYPES[name]

    def wide(shape: Any) -> Any:
        return values(np.float32, shape).astype(dtype).astype(np.float64)

    inputs, given, want, opset = case(operator, wide)
    # A variance is no value of the lower type by itself.
    low = [x.astype(dtype) for x in inputs]
    (got,) = run_node(operator, low, [name], given, opset=opset)
    np.testing.assert_allclose(
        got.numpy().astype(np.float64), want, rtol=5 * tolerance, atol=5 * tolerance
    )


def test_layer_normalization_statistics(run_node: Any, values: Any) -> None:
    x, w = values(np.float16, (2, 3, 4)), np.ones(4, np.float16)
    got = run_node("LayerNormalization", [x, w], ["float16", "float", "float"], opset=17)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(got[1].numpy(), wide.mean(-1, keepdims=True), rtol=1e-4, atol=1e-4)
    want = 1 / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got[2].numpy(), want, rtol=1e-4)


def test_rms_normalization_has_the_type_of_its_scale(run_node: Any, values: Any) -> None:
    x, w = values(np.float16, (2, 4)), values(np.float32, (4,))
    (got,) = run_node("RMSNormalization", [x, w], ["float"], opset=23)
    wide = x.astype(np.float64)
    want = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * w
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4)


@pytest.mark.parametrize("opset", [9, 14, 15])
def test_batch_normalization_training(run_node: Any, values: Any, opset: int) -> None:
    x, c = values(np.float32, (3, 4, 5)), values(np.float32, (4,))
    var = np.abs(c) + 1
    given: dict[str, Any] = {"momentum": 0.75, "epsilon": 0.0}
    outputs = ["float"] * (3 if opset >= 14 else 5)
    if opset >= 14:
        given["training_mode"] = 1
    got = [
        t.numpy()
        for t in run_node("BatchNormalization", [x, c, c, c, var], outputs, given, opset=opset)
    ]
    mean, spread = x.mean((0, 2)), x.var((0, 2))
    y = (x - mean[:, None]) / np.sqrt(spread[:, None]) * c[:, None] + c[:, None]
    want = [y, c * 0.75 + mean * 0.25, var * 0.75 + spread * 0.25, mean, spread]
    for have, expected in zip(got, want[: len(outputs)], strict=True):
        np.testing.assert_allclose(have, expected, rtol=1e-4, atol=1e-4)


def test_batch_normalization_before_9_per_element(run_node: Any, values: Any) -> None:
    x, each = values(np.float32, (3, 4, 5)), values(np.float32, (4, 5))
    var = np.abs(each) + 1
    given = {"spatial": 0, "epsilon": 0.0}
    (got,) = run_node("BatchNormalization", [x, each, each, each, var], ["float"], given, opset=7)
    np.testing.assert_allclose(got.numpy(), (x - each) / np.sqrt(var) * each + each, rtol=1e-4)


def test_batch_normalization_of_mixed_types_and_of_one_axis(run_node: Any, values: Any) -> None:
    x, one = values(np.float64, (5,)), np.float32([2])
    (got,) = run_node("BatchNormalization", [x, one, one, one, one], ["double"], {"epsilon": 0.0})
    np.testing.assert_allclose(got.numpy(), (x - 2) / np.sqrt(2) * 2 + 2, rtol=1e-6)


def test_lp_normalization_of_zeros_is_zero(run_node: Any) -> None:
    x = np.float32([[0, 0], [3, 4]])
    (got,) = run_node("LpNormalization", [x], ["float"])
    np.testing.assert_allclose(got.numpy(), [[0, 0], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_in_inference_is_the_identity(run_node: Any, values: Any, opset: int) -> None:
    x = values(np.float32, (3, 4))
    mask_type = "float" if opset == 7 else "bool"
    y, mask = run_node("Dropout", [x], ["float", mask_type], opset=opset)
    np.testing.assert_array_equal(y.numpy(), x)
    assert mask.numpy().all()
    assert mask.shape == x.shape


@pytest.mark.parametrize("name", ["float", "double", "float16", "bfloat16"])
def test_dropout_in_training(run_node: Any, name: str) -> None:
    x = np.ones((100, 100), TYPES[name][0])
    inputs = [x, np.float32(0.75), np.bool_(True)]
    inputs = [np.asarray(i) for i in inputs]
    y, mask = run_node("Dropout", inputs, [name, "bool"], opset=22)
    kept = mask.numpy()
    assert 0.2 < kept.mean() < 0.3
    np.testing.assert_array_equal(y.numpy().astype(np.float32), np.where(kept, 4.0, 0.0))


def test_dropout_with_a_seed_repeats_itself(run_node: Any) -> None:
    inputs = [np.ones((64,), np.float32), np.asarray(np.float32(0.5)), np.asarray(np.True_)]
    first, again, other = (
        run_node("Dropout", inputs, ["float"], {"seed": seed}, opset=13)[0].numpy()
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("operator", ["LRN", "LpNormalization", "MeanVarianceNormalization"])
def test_no_elements(run_node: Any, operator: str) -> None:
    given = {"size": 3} if operator == "LRN" else {}
    (got,) = run_node(operator, [np.zeros((0, 3, 2, 2), np.float32)], ["float"], given)
    assert got.shape == (0, 3, 2, 2)


@pytest.mark.parametrize("beta", [0.75, 0.6])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 12])
def test_lrn_over_few_and_many_channels(run_node: Any, values: Any, size: int, beta: float) -> None:
    for channels in (1, 3, 20):
        x = values(np.float32, (2, channels, 3, 2))
        wide, total = x.astype(np.float64), np.zeros(x.shape)
        for c in range(channels):
            near = slice(max(c - (size - 1) // 2, 0), c + size // 2 + 1)
            total[:, c] = np.square(wide[:, near]).sum(1)
        given = {"size": size, "alpha": 0.5, "beta": beta, "bias": 2.0}
        (got,) = run_node("LRN", [x], ["float"], given)
        want = wide / (2 + 0.5 / size * total) ** beta
        np.testing.assert_allclose(got.numpy(), want, rtol=2e-6)
