"""Devices that compute float32 in half precision: judged by its tolerance where they declare it,
and every report says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hal_conformance.case import Case, DataSet
from hal_conformance.judge import run_case
from hal_conformance.precision import marked, stated, tolerance

from hal import Ability, BackendSpec, Device, Evidence, Model, Outcome, Placement, Tensor, Value
from hal.host._codec import pack_device, unpack_device

EXACT = Device("fake:npu", "npu")
HALF = Device("fake:npu", "npu", precision="float16")
BRAIN = Device("fake:npu", "npu", precision="bfloat16")
SPEC = BackendSpec("fake", object, abilities=frozenset({Ability.PLACEMENT}))
ULP = 2.0**-10  # of float16


class Gives:
    """A backend whose output y is what it was made with."""

    def __init__(self, y: Value) -> None:
        self.y = y

    def compile(self, device: Device, model: Model, options: Mapping[str, Any]) -> Any:
        return self

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        return {"y": self.y}

    def placement(self) -> Placement:
        return Placement.everywhere(["node"], "fake:npu", Evidence.SOLE)


def case(expected: Tensor, rtol: float = 1e-3) -> Case:
    return Case(
        id="fake/node/test_one",
        suite="fake",
        nodes=("node",),
        operators=("Sub",),
        cells=(),
        single_operator="Sub",
        expanded=False,
        opset=20,
        ir_version=9,
        rtol=rtol,
        atol=1e-7,
        model=Model(b"model"),
        data_sets=(DataSet({}, {"y": expected}),),
    )


def outcome(device: Device, expected: Any, got: Any, dtype: type = np.float32) -> Outcome:
    want, have = (Tensor.from_numpy(np.array(v, dtype)) for v in (expected, got))
    return run_case(case(want), device, SPEC, Gives(have), {}).outcome


ERRORS = {
    "within": ([1000.0, 1.0], [1000.0 * (1 + 3 * ULP), 1.0], Outcome.PASS),
    "cancelled": ([1000.0, 0.001], [1000.0, 0.5], Outcome.PASS),
    "beyond": ([1.0, 1.0], [1.0, 1 + 8 * ULP], Outcome.WRONG),
    "small-beyond": ([1000.0, 0.001], [1000.0, 3.0], Outcome.WRONG),
    "overflow": ([1e5, 1.0], [np.inf, 1.0], Outcome.WRONG),
    "nan": ([1.0, 1.0], [1.0, np.nan], Outcome.WRONG),
}


@pytest.mark.parametrize(("expected", "got", "then"), ERRORS.values(), ids=ERRORS.keys())
def test_precision_half_is_judged_as_half(expected: Any, got: Any, then: Outcome) -> None:
    assert outcome(HALF, expected, got) is then
    assert outcome(EXACT, expected, got) is Outcome.WRONG  # nobody else is


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.int64, np.uint8])
def test_precision_other_types_keep_their_tolerance(dtype: type) -> None:
    assert outcome(HALF, [100, 100], [100, 101], dtype) is Outcome.WRONG
    assert outcome(HALF, [100, 3], [100, 3], dtype) is Outcome.PASS


def test_precision_never_tightens_a_case() -> None:
    one = Tensor.from_numpy(np.ones(3, np.float32))
    loose = case(one, rtol=0.5)
    assert tolerance(loose, HALF, one)[0] == 0.5
    assert tolerance(loose, EXACT, one) == (0.5, 1e-7)
    assert tolerance(case(one), BRAIN, one)[0] == 4 * 2.0**-7
    assert tolerance(case(one), HALF, Tensor.from_numpy(np.zeros(0, np.float32)))[1] == 1e-7


def test_precision_is_stated_in_every_report() -> None:
    assert (stated(EXACT), marked(EXACT)) == ("", "")
    assert "0.00195 * the largest |expected| + 0.00391 * |expected|" in stated(HALF)
    emulated = dataclasses.replace(HALF, emulated=True)
    assert marked(emulated) == " (emulated, float16)"


def test_precision_travels() -> None:
    assert unpack_device(pack_device(HALF)) == HALF
    older = {k: v for k, v in pack_device(HALF).items() if k != "precision"}
    assert unpack_device(older) == EXACT
    with pytest.raises(ValueError, match="'float8' is none of"):
        Device("fake:npu", "npu", precision="float8")  # type: ignore[arg-type]
