"""What `hal check` prints: lines for people, and `hal.check/1` as JSON data."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import Any

from hal import Outcome
from hal.backend import UnsupportedNode
from hal_conformance.check.result import CheckResult, Culprit, Record

__all__ = ["SCHEMA", "document_of", "exit_code", "lines_of"]

SCHEMA = "hal.check/1"
_CODES = {
    Outcome.PASS: 0,
    Outcome.WRONG: 1,
    Outcome.UNSUPPORTED: 6,
    Outcome.FALLBACK: 6,
    Outcome.SKEW: 6,
    Outcome.UNFED: 6,
    Outcome.ERROR: 7,
    Outcome.CRASH: 8,
    Outcome.TIMEOUT: 8,
    Outcome.MEMORY: 8,
}
_NODES = 6  # that are named in a line


def exit_code(result: CheckResult) -> int:
    """The exit code that goes with an outcome (docs/exit-codes.md)."""
    return _CODES.get(result.outcome, 7)


def lines_of(result: CheckResult, model: str) -> Iterator[str]:
    """The result as a person reads it; the first line says it all."""
    device = result.device.id + (" (emulated)" if result.device.emulated else "")
    word = "right" if result.outcome is Outcome.PASS else result.outcome.value
    yield f"{word}: {model} on {device}{_first(result)}"
    yield from _unsupported(result.unsupported)
    if result.placement is not None:
        yield f"  {_placement(result)}"
    if result.outputs and not result.independent:
        yield f"  {result.engine} is of the same backend: no independent reference takes this model"
    if result.culprit is not None:
        yield from _culprit(result, result.culprit)
    elif result.problem:
        yield f"  the node at fault was not found: {result.problem}"
    if result.next_step:
        yield f"  next: {result.next_step}"


def document_of(result: CheckResult) -> dict[str, Any]:
    """The result as JSON data."""
    placed = {n.node: n for n in result.placement.nodes} if result.placement else {}
    culprit = result.culprit
    return {
        "device": {
            "id": result.device.id,
            "emulated": result.device.emulated,
            "versions": dict(result.device.versions),
        },
        "options": dict(result.options),
        "outcome": result.outcome.value,
        "reason": result.reason,
        "next_step": result.next_step,
        "seconds": round(result.seconds, 3),
        "inputs_drawn": result.drawn,
        "accuracy": result.accuracy or None,
        "reference": {
            "device": result.engine,
            "precision": result.precision,
            "independent": result.independent,
            "conditioned_by": result.conditioned_by,
        }
        if result.engine
        else None,
        "outputs": [
            {
                "name": o.name,
                "relative_error": o.error if o.error != float("inf") else None,
                "allowed": o.allowed,
                "judged": o.judged,
                "right": not o.reason,
                "reason": o.reason,
            }
            for o in result.outputs
        ],
        "nodes": [
            {
                "name": name,
                "operator": result.operators[name],
                "device": placed[name].device or None,
                "folded": placed[name].folded,
                "evidence": placed[name].evidence.value,
            }
            if name in placed
            else {"name": name, "operator": result.operators[name], "device": None}
            for name in result.nodes
        ],
        "unsupported": [
            {"node": n.node, "operator": n.operator, "reason": n.reason} for n in result.unsupported
        ],
        "culprit": {
            "nodes": list(culprit.nodes),
            "operators": list(culprit.operators),
            "value": culprit.value,
            "reason": culprit.reason,
            "records": [
                {"operator": r.operator, "outcomes": {o.value: n for o, n in r.outcomes.items()}}
                for r in culprit.records
            ],
            "reproduction": str(culprit.folder) if culprit.folder else None,
            "reproduced": culprit.reproduced.value if culprit.reproduced else None,
        }
        if culprit
        else None,
        "problem": result.problem,
    }


def _unsupported(nodes: Sequence[UnsupportedNode]) -> Iterator[str]:
    """A line for the nodes of one operator that are refused for one reason."""
    said = {f"as {node.node}": node.reason for node in nodes}
    groups: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        reason = said.get(node.reason, node.reason)
        groups.setdefault((node.operator, reason), []).append(node.node)
    for (operator, reason), names in groups.items():
        yield f"  {_listed(names)} ({operator}): {reason}"
    if any(len(names) > _NODES for names in groups.values()):
        yield "  every node by name: --json"


def _first(result: CheckResult) -> str:
    if result.outcome is not Outcome.PASS:
        return f": {result.reason}"
    judged = [o for o in result.outputs if o.judged]
    left = len(result.outputs) - len(judged)
    drawn = f"; {left} not judged: random" if left else ""
    if not judged:
        return drawn
    worst = max(judged, key=lambda o: (o.error / o.allowed if o.allowed else 0.0, o.error))
    count = f"{len(judged)} outputs" if len(judged) > 1 else "1 output"
    return (
        f": {count} within {worst.error:.2g} of {result.engine} in {result.precision} "
        f"(allowed {worst.allowed:.2g}){drawn}"
    )


def _placement(result: CheckResult) -> str:
    """How many nodes ran where, by their evidence."""
    placement = result.placement
    if placement is None:
        return ""
    where: collections.Counter[tuple[str, str]] = collections.Counter()
    placed = {n.node: n for n in placement.nodes}
    for name in result.nodes:
        node = placed.get(name)
        if node is None:
            where["the backend does not say", ""] += 1
        elif node.folded:
            where["folded or fused away", ""] += 1
        else:
            where[f"on {node.device}", node.evidence.value] += 1
    parts = [
        f"{count} {place}" + (f" ({evidence})" if evidence else "")
        for (place, evidence), count in where.most_common()
    ]
    elsewhere = placement.elsewhere(result.device.id)
    text = f"{len(result.nodes)} nodes: {', '.join(parts)}"
    if elsewhere:
        text += f"; elsewhere: {_listed([n.node for n in elsewhere])}"
    return text


def _culprit(result: CheckResult, culprit: Culprit) -> Iterator[str]:
    broke = result.outcome is not Outcome.WRONG
    if len(culprit.nodes) == 1:
        name = f"{culprit.nodes[0]!r} ({culprit.operators[0]})"
        what = "at fault" if broke else "the first wrong node"
        value = f", its result {culprit.value!r}" if culprit.value else ""
        yield f"  {what}: {name}{value}: {culprit.reason}"
        yield "  shown by this node alone, on the reference's values"
    else:
        yield f"  at fault: {len(culprit.nodes)} nodes together, none of them alone: " + _listed(
            [f"{n} ({o})" for n, o in zip(culprit.nodes, culprit.operators, strict=True)]
        )
        yield f"  {culprit.reason}"
    for record in culprit.records:
        yield f"  {_record(record)}"
    if culprit.folder is not None:
        again = culprit.reproduced.value if culprit.reproduced else "not run"
        yield f"  reproduction: {culprit.folder} (run again by itself: {again})"


def _record(record: Record) -> str:
    if not record.total:
        return f"{record.operator} has no official case of its own"
    passed = record.outcomes.get(Outcome.PASS, 0)
    others = ", ".join(
        f"{n} {o.value}" for o, n in record.outcomes.items() if o is not Outcome.PASS
    )
    more = f" ({others})" if others else ""
    return f"{record.operator} by itself: {passed} of {record.total} official cases pass{more}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NODES} more" if len(names) > _NODES else ""
    return ", ".join(names[:_NODES]) + more
