"""Reports made up for tests of what is shown: any number of cases over the contract's own cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from types import MappingProxyType

from hal_conformance.report import (
    CaseResult,
    Ceiling,
    ContractInfo,
    DeepReport,
    DeviceReport,
    Environment,
    Limits,
    Report,
    Selection,
    SpeedEntry,
    SpeedReport,
)
from hal_conformance.scoring import Profile, build_report

from hal import Device, Outcome
from hal.contract import contract

HOSTILE = '</script><img src=x onerror=\'document.title="hacked"\'> & "quoted" \x07 \ud800 | `code`'


@dataclasses.dataclass(frozen=True)
class Facts:
    id: str
    operators: tuple[str, ...]
    cells: tuple[str, ...]
    single_operator: str
    expanded: bool = False


def facts(count: int) -> list[Facts]:
    """As many cases, spread over the contract's cells."""
    cells = contract().cells()
    step = max(1, len(cells) // count)
    chosen = [cells[(i * step) % len(cells)] for i in range(count)]
    return [
        Facts(
            f"contract/{c.operator}-{c.since_version}/case-{i}", (c.operator,), (c.id,), c.operator
        )
        for i, c in enumerate(chosen)
    ]


def device_report(
    device: str,
    cases: Sequence[Facts],
    outcome: Callable[[int], Outcome],
    *,
    reason: str = "output 'y': 1 of 3 elements differ",
    selection: Selection = Selection("contract"),  # noqa: B008 (frozen)
    emulated: bool = False,
    notes: Sequence[str] = (),
) -> DeviceReport:
    """A device's report in which case number i came to `outcome(i)`."""
    results = [
        CaseResult(
            case.id,
            case.operators,
            outcome(i),
            "sole" if outcome(i) is Outcome.PASS else "",
            "" if outcome(i) is Outcome.PASS else reason,
            0.001 * (i % 7),
        )
        for i, case in enumerate(cases)
    ]
    return build_report(
        Device(device, "npu", emulated=emulated, versions=MappingProxyType({"sdk": "1.2"})),
        cases,
        results,
        contract=ContractInfo(contract().version, contract().onnx_version),
        contract_cells=len(contract().cells()),
        suites=[selection.suite],
        wall_seconds=1.0,
        environment=Environment("3.11", "Linux", {"hal-conformance": "0.1.0"}),
        limits=Limits(),
        selection=selection,
        profile=Profile("full", {c.id for c in cases}),
        notes=notes,
    )


def four_devices(count: int) -> Report:
    """Four devices that fail in four ways, and differ in speed; one is emulated."""
    cases = facts(count)
    ways = (Outcome.WRONG, Outcome.UNSUPPORTED, Outcome.CRASH, Outcome.SKEW)
    reports = (
        device_report(
            f"made{number}:npu",
            cases,
            lambda i, n=number, way=way: way if i % (5 + n) == 0 else Outcome.PASS,  # type: ignore[misc]
            reason=HOSTILE,
            emulated=number == 3,
        )
        for number, way in enumerate(ways)
    )
    return Report(
        tuple(
            dataclasses.replace(
                one,
                speed=speed_report(
                    1.0 + number,
                    reference="made0:npu" if number in (1, 2) else "",
                    emulated=one.device.emulated,
                ),
            )
            for number, one in enumerate(reports)
        )
    )


def deep_report() -> DeepReport:
    """Two operators and types were searched, one fails."""
    one = CaseResult("contract/Equal-19/int64-deep-1", ("Equal",), Outcome.CRASH, "", HOSTILE, 0.01)
    return DeepReport(5, 2, 2, {"crash": 1, "pass": 7}, (one,), (), 3.0)


def speed_report(scale: float = 1.0, *, reference: str = "", emulated: bool = False) -> SpeedReport:
    """Two operators that have times, `scale` times as long, and one that has none."""
    first, second = (1e-4 * scale, 1.1e-4 * scale, 1e-4 * scale), (2e-3 * scale,) * 3
    against = (1e-4, 1e-4, 1e-4) if reference else ()
    entries = (
        SpeedEntry("Relu", "float[1,64,56,56]", 40, False, 2e5, 1605632, first, against, 1 << 20),
        SpeedEntry("Conv", "float[1,64,56,56], float[64,64,3,3]", 9, False, 2.3e8, 1753088, second),
        SpeedEntry("DFT", HOSTILE, 0, True, 5e7, 12582912, reason=HOSTILE),
    )
    ceilings = (
        Ceiling("matmul", "MatMul float[512,512]", 3145728, 2e11, 1.02),
        Ceiling("copy", "Neg float[2048,1024]", 16777216, 2e10, 1.05),
    )
    return SpeedReport(
        planned=3,
        entries=entries,
        ceilings=() if emulated else ceilings,
        emulated=emulated,
        reference=reference,
        seconds=12.5,
        notes=("a note",),
    )
