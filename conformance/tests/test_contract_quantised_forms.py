"""Quantised forms: valid static models, judged in quantisation steps, in the profile quantized."""

from __future__ import annotations

import collections

import numpy as np
import onnx
import pytest
from hal_conformance.contract.numbers import narrow
from hal_conformance.contract.quantized.build import build_form, forms
from hal_conformance.contract.quantized.form import SCHEMES, Kit
from hal_conformance.contract.quantized.grid import Grid, bias_grid, calibrated, per_channel
from hal_conformance.contract.suite import load_contract_suite
from hal_conformance.contract.tolerance import STEPS
from hal_conformance.judge import run_case
from hal_conformance.session import choose_cases

from hal import ElementType, Outcome
from hal.contract import contract
from hal.plugins import load_plugins

ALL = list(forms())


@pytest.fixture(scope="module")
def cases():
    suite = load_contract_suite()
    return {f.id: suite.load(f.id) for f in suite if "/qdq/" in f.id}


def proto(case):
    return onnx.ModelProto.FromString(case.model.data)


def test_ids_tell_operator_and_scheme(cases):
    assert set(cases) == {form.id for form in ALL}
    schemes = {scheme.name for scheme in SCHEMES}
    for form in ALL:
        operator, _, rest = form.id.removeprefix("contract/qdq/").partition("-")
        assert operator == form.operator
        assert any(rest == s or rest.startswith(f"{s}-") for s in schemes)


def test_nothing_is_disputed_and_two_oracles_voted(cases):
    assert [c.id for c in cases.values() if c.disputed] == []
    assert [c.id for c in cases.values() if "alone" in c.oracles] == []


def test_every_operator_of_the_quantisers_has_forms():
    """But those that are quantised operators themselves, whose cells the suite has."""
    wanted = {op.key for op in contract().operators_of("quantized")}
    wanted = {k for k in wanted if not k.endswith(("Linear", "Integer", "QLinearConv"))}
    assert wanted - {form.operator for form in ALL} == {"QLinearMatMul"}


def test_each_operator_has_every_type_of_activation():
    seen = collections.defaultdict(set)
    for form in ALL:
        seen[form.operator] |= {g.element for g in form.outputs if isinstance(g, Grid)}
    wanted = {ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.UINT16}
    assert {op for op, types in seen.items() if types != wanted} == {"ArgMax"}


def test_weights_per_channel_and_int32_biases(cases):
    model = proto(cases["contract/qdq/Conv-int8-per_channel-bias"])
    constants = {t.name: t for t in model.graph.initializer}
    assert list(constants["x1_scale"].dims) == [constants["x1_q"].dims[0]]
    assert constants["x2_q"].data_type == onnx.TensorProto.INT32
    scales = {n: onnx.numpy_helper.to_array(t) for n, t in constants.items() if "scale" in n}
    np.testing.assert_allclose(scales["x2_scale"], scales["x0_scale"] * scales["x1_scale"])


def test_models_are_valid_and_static(cases):
    for case in cases.values():
        model = proto(case)
        onnx.checker.check_model(model, full_check=True)
        for value in [*model.graph.input, *model.graph.output]:
            assert all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim), case.id


def test_the_tolerance_is_in_steps_of_the_output(cases):
    for form in ALL:
        scales = [float(g.scale.max()) for g in form.outputs if isinstance(g, Grid)]
        case = cases[form.id]
        assert case.tolerance_source == STEPS[form.steps]
        most = max(scales, default=0.0) * form.steps
        assert most <= case.atol <= most * 1.01


def test_a_form_is_made_again_from_its_id(cases):
    form = next(f for f in ALL if f.id == "contract/qdq/Gemm-uint8-columns")
    assert build_form(form).model.data == cases[form.id].model.data


def test_the_profile_and_the_headline_count_them(cases):
    with load_plugins() as registry:
        _, chosen = choose_cases(registry, "contract", "quantized", [])
    assert set(cases) <= {c.id for c in chosen}


def test_grids():
    skewed = calibrated(-1.0, 3.0, ElementType.UINT8)
    assert (skewed.zero, skewed.quantise(np.array([-9.0, 0.0, 9.0])).tolist()) == (64, [0, 64, 255])
    even = calibrated(-1.0, 3.0, ElementType.INT8, symmetric=True)
    assert (even.zero, float(even.scale)) == (0, pytest.approx(3 / 127))
    halves = Grid(ElementType.INT8, np.array(1.0), np.array(1))
    assert halves.quantise(np.array([0.5, 1.5, 2.5])).tolist() == [1, 3, 3]
    rows = per_channel(np.array([[1.0, -2.0], [0.0, 0.0]]), 0, ElementType.INT8)
    assert rows.scale.tolist() == pytest.approx([2 / 127, 1 / 127])
    assert bias_grid(skewed, rows).axis == 0


def test_activations_stay_clear_of_the_middle_between_steps():
    kit = Kit("Relu", SCHEMES[0])
    x = kit.activation(kit.draw(), (500,))
    off = x.values / x.grid.scale
    assert np.abs(off - np.rint(off)).max() < 0.26
    ends = x.grid.quantise(x.values.astype(np.float64))
    assert {ends.min(), ends.max()} == {-128, 127}


SAMPLE = 12


def test_onnxruntime_passes(cases):
    """Every twelfth form, on a real engine."""
    with load_plugins() as registry:
        device = registry.find_device("ort:cpu")
        spec = registry.backends["ort"].spec
        with registry.host("ort") as host:
            outcomes = {
                case.id: run_case(case, device, spec, host, {})
                for case in list(cases.values())[::SAMPLE]
            }
    assert [(k, r.reason) for k, r in outcomes.items() if r.outcome is not Outcome.PASS] == []


def test_three_steps_off_is_wrong(cases):
    from hal.compare import compare

    for form in ALL[::SAMPLE]:
        grid = form.outputs[0]
        if isinstance(grid, str):
            continue
        case = cases[form.id]
        right = case.data_sets[0].outputs["y0"]
        off = narrow(right.numpy() + 3 * float(grid.scale.max()), ElementType.FLOAT)
        assert compare(right, off, rtol=case.rtol, atol=case.atol), case.id
