"""Which cells of the contract the suite `contract` exercises: `hal ops --coverage`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hal.cli._output import console, table, write_json
from hal.contract import CONTRIBUTED_DOMAIN, STABLE_DOMAINS, Cell, Contract
from hal_conformance.case import CaseFacts, load_suite

__all__ = ["SCHEMA", "Apart", "Coverage", "Fraction", "Missing", "coverage_of", "show_coverage"]

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
class Apart:
    """A domain that is not among those of the standard."""

    cells: Fraction
    operators: Fraction
    missing: tuple[Missing, ...]


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
    apart: Mapping[str, Apart] = dataclasses.field(default_factory=dict)
    """By domain what is counted apart: the preview domains, and com.microsoft."""


def coverage_of(
    cases: Iterable[CaseFacts], cells: Collection[Cell], operators: Collection[str]
) -> Coverage:
    """What these cases cover of the cells and operators given."""
    listed = list(cases)
    sound = [case for case in listed if not case.disputed]
    tensors = [c for c in cells if not c.container]
    containers = [c for c in cells if c.container]
    covered = _covered(sound)
    return Coverage(
        all=_fraction(cells, covered),
        tensor=_fraction(tensors, covered),
        container=_fraction(containers, covered),
        operators=_reached(operators, sound),
        cases=len(listed),
        disputed=len(listed) - len(sound),
        missing=_missing(cells, covered),
    )


def coverage_apart(cases: Iterable[CaseFacts], contract: Contract) -> dict[str, Apart]:
    """What is covered of the domains whose cells are not among those of the standard."""
    sound = [case for case in cases if not case.disputed]
    covered = _covered(sound)
    previews = [d for d in contract.domains if d not in STABLE_DOMAINS]
    tables = [(d, contract) for d in previews] + [(CONTRIBUTED_DOMAIN, contract.contributed)]
    found = {}
    for domain, table_of in tables:
        cells = table_of.cells(domains=[domain])
        keys = [op.key for op in table_of.operators if op.domain == domain]
        found[domain] = Apart(
            _fraction(cells, covered), _reached(keys, sound), _missing(cells, covered)
        )
    return found


def _covered(sound: Iterable[CaseFacts]) -> set[str]:
    return {cell for case in sound for cell in case.cells}


def _reached(operators: Collection[str], sound: Iterable[CaseFacts]) -> Fraction:
    reached = {operator for case in sound for operator in case.operators}
    return Fraction(sum(o in reached for o in operators), len(operators))


def _missing(cells: Collection[Cell], covered: Collection[str]) -> tuple[Missing, ...]:
    from hal_conformance.contract.build import load_families
    from hal_conformance.contract.gaps import reason_of

    load_families()
    return tuple(Missing(c.id, reason_of(c.operator, c.id)) for c in cells if c.id not in covered)


def show_coverage(
    contract: Contract,
    cells: Collection[Cell],
    operators: Collection[str],
    *,
    whole: bool,
    as_json: bool,
) -> None:
    """Print what suite `contract` covers of these cells; what is missing, with the reason. Where
    they are the `whole` contract, what is counted apart follows."""
    suite = load_suite("contract")
    found = coverage_of(suite, cells, operators)
    if whole:
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
    )
    out.print(table(("suite contract", "covered"), rows))
    out.print(
        f"{found.cases} cases, {found.disputed} of them disputed (onnx {contract.onnx_version})"
    )
    if found.missing:
        out.print(f"\n{len(found.missing)} cells have no case:")
        out.print(table(("cell", "reason"), ((m.cell, m.reason) for m in found.missing)))
    if found.apart:
        out.print("\nCounted apart:")
        parts = ((d, str(a.cells), str(a.operators)) for d, a in found.apart.items())
        out.print(table(("domain", "cells covered", "operators"), parts))
        for domain, part in found.apart.items():
            if part.missing:
                out.print(f"\n{len(part.missing)} cells of {domain} have no case:")
                out.print(table(("operator", "cells", "reason"), _by_operator(part.missing)))


def _by_operator(missing: Iterable[Missing]) -> list[tuple[str, str, str]]:
    """A row an operator and reason: the domains apart lack most of their cells."""
    count = Counter((m.cell.split("/")[0].rpartition("::")[2], m.reason) for m in missing)
    return [(name, str(number), reason) for (name, reason), number in count.items()]


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
        "apart": {
            domain: {
                **dataclasses.asdict(part.cells),
                "operators": dataclasses.asdict(part.operators),
                "missing": [dataclasses.asdict(m) for m in part.missing],
            }
            for domain, part in found.apart.items()
        },
        "cases": found.cases,
        "disputed": found.disputed,
        "missing": [dataclasses.asdict(m) for m in found.missing],
    }
