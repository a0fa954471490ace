"""How a device does on an operator's official cases, and a cut-out as a case that is kept."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from hal import Device, Model, Outcome, Tensor, Value
from hal.backend import Option
from hal.plugins import Registry
from hal.reference import Reference
from hal_conformance.case import Case, DataSet, load_suite
from hal_conformance.check.result import Record
from hal_conformance.check.trial import Engine
from hal_conformance.inspection import inspect_cases
from hal_conformance.model_facts import model_facts
from hal_conformance.report import Limits
from hal_conformance.repro import write_repro
from hal_conformance.suite_models import ELEMENT_FACTOR

__all__ = ["record_of", "save_case"]

_CASES = 60
"""How many cases of an operator are run: a look, not a conformance run."""


def record_of(engine: Engine, operator: str) -> Record:
    """Run the official cases whose graph is one node of this operator, 60 at most."""
    suite = load_suite("onnx")
    outcomes: collections.Counter[Outcome] = collections.Counter()
    chosen = [c for c in suite if c.single_operator == operator and not c.expanded][:_CASES]
    for facts in chosen:
        case = suite.load(facts.id)
        if isinstance(case, Case):
            outcomes[engine.run_case(case).outcome] += 1
    return Record(operator, dict(outcomes))


def save_case(
    registry: Registry,
    device: Device,
    options: Mapping[str, Option],
    case_id: str,
    model: Model,
    inputs: Mapping[str, Value],
    accuracy: float,
    limits: Limits,
    folder: Path,
) -> tuple[Path, Outcome]:
    """Write a model and its inputs as a reproduction into a folder, with what a reference run of
    this very model gives. Returns its folder, and what came of it on the device.

    Raises UnsupportedError where no engine can be the reference, OutputError where the folder
    cannot be written.
    """
    with Reference(registry, model, candidate=device.id, timeout=limits.timeout) as reference:
        run = reference.run(inputs)
    rtol = atol = 0.0
    for name, value in run.outputs.items():
        allowed = run.tolerance(name)
        allowed = ELEMENT_FACTOR * max(allowed, accuracy) if allowed else 0.0
        rtol, atol = max(rtol, allowed), max(atol, allowed * _norm(value))
    proto = _typed(model, run.outputs)
    case = Case(
        id=case_id,
        suite="check",
        expanded=False,
        rtol=float(f"{rtol:.2g}"),
        atol=float(f"{atol:.2g}"),
        model=Model(proto.SerializeToString()),
        data_sets=(DataSet(dict(inputs), dict(run.outputs)),),
        tolerance_source=f"{run.conditioned_by}, with a margin (hal.reference)",
        oracles=f"{run.engine} in {run.precision}",
        **dataclasses.asdict(model_facts(proto)),
    )
    (inspection,) = inspect_cases(
        registry, [device], _One(case), [case], limits, lambda device: options
    )
    specs = {device.backend: registry.backends[device.backend].spec}
    return write_repro([inspection], specs, folder), inspection.result.outcome


@dataclasses.dataclass(frozen=True)
class _One:
    """A suite of one case."""

    case: Case
    name: str = "check"
    version: str = ""

    def __len__(self) -> int:
        return 1

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield self.case

    def facts(self, case_id: str) -> Case:
        return self.case

    def load(self, case_id: str) -> Case:
        return self.case


def _typed(model: Model, outputs: Mapping[str, Value]) -> onnx.ModelProto:
    """The model with the type of every output stated."""
    from hal_conformance.contract.protos import type_proto

    proto = onnx.ModelProto.FromString(model.data)
    for info in proto.graph.output:
        info.type.CopyFrom(type_proto(outputs[info.name].type))
    return proto


def _norm(value: Value) -> float:
    """The root of the mean square of a tensor's finite numbers."""
    if not isinstance(value, Tensor) or not value.element_type.is_native or not value.size:
        return 0.0
    array = value.numpy()
    if array.dtype.kind not in "fc":
        return 0.0
    with np.errstate(all="ignore"):
        finite = np.abs(array[np.isfinite(array)]).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
