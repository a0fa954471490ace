"""`hal ops --coverage`, and the suite on real engines and on wrong ones."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hal_conformance.contract.coverage import coverage_of
from hal_conformance.contract.gaps import reason_of
from hal_conformance.contract.suite import load_contract_suite
from hal_conformance.judge import run_case

from hal import MapValue, Outcome, SequenceValue, Tensor
from hal.contract import contract
from hal.plugins import load_plugins


@pytest.fixture(scope="module")
def suite():
    return load_contract_suite()


def ops(*arguments):
    command = [sys.executable, "-m", "hal", "ops", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_coverage_as_json():
    done = ops("--coverage", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "hal.coverage/1"
    found = document["coverage"]
    assert (found["total"], found["tensor"]["total"], found["container"]["total"]) == (
        2949,
        2327,
        622,
    )
    assert found["covered"] == found["tensor"]["covered"] + found["container"]["covered"]
    assert found["operators"]["total"] == 218
    assert set(found) == {"covered", "total", "tensor", "container", "operators"}
    assert found["covered"] >= 0.95 * found["total"]
    assert set(document["apart"]) == {
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "com.microsoft",
    }
    for part in document["apart"].values():
        assert len(part["missing"]) == part["total"] - part["covered"]
        assert all(m["cell"] and "no generator" not in m["reason"] for m in part["missing"])
    contributed = document["apart"]["com.microsoft"]
    assert (contributed["total"], contributed["operators"]["total"]) == (690, 136)
    assert contributed["covered"] >= 180
    assert len(document["missing"]) == found["total"] - found["covered"]
    assert all(m["cell"] and m["reason"] for m in document["missing"])


def test_coverage_of_some_operators():
    done = ops("Add", "Sub", "--coverage")
    assert done.returncode == 0, done.stderr
    assert "24/24 (100.0 %)" in done.stdout
    assert "have no case" not in done.stdout
    assert "apart" not in done.stdout


def test_coverage_of_a_profile_and_a_domain_apart():
    done = ops("--profile", "microsoft", "--coverage", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["coverage"]["total"] == 690
    assert document["apart"] == {}
    done = ops("--domain", "ai.onnx.preview", "--coverage")
    assert "/4 (" in done.stdout


def test_what_is_written_by_exporters_is_told_from_the_rest():
    """The sources that gaps.py was read from are installed here."""
    import re
    from pathlib import Path

    import onnxruntime
    from hal_conformance.contract.build import load_families
    from hal_conformance.contract.draft import generators_of
    from hal_conformance.contract.gaps import EMITTED

    root = Path(onnxruntime.__file__).parent
    load_families()
    told = {name for names in EMITTED.values() for name in names}
    text = "\n".join(
        file.read_text(errors="ignore")
        for package in ("quantization", "transformers")
        for file in sorted((root / package).rglob("*.py"))
    )
    # Where a node's type is only compared, nothing is written.
    named = set(re.findall(r"(?<!== )[\"'](\w+)[\"']", text))
    waiting = {
        op.name
        for op in contract().contributed.operators
        if op.name in named and not generators_of(op.key)
    }
    # Quantization writes QLinearConv in the domain of the standard.
    assert waiting - told == {"QLinearConv"}


def test_a_disputed_case_covers_nothing(suite):
    facts = suite.facts("contract/Abs-13/float-values")
    cells = [c for c in contract().cells() if c.operator == "Abs"]
    assert coverage_of([facts], cells, ["Abs"]).all.covered == 1
    disputed = dataclasses.replace(facts, disputed="for a reason")
    found = coverage_of([disputed], cells, ["Abs"])
    assert (found.all.covered, found.operators.covered, found.disputed) == (0, 0, 1)


def test_every_operator_without_a_case_has_a_reason(suite):
    reached = {f.single_operator for f in suite}
    missing = [
        op.key
        for op in contract().operators
        if op.key not in reached and op.domain in ("ai.onnx", "ai.onnx.ml")
    ]
    reasons = {key: reason_of(key, "") for key in missing}
    assert "has no generator yet" not in [
        r for k, r in reasons.items() if k not in ("NonMaxSuppression",)
    ]


SAMPLE = 60


def run_sample(suite, device_id):
    cases = [f for i, f in enumerate(suite) if i % SAMPLE == 0]
    outcomes = {}
    with load_plugins() as registry:
        device = registry.find_device(device_id)
        spec = registry.backends[device.backend].spec
        with registry.host(device.backend) as host:
            for facts in cases:
                outcomes[facts.id] = run_case(suite.load(facts.id), device, spec, host, {})
    return outcomes


def test_onnxruntime_passes_what_it_runs(suite):
    outcomes = run_sample(suite, "ort:cpu")
    passed = [r for r in outcomes.values() if r.outcome is Outcome.PASS]
    wrong = [r for r in outcomes.values() if r.outcome is Outcome.WRONG]
    assert len(passed) > 60
    assert len(wrong) <= 6, wrong  # its own faults are listed in docs/findings.md


class Wrong:
    """An engine that gives what is expected, but for one fault."""

    def __init__(self, case, fault):
        self.case, self.fault = case, fault

    def compile(self, device, model, options):
        return self

    def run(self, inputs):
        data = next(d for d in self.case.data_sets if d.inputs is inputs)
        return {name: self.fault(value) for name, value in data.outputs.items()}

    def placement(self):
        raise AssertionError("not declared")

    def close(self):
        pass


def changed(value, change):
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, SequenceValue):
        return SequenceValue(value.type, tuple(changed(v, change) for v in value.items))
    if isinstance(value, MapValue):
        return MapValue(value.type, value.keys, change(value.values))
    return value


def off_by_a_little(tensor):
    array = tensor.bits().copy()
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = (array * (1 + 64 * np.finfo(array.dtype).eps)).astype(array.dtype)
    elif array.dtype.kind in "iu" and array.size:
        array.flat[0] += 1
    elif array.dtype.kind == "b":
        array = ~array
    elif array.size:
        array.flat[0] = f"{array.flat[0]}!"
    return Tensor.from_numpy(array, tensor.element_type)


def reshaped(tensor):
    return Tensor(tensor.element_type, (*tensor.shape, 1), tensor.data)


@pytest.mark.parametrize(
    "case_id",
    [
        "contract/Add-14/float-same",
        "contract/Add-14/int8-same",
        "contract/Softmax-13/float-axis0",
        "contract/Concat-13/string-axis0",
        "contract/TopK-24/float-default",
        "contract/SequenceConstruct-11/float-of4",
        "contract/And-7/bool-same",
        "contract/ai.onnx.ml.ZipMap-1/seq_map_int64_float-rows",
    ],
)
@pytest.mark.parametrize("fault", [off_by_a_little, reshaped])
def test_wrong_results_are_caught(suite, case_id, fault):
    if fault is reshaped and "ZipMap" in case_id:
        pytest.skip("a map's values have one shape")
    case = suite.load(case_id)
    with load_plugins() as registry:
        device = registry.find_device("reference:cpu")
        spec = dataclasses.replace(registry.backends["reference"].spec, abilities=frozenset())
    right = run_case(case, device, spec, Wrong(case, lambda v: v), {})
    assert right.outcome is Outcome.PASS
    wrong = run_case(case, device, spec, Wrong(case, lambda v: changed(v, fault)), {})
    assert wrong.outcome is Outcome.WRONG
