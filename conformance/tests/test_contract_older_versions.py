"""Older versions whose meaning differs: the list, its cases, and that the newest meaning fails."""

from __future__ import annotations

import collections

import onnx
import pytest
from hal_conformance.contract.build import build, older_drafts
from hal_conformance.contract.older.table import OLDER
from hal_conformance.judge import run_case

from hal import Outcome
from hal.contract import contract
from hal.plugins import load_plugins


@pytest.fixture(scope="module")
def cases():
    return {case.id: case for case in (build(ask, draft) for ask, draft in older_drafts())}


def test_each_row_names_an_older_version_and_has_cases(cases):
    seen = collections.Counter(id.split("/")[1] for id in cases)
    assert len(OLDER) == len({(row.operator, row.version) for row in OLDER}) > 60
    for row in OLDER:
        operator = row.resolve()
        newest = contract().latest(row.operator)
        assert operator.since_version < newest.since_version or newest.deprecated, row
        assert row.why and seen[f"{row.operator}-{row.version}"], row


@pytest.mark.parametrize(
    "name",
    [
        "Softmax-1",
        "Softmax-11",
        "Resize-10",
        "Dropout-7",
        "Dropout-10",
        "Pad-2",
        "Clip-6",
        "Upsample-9",
        "BatchNormalization-7",
        "BatchNormalization-9",
        "BatchNormalization-14",
        "TopK-1",
        "TopK-10",
        "Slice-1",
        "Squeeze-1",
        "ReduceSum-1",
        "Cast-9",
        "GroupNormalization-18",
        "Add-6",
        "LSTM-7",
        "GRU-3",
        "Scan-8",
    ],
)
def test_what_models_in_use_hold_is_listed(name):
    assert name in {f"{row.operator}-{row.version}" for row in OLDER}


def test_two_oracles_agree_and_no_cell_is_exercised(cases):
    """But for recurrent layers, which onnx's evaluator goes through one way alone."""
    assert [c.id for c in cases.values() if c.disputed] == []
    alone = {c.id.split("/")[1].split("-")[0] for c in cases.values() if " alone: " in c.oracles}
    assert alone == {"RNN", "GRU", "LSTM"}
    assert [c.id for c in cases.values() if c.cells] == []


def test_models_are_valid_at_the_version(cases):
    for case in cases.values():
        model = onnx.ModelProto.FromString(case.model.data)
        if "GroupNormalization" not in case.id:  # which onnx took back, and models hold
            onnx.checker.check_model(model)
        version = int(case.id.split("/")[1].rpartition("-")[2])
        assert model.opset_import[0].version == case.opset == version


def test_onnxruntime_takes_the_version_at_its_word(cases):
    """From opset 7 on, which is what it promises."""
    with load_plugins() as registry:
        device = registry.find_device("ort:cpu")
        spec = registry.backends["ort"].spec
        chosen = [c for c in cases.values() if c.opset >= 7 and "/float-" in c.id]
        with registry.host("ort") as host:
            outcomes = {c.id: run_case(c, device, spec, host, {}) for c in chosen}
    other = {k: r.reason for k, r in outcomes.items() if r.outcome is not Outcome.PASS}
    assert other == {}
    assert len(outcomes) > 60


def test_torch_takes_every_version(cases):
    with load_plugins() as registry:
        device = registry.find_device("torch:cpu")
        spec = registry.backends["torch"].spec
        with registry.host("torch") as host:
            outcomes = {i: run_case(c, device, spec, host, {}) for i, c in cases.items()}
    other = {k: r.reason for k, r in outcomes.items() if r.outcome is not Outcome.PASS}
    taken_back = {f"contract/GroupNormalization-18/{t}-groups" for t in ("float", "double")}
    assert other.keys() == taken_back, "which onnx deprecated in the opset that brought it"
    assert all("deprecated" in reason for reason in other.values())
