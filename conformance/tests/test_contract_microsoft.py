"""com.microsoft in suite contract: two oracles, a profile of its own, counted apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hal_conformance.case import is_contributed, load_suite
from hal_conformance.contract.build import build, drafts
from hal_conformance.contract.microsoft.products import packed
from hal_conformance.contract.oracles import expected_of
from hal_conformance.judge import run_case
from hal_conformance.session import choose_cases, contract_of

from hal import Outcome
from hal.contract import contract
from hal.plugins import load_plugins

EMITTED = [
    "Attention",
    "BiasAdd",
    "BiasGelu",
    "BiasSoftmax",
    "BiasSplitGelu",
    "DequantizeLinear",
    "DynamicQuantizeMatMul",
    "EmbedLayerNormalization",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GatherBlockQuantized",
    "Gelu",
    "GemmFastGelu",
    "GroupNorm",
    "GroupQueryAttention",
    "MatMulBnb4",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MultiHeadAttention",
    "NhwcConv",
    "QAttention",
    "QEmbedLayerNormalization",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QuantizeLinear",
    "QuickGelu",
    "RotaryEmbedding",
    "SkipGroupNorm",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "UnfoldTensor",
]


@pytest.fixture(scope="module")
def suite():
    return load_suite("contract")


def test_what_exporters_and_quantisers_emit_has_cases(suite):
    seen = {f.single_operator for f in suite}
    assert [name for name in EMITTED if f"com.microsoft::{name}" not in seen] == []


def test_a_composition_is_the_second_oracle(suite):
    theirs = [suite.load(f.id) for f in suite if is_contributed(f)]
    alone = {c.id.rpartition("/")[2] for c in theirs if " alone: " in c.oracles}
    types = ("float", "float16", "bfloat16")
    sinks = {f"{type_}-{what}" for type_ in types for what in ("sink", "smooth")}
    assert alone <= {*sinks, "float-first-seen"}
    assert [c.id for c in theirs if c.disputed] == []


def test_a_composition_that_differs_disputes():
    ask, draft = next(iter(drafts("com.microsoft::QLinearAdd")))
    assert not expected_of(ask.operator, draft).disputed
    wrong = dataclasses.replace(draft, composition=draft.composition.replace("Add(", "Sub("))
    assert "reference evaluator" in expected_of(ask.operator, wrong).disputed
    broken = dataclasses.replace(draft, composition="y0 = NoSuchOperator(x0)")
    assert "cannot run it" in expected_of(ask.operator, broken).alone
    assert build(ask, wrong).disputed


def test_runs_are_of_the_standard_or_of_com_microsoft(suite):
    with load_plugins() as registry:
        for profile, patterns, apart in (
            ("", [], False),
            ("microsoft", [], True),
            ("", ["com.microsoft.FastGelu"], True),
        ):
            _, cases = choose_cases(registry, "contract", profile, patterns)
            assert {is_contributed(c) for c in cases} == {apart}
            table, cells = contract_of(suite, cases)
            assert cells == (690 if apart else 2949)
            assert ("com.microsoft" in table.version) == apart
            domains = {cell.partition("::")[0] for c in cases for cell in c.cells}
            assert ("com.microsoft" in domains) == apart


def test_bits_are_packed_from_the_lowest():
    assert packed(np.array([1, 2, 3]), 4).tolist() == [0x21, 0x03]
    assert packed(np.array([1, 2, 3, 0]), 2).tolist() == [0b00111001]


def test_onnxruntime_passes_what_it_runs(suite):
    """Its own operators, every fifth case: what it runs is right."""
    with load_plugins() as registry:
        device = registry.find_device("ort:cpu")
        spec = registry.backends["ort"].spec
        theirs = [f for f in suite if is_contributed(f)][::5]
        with registry.host("ort") as host:
            outcomes = {f.id: run_case(suite.load(f.id), device, spec, host, {}) for f in theirs}
    counts = [r.outcome for r in outcomes.values()]
    assert counts.count(Outcome.PASS) > 80
    other = {
        k: r.reason for k, r in outcomes.items() if r.outcome in (Outcome.WRONG, Outcome.CRASH)
    }
    assert other == {}


def test_the_profile_is_its_table():
    assert len(contract().cells("microsoft")) == 690
