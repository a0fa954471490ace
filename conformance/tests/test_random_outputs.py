"""Draws: right ones pass, wrong ones do not, and the false alarms are as rare as promised."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hal_conformance.case import Case, DataSet
from hal_conformance.random_outputs import FALSE_ALARM, check_random_outputs

from hal import Model, SequenceValue, Tensor, Value

Array = np.ndarray[Any, np.dtype[Any]]


def case(operator: str, data: DataSet, *, name: str = "", expanded: bool = False) -> Case:
    return Case(
        id=f"onnx/node/test_{name or operator.lower()}",
        suite="onnx",
        nodes=("n",),
        operators=("Cast", "Greater", "RandomUniformLike") if expanded else (operator,),
        cells=(),
        single_operator="" if expanded else operator,
        expanded=expanded,
        opset=22,
        ir_version=10,
        rtol=1e-3,
        atol=1e-7,
        judge="statistics",
        model=Model(b"m"),
        data_sets=(data,),
    )


def bernoulli(probability: Array, draw: Any, *, expanded: bool = False) -> str:
    expected = Tensor.from_numpy(np.zeros(probability.shape, np.float32))
    data = DataSet({"x": Tensor.from_numpy(probability)}, {"y": expected})
    made = case("Bernoulli", data, name="bernoulli", expanded=expanded)
    value = draw if not isinstance(draw, np.ndarray) else Tensor.from_numpy(draw)
    return check_random_outputs(made, data, {} if draw is None else {"y": value})


def dropout(x: Array, ratio: float | None, output: Array, mask: Array | None = None) -> str:
    inputs: dict[str, Value] = {"x": Tensor.from_numpy(x)}
    if ratio is not None:
        inputs["r"] = Tensor.from_numpy(np.float32(ratio))
        inputs["t"] = Tensor.from_numpy(np.bool_(True))
    outputs: dict[str, Value] = {"y": Tensor.from_numpy(np.zeros_like(x))}
    got: dict[str, Value] = {"y": Tensor.from_numpy(output)}
    if mask is not None:
        outputs["z"] = Tensor.from_numpy(np.zeros(x.shape, bool))
        got["z"] = Tensor.from_numpy(mask)
    data = DataSet(inputs, outputs)
    return check_random_outputs(case("Dropout", data), data, got)


RNG = np.random.default_rng(20261121)
P = RNG.random((20, 50)).astype(np.float32)
RIGHT = (RNG.random(P.shape) < P).astype(np.float32)
X = RNG.standard_normal((20, 50)).astype(np.float32)


def drop(ratio: float, seed: int = 3) -> tuple[Array, Array]:
    mask = np.random.default_rng(seed).random(X.shape) >= ratio
    return np.where(mask, X / (1 - ratio), 0).astype(np.float32), mask


@pytest.mark.parametrize("expanded", [False, True], ids=["operator", "expansion"])
def test_right_bernoulli_draws_pass(expanded: bool) -> None:
    for seed in range(20):
        draw = np.random.default_rng(seed).random(P.shape) < P
        assert bernoulli(P, draw.astype(np.float32), expanded=expanded) == ""


BAD_BERNOULLI = {
    "all-ones": (np.ones_like(RIGHT), "1000 of 1000 draws"),
    "all-zeros": (np.zeros_like(RIGHT), "0 of 1000 draws"),
    "inverted": ((RNG.random(P.shape) < P**4).astype(np.float32), "of 1000 draws"),
    "probabilities": (P, "a Bernoulli draw is 0 or 1"),
    "negative": (-RIGHT, "got -1"),
    "nan": (np.where(RIGHT == 1, np.float32("nan"), RIGHT), "got nan"),
    "dtype": (RIGHT.astype(np.float64), "got tensor(double)"),
    "shape": (RIGHT.ravel(), "got tensor(float) [1000]"),
}


@pytest.mark.parametrize("name", BAD_BERNOULLI)
def test_bad_bernoulli_draws_do_not(name: str) -> None:
    draw, text = BAD_BERNOULLI[name]
    assert text in bernoulli(P, draw)
    assert bernoulli(P, RIGHT) == ""


def test_what_is_sure_is_not_left_to_chance() -> None:
    probability = np.array([0, 1, 0.5], np.float32)
    assert bernoulli(probability, np.array([0, 1, 0], np.float32)) == ""
    assert "probability 0" in bernoulli(probability, np.array([1, 1, 0], np.float32))
    assert "probability 0" in bernoulli(probability, np.array([0, 0, 0], np.float32))


def test_missing_output_and_other_kind_of_value() -> None:
    assert "missing" in bernoulli(P, None)
    assert "tensor" in bernoulli(P, SequenceValue("seq(tensor(float))", ()))


def accepted(draws: int, probability: float) -> tuple[int, int]:
    """The least and the largest number of ones that pass among so many draws."""
    p = np.full(draws, probability, np.float32)
    ones = [k for k in range(draws + 1) if not bernoulli(p, np.float32(np.arange(draws) < k))]
    assert ones == list(range(ones[0], ones[-1] + 1))
    return ones[0], ones[-1]


@pytest.mark.parametrize("probability", [0.125, 0.5, 0.75])
@pytest.mark.parametrize("draws", [10, 60, 200])
def test_false_alarms_are_rarer_than_promised(draws: int, probability: float) -> None:
    low, high = accepted(draws, probability)
    p = Fraction(probability)
    alarm = sum(
        math.comb(draws, k) * p**k * (1 - p) ** (draws - k)
        for k in range(draws + 1)
        if not low <= k <= high
    )
    assert alarm <= FALSE_ALARM
    if draws == 200:  # and the check is not so lax that it says nothing
        assert high - low < 0.7 * draws


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no-mask"])
def test_right_dropout_passes(ratio: float, masked: bool) -> None:
    for seed in range(10):
        output, mask = drop(ratio, seed)
        assert dropout(X, ratio, output, mask if masked else None) == ""


def test_dropout_without_a_ratio_drops_half() -> None:
    assert dropout(X, None, drop(0.5)[0]) == ""
    assert "draws" in dropout(X, None, np.where(drop(0.9)[1], X / 0.5, 0).astype(np.float32))


def test_zeros_of_the_input_say_nothing_without_a_mask() -> None:
    x = X.copy()
    x[:10] = 0
    output, mask = drop(0.5)
    output[:10] = 0
    assert dropout(x, 0.5, output) == ""
    assert dropout(x, 0.5, output, mask) == ""


OUTPUT, MASK = drop(0.5)
OTHER = MASK.copy()
OTHER.flat[7] = ~OTHER.flat[7]
BAD_DROPOUT: dict[str, tuple[Array, Array | None, str]] = {
    "identity": (X, None, "neither 0 nor the input"),
    "unscaled": (np.where(MASK, X, 0).astype(np.float32), None, "neither 0 nor the input"),
    "one-value-off": (OUTPUT + np.float32(MASK.cumsum() == 5).reshape(X.shape), None, "neither"),
    "nan": (np.where(MASK, OUTPUT, np.float32("nan")), None, "neither 0 nor the input"),
    "nothing-dropped": (X * 2, None, "1000 of 1000 draws"),
    "all-dropped": (X * 0, None, "0 of 1000 draws"),
    "dtype": (OUTPUT.astype(np.float16), None, "got tensor(float16)"),
    "shape": (OUTPUT.ravel(), None, "got tensor(float) [1000]"),
    "mask-of-another-draw": (OUTPUT, drop(0.5, 99)[1], "the mask does not say"),
    "mask-wrong-once": (OUTPUT, OTHER, "the mask does not say"),
    "mask-inverted": (OUTPUT, ~MASK, "the mask does not say"),
    "mask-of-floats": (OUTPUT, MASK.astype(np.float32), "got tensor(float)"),
}


@pytest.mark.parametrize("name", BAD_DROPOUT)
def test_bad_dropout_does_not(name: str) -> None:
    output, mask, text = BAD_DROPOUT[name]
    assert text in dropout(X, 0.5, output, mask)
    assert dropout(X, 0.5, OUTPUT, MASK) == ""


def test_operator_without_a_rule_says_so() -> None:
    data = DataSet({"x": Tensor.from_numpy(P)}, {"y": Tensor.from_numpy(RIGHT)})
    with pytest.raises(KeyError, match="Shuffle"):
        check_random_outputs(case("Shuffle", data), data, dict(data.outputs))


def test_every_random_case_of_the_suite_has_a_rule() -> None:
    from hal_conformance.suite_onnx import load_onnx_suite

    suite = load_onnx_suite()
    ids = [facts.id for facts in suite if facts.judge == "statistics"]
    assert len(ids) >= 8
    for case_id in ids:
        loaded = suite.load(case_id)
        for data in loaded.data_sets:
            assert check_random_outputs(loaded, data, data.outputs) == "", case_id


SHARES = np.array([[0.125, 0.0, 0.875], [0.5, 0.25, 0.25]])


def multinomial(drawn: Array) -> str:
    with np.errstate(divide="ignore"):
        logits = (np.log(SHARES) + 2).astype(np.float32)
    data = DataSet(
        {"x": Tensor.from_numpy(logits)}, {"y": Tensor.from_numpy(np.zeros((2, 4000), np.int32))}
    )
    value = Tensor.from_numpy(drawn.astype(np.int32))
    return check_random_outputs(case("Multinomial", data), data, {"y": value})


def classes(shares: Array) -> Array:
    return np.stack([RNG.choice(3, 4000, p=row) for row in shares])


def test_classes_are_drawn_as_often_as_their_shares_say():
    right = classes(SHARES)
    assert multinomial(right) == ""
    assert "class" in multinomial(classes(SHARES[::-1]))
    outside = right.copy()
    outside[0, 0] = 3
    assert "not one of 0 to 2" in multinomial(outside)
    never = right.copy()
    never[0, 0] = 1
    assert "class 1 of share 0" in multinomial(never)
