"""Cases from probes of the evaluator: NaN and infinities, every digit, six dimensions; and the
families of single attributes, parameters and models: no alarm on two engines that are not it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hal_conformance.contract.build import build, drafts
from hal_conformance.contract.digits import digits
from hal_conformance.contract.nonfinite import nonfinite
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.contract.probe import ask_evaluator, fed
from hal_conformance.contract.ranks import deep_ranks
from hal_conformance.judge import run_case

from hal import ElementType, Outcome, Tensor
from hal.compare import compare
from hal.plugins import load_plugins


def asked(key: str, type_: str):
    found = [(a, d) for a, d in drafts(key) if a.main and a.type == f"tensor({type_})"]
    return found[0][0], [d for _, d in found]


def only(key: str, type_: str, slug: str):
    ask, listed = asked(key, type_)
    (draft,) = [d for d in listed if d.slug == slug]
    return build(ask, draft)


def test_nan_reaches_the_results_that_depend_on_it_and_no_other():
    case = only("MatMul", "float", "nonfinite")
    kinds, mixed = set(), False
    for data in case.data_sets:
        y = widen(data.outputs["y0"])
        given = [widen(v) for v in data.inputs.values()]
        kinds |= {str(v) for x in given for v in x[~np.isfinite(x)]}
        touched = ~np.isfinite(y)
        assert touched.any()
        mixed = mixed or not touched.all()
    assert mixed
    assert kinds == {"nan", "inf", "-inf"}


def test_where_the_standard_compares_there_is_no_nan():
    case = only("Relu", "float", "nonfinite")
    assert not any(np.isnan(widen(d.inputs["x0"])).any() for d in case.data_sets)


def test_a_formula_that_the_evaluator_does_not_bear_out_gets_no_nan():
    ask, listed = asked("Exp", "float")
    plain = [d for d in listed if len(d.runs) == 1 and d.runs[0].expected][:1]
    assert list(nonfinite(ask, plain))
    (run,) = plain[0].runs
    wrong = dataclasses.replace(run, expected=(np.asarray(run.expected[0]) + 1,))
    assert not list(nonfinite(ask, [dataclasses.replace(plain[0], runs=(wrong,))]))


@pytest.mark.parametrize("type_", ["int64", "uint64", "int32"])
def test_a_sum_needs_every_digit_of_its_type(type_):
    case = only("ReduceSum", type_, "digits")
    (data,) = case.data_sets
    largest = int(max(widen(data.inputs["x0"]).ravel().tolist()))
    assert largest.bit_length() >= {"int64": 62, "uint64": 62, "int32": 30}[type_]
    assert float(np.float32(largest)) != largest
    x, y = widen(data.inputs["x0"]), widen(data.outputs["y0"])
    assert sum(map(int, x.ravel().tolist())) == sum(map(int, y.ravel().tolist()))


def test_what_is_not_linear_has_no_large_number():
    ask, listed = asked("ReduceSumSquare", "int64")
    assert not list(digits(ask, [d for d in listed if len(d.runs) == 1]))


def test_choices_differ_in_the_last_digit():
    case = only("ArgMax", "double", "digits")
    x = np.sort(widen(case.data_sets[0].inputs["x0"]).ravel())
    assert 0 < np.diff(x).min() <= 2**-52


def test_choices_differ_in_one_half_of_their_digits():
    case = only("ArgMax", "uint32", "digits")
    x = widen(case.data_sets[-1].inputs["x0"]).ravel().astype(np.int64)
    order = np.argsort(x)
    assert (np.diff(x[order] & 0xFFFF) <= 0).all()
    assert len(set((x >> 16).tolist())) > 3


@pytest.mark.parametrize("key", ["LeakyRelu", "Conv", "LayerNormalization", "AveragePool"])
def test_a_rounding_to_bfloat16_shows(key):
    ask, listed = asked(key, "float16")
    (draft,) = [d for d in listed if d.slug == "digits"]
    rounded = draft
    for i, value in enumerate(draft.runs[0].inputs):
        if isinstance(value, Tensor):
            coarse = narrow(widen(value), ElementType.BFLOAT16)
            rounded = fed(rounded, i, widen(coarse))
    (right, *_), (wrong, *_) = ask_evaluator(ask, draft), ask_evaluator(ask, rounded)
    assert compare(right, wrong, rtol=draft.tolerance.rtol, atol=draft.tolerance.atol)


@pytest.mark.parametrize("key", ["LayerNormalization", "GlobalAveragePool", "BatchNormalization"])
def test_a_sum_in_half_precision_falls_behind(key):
    case = only(key, "float16", "long")
    x = widen(case.data_sets[0].inputs["x0"]).ravel()
    total = np.float16(0)
    for value in x:
        total = np.float16(total + np.float16(value))
    assert float(total) < 0.95 * x.sum()


@pytest.mark.parametrize("key", ["Softmax", "ReduceSum", "Gather", "Concat"])
def test_six_dimensions(key):
    case = only(key, "float", "rank6")
    (data,) = case.data_sets
    assert len(data.inputs["x0"].shape) == 6
    ask, listed = asked(key, "float")
    plain = [d for d in listed if len(d.runs) == 1 and d.runs[0].expected][:1]
    (run,) = plain[0].runs
    wrong = dataclasses.replace(run, expected=tuple(np.asarray(e) + 1 for e in run.expected))
    assert not list(deep_ranks(ask, [dataclasses.replace(plain[0], runs=(wrong,))]))


FAMILIES = (
    "AffineGrid",
    "CausalConvWithState",
    "ConvTranspose",
    "DeformConv",
    "GridSample",
    "ImageDecoder",
    "LSTM",
    "LinearAttention",
    "MaxRoiPool",
    "MaxUnpool",
    "MelWeightMatrix",
    "NonMaxSuppression",
    "Pad",
    "Resize",
    "RoiAlign",
    "ScatterND",
    "Split",
    "TfIdfVectorizer",
    "ai.onnx.ml::LinearClassifier",
    "ai.onnx.ml::SVMClassifier",
    "ai.onnx.ml::SVMRegressor",
    "ai.onnx.ml::TreeEnsemble",
)


def test_torch_agrees_with_every_case_of_the_families():
    """hal-torch shares no code with the evaluator or the formulas."""
    alarms = {}
    count = 0
    with load_plugins() as registry:
        device = registry.find_device("torch:cpu")
        backend, spec = registry.backend("torch"), registry.backends["torch"].spec
        for ask, draft in drafts(*FAMILIES):
            if ask.type not in ("tensor(float)", "tensor(int64)", ""):
                continue
            case = build(ask, draft)
            assert case.disputed == ""
            result = run_case(case, device, spec, backend, {"threads": 1})
            count += result.outcome is Outcome.PASS
            if result.outcome in (Outcome.WRONG, Outcome.ERROR):
                alarms[case.id] = result.reason
    assert alarms == {}
    assert count > 300
