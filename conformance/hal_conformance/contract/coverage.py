"""Which cells of the contract the suite `contract` exercises: `hal ops --coverage`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hal.cli._output import console, table, write_json
from hal.contract import CONTRIBUTED_DOMAIN, STABLE_DOMAINS, Cell, Contract
from hal_conformance.case import CaseFacts, load_suite

__all__ = ["SCHEMA", "Coverage", "Fraction", "Missing", "coverage_of", "show_coverage"]

SCHEMA = "hal.coverage/1"


@dataclasses.dataclass(frozen=True)
class Fraction:
    """How many of how many."""

    covered: int
    total: int

    def __str__(self) -> str:
        share = 100 * self.covered / self.total if self.total else 100.0
        return f"{self.covered}/{self.total} ({share:.1f} %)"


@dataclasses.dataclass(frozen=True)
class Missing:
    """A cell without a case, and why."""

    cell: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Coverage:
    """A cell is covered when a case exercises it by the actual types of its node, and is not
    disputed; an operator when one of its cells is, or it has no cells and a case."""

    all: Fraction
    tensor: Fraction
    container: Fraction
    operators: Fraction
    cases: int
    disputed: int
    missing: tuple[Missing, ...]
    apart: Mapping[str, Fraction] = dataclasses.field(default_factory=dict)
    """Cells by domain of what is counted apart: the preview domains, and com.microsoft."""


def coverage_of(
    cases: Iterable[CaseFacts], cells: Collection[Cell], operators: Collection[str]
) -> Coverage:
    """What these cases cover of the cells and operators given."""
    from hal_conformance.contract.build import load_families
    from hal_conformance.contract.gaps import reason_of

    load_families()
    listed = list(cases)
    sound = [case for case in listed if not case.disputed]
    covered = {cell for case in sound for cell in case.cells}
    reached = {operator for case in sound for operator in case.operators}
    tensors = [c for c in cells if not c.container]
    containers = [c for c in cells if c.container]
    return Coverage(
        all=_fraction(cells, covered),
        tensor=_fraction(tensors, covered),
        container=_fraction(containers, covered),
        operators=Fraction(sum(o in reached for o in operators), len(operators)),
        cases=len(listed),
        disputed=len(listed) - len(sound),
        missing=tuple(
            Missing(c.id, reason_of(c.operator, c.id)) for c in cells if c.id not in covered
        ),
    )


def coverage_apart(cases: Iterable[CaseFacts], contract: Contract) -> dict[str, Fraction]:
    """What is covered of the domains whose cells are not among those of the standard."""
    covered = {cell for case in cases if not case.disputed for cell in case.cells}
    previews = [d for d in contract.domains if d not in STABLE_DOMAINS]
    tables = [(d, contract) for d in previews] + [(CONTRIBUTED_DOMAIN, contract.contributed)]
    return {d: _fraction(table.cells(domains=[d]), covered) for d, table in tables}


def show_coverage(
    contract: Contract, cells: Collection[Cell], operators: Collection[str], *, as_json: bool
) -> None:
    """Print what suite `contract` covers of these cells; what is missing, with the reason."""
    suite = load_suite("contract")
    found = coverage_of(suite, cells, operators)
    found = dataclasses.replace(found, apart=coverage_apart(suite, contract))
    if as_json:
        write_json(SCHEMA, _document(contract, found))
        return
    out = console()
    rows = (
        ("all cells", str(found.all)),
        ("over tensors", str(found.tensor)),
        ("over sequences, optionals and maps", str(found.container)),
        ("operators", str(found.operators)),
        *((f"apart: {domain}", str(part)) for domain, part in found.apart.items()),
    )
    out.print(table(("suite contract", "covered"), rows))
    out.print(
        f"{found.cases} cases, {found.disputed} of them disputed (onnx {contract.onnx_version})"
    )
    if found.missing:
        out.print(f"\n{len(found.missing)} cells have no case:")
        out.print(table(("cell", "reason"), ((m.cell, m.reason) for m in found.missing)))


def _fraction(cells: Collection[Cell], covered: Collection[str]) -> Fraction:
    return Fraction(sum(cell.id in covered for cell in cells), len(cells))


def _document(contract: Contract, found: Coverage) -> dict[str, Any]:
    return {
        "contract": {"version": contract.version, "onnx": contract.onnx_version},
        "coverage": {
            **dataclasses.asdict(found.all),
            "tensor": dataclasses.asdict(found.tensor),
            "container": dataclasses.asdict(found.container),
            "operators": dataclasses.asdict(found.operators),
        },
        "apart": {d: dataclasses.asdict(part) for d, part in found.apart.items()},
        "cases": found.cases,
        "disputed": found.disputed,
        "missing": [dataclasses.asdict(m) for m in found.missing],
    }
