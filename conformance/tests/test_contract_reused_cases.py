"""Cases that follow from other drafts: kernels called again, on other shapes, on hard elements."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hal_conformance.contract.build import build, drafts
from hal_conformance.contract.draw import edges
from hal_conformance.contract.numbers import widen
from hal_conformance.contract.special import special
from hal_conformance.judge import run_case

from hal import ElementType, Outcome, Tensor
from hal.contract import STABLE_DOMAINS, contract
from hal.plugins import load_plugins


def made(key: str, type_: str, slug: str):
    found = [(a, d) for a, d in drafts(key) if a.first and a.type == type_ and d.slug == slug]
    assert len(found) == 1
    return build(*found[0])


@pytest.mark.parametrize("key", ["Exp", "Conv", "Softmax", "MatMul"])
def test_a_kernel_is_called_twice_and_again_on_other_shapes(key):
    case = made(key, "tensor(float)", "reused")
    nodes = onnx.ModelProto.FromString(case.model.data).graph.node
    assert [n.op_type for n in nodes] == [key, key]
    assert list(nodes[0].input) == list(nodes[1].input)
    assert case.single_operator == key
    shapes = [d.inputs["x0"].shape for d in case.data_sets]
    assert len(set(shapes)) > 1
    first, *later = [d.inputs["x0"].data.tobytes() for d in case.data_sets]
    assert first in later
    if key != "Softmax":  # of zeros nothing but zero comes, where memory was cleared
        assert not widen(case.data_sets[-1].outputs["y0"]).any() or key == "Exp"
    for data in case.data_sets:
        assert data.outputs["y0"].data.tobytes() == data.outputs["z0"].data.tobytes()
    kinds = {(d.inputs["x0"].shape, d.inputs["x0"].data.tobytes()) for d in case.data_sets}
    assert len(kinds) > len(set(shapes))  # of one shape there are several data


@pytest.mark.parametrize(
    ("slug", "shape"), [("scalar", ()), ("empty", (2, 0, 3)), ("rank6", (1, 3, 1, 3, 1, 3))]
)
def test_what_works_by_element_takes_any_shape(slug, shape):
    (data,) = made("Exp", "tensor(float16)", slug).data_sets
    assert data.inputs["x0"].shape == data.outputs["y0"].shape == shape
    x, y = widen(data.inputs["x0"]), widen(data.outputs["y0"])
    with np.errstate(all="ignore"):
        assert np.allclose(np.exp(x), y, rtol=1e-2, atol=1e-6) or np.isinf(y).any()


def test_a_batch_may_be_empty():
    (data,) = made("Conv", "tensor(float)", "empty").data_sets
    assert data.inputs["x0"].shape[0] == data.outputs["y0"].shape[0] == 0
    assert 0 not in data.inputs["x1"].shape


def test_movers_move_every_kind_of_element():
    listed = made("Transpose", "tensor(float)", "special").data_sets
    every = np.concatenate([widen(d.inputs["x0"]).ravel() for d in listed])
    for value in edges(ElementType.FLOAT, nan=True):
        assert str(value) in set(map(str, every))
    for data in listed:
        given, moved = (widen(data.inputs["x0"]), widen(data.outputs["y0"]))
        assert sorted(map(str, given.ravel())) == sorted(map(str, moved.ravel()))
    whole = made("Transpose", "tensor(int64)", "special").data_sets
    assert any(np.iinfo(np.int64).min in d.inputs["x0"].bits() for d in whole)


def test_places_that_do_not_explain_the_formula_make_no_case():
    ask, draft = next((a, d) for a, d in drafts("Transpose") if d.slug == "cycle" and a.full)
    assert len(list(special(ask, [draft]))) == 1
    (run,) = draft.runs
    wrong = dataclasses.replace(run, expected=(np.asarray(run.expected[0]) + 1,))
    assert list(special(ask, [dataclasses.replace(draft, runs=(wrong,))])) == []
    assert isinstance(run.inputs[0], Tensor)


REFUSED = {"contract/DFT-20/float-empty", "contract/STFT-17/float-empty"}
"""oneMKL, and so torch, transforms no empty batch."""

DERIVED = ("reused", "scalar", "empty", "rank6", "special", "nonfinite", "digits")


def test_they_are_sound_and_raise_no_alarm_on_torch():
    """Over float and int64; all types are for the self-test."""
    keys = [op.key for op in contract().operators if op.domain in STABLE_DOMAINS]
    asked = [
        (ask, draft)
        for ask, draft in drafts(*keys)
        if draft.slug in DERIVED and ask.type in ("tensor(float)", "tensor(int64)")
    ]
    assert len(asked) > 600
    alarms, faulty = {}, set()
    with load_plugins() as registry:
        device = registry.find_device("torch:cpu")
        backend, spec = registry.backend("torch"), registry.backends["torch"].spec
        for ask, draft in asked:
            case = build(ask, draft)
            assert case.disputed == ""
            model = onnx.ModelProto.FromString(case.model.data)
            try:
                onnx.checker.check_model(model, full_check=True)
            except onnx.shape_inference.InferenceError:
                faulty.add(ask.operator.key)
            result = run_case(case, device, spec, backend, {"threads": 1})
            if result.outcome in (Outcome.WRONG, Outcome.ERROR):
                alarms[case.id] = result.reason
    assert set(alarms) <= REFUSED
    # The bodies of these functions do not type-check over all types that their schemas allow.
    assert faulty <= {"MeanVarianceNormalization", "RMSNormalization"}
