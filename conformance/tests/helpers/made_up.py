"""Reports made up for tests of what is shown: any number of cases over the contract's own cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from types import MappingProxyType

from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Report,
    Selection,
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
    """Four devices that fail in four ways; one is emulated."""
    cases = facts(count)
    ways = (Outcome.WRONG, Outcome.UNSUPPORTED, Outcome.CRASH, Outcome.SKEW)
    return Report(
        tuple(
            device_report(
                f"made{number}:npu",
                cases,
                lambda i, n=number, way=way: way if i % (5 + n) == 0 else Outcome.PASS,  # type: ignore[misc]
                reason=HOSTILE,
                emulated=number == 3,
            )
            for number, way in enumerate(ways)
        )
    )
