"""A first expectations file from a run: every failure listed, for the author to go through."""

from __future__ import annotations

import collections
import glob
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hal import Device, Outcome
from hal_conformance._files import write_text
from hal_conformance.expectations import Status
from hal_conformance.report import CaseResult, DeviceReport

__all__ = ["render_expectations", "write_expectations"]

_NOT_A_FAILURE = (Outcome.PASS, Outcome.DISPUTED, Outcome.NOT_RUN)
_PERMANENT = (Outcome.UNSUPPORTED, Outcome.SKEW, Outcome.UNFED)
_HEAD = """\
# What is known of this backend's failures. The lines were written from a run: go through them, and
# say why and until when. docs/reading-a-score.md has the reference.
"""


def write_expectations(reports: Iterable[DeviceReport], path: Path) -> None:
    """Write the expectations under which these reports' runs are not red. Raises OutputError."""
    text = "\n".join(render_expectations(r.device, r.cases) for r in reports)
    write_text(path, f"{_HEAD}\n{text}")


def render_expectations(device: Device, results: Sequence[CaseResult]) -> str:
    """TOML lines for every failure on a device.

    Cases of the same operators that fail alike share a line where a prefix of their ids fits no
    other case of the run.
    """
    groups: dict[tuple[tuple[str, ...], Outcome], list[CaseResult]] = collections.defaultdict(list)
    for result in results:
        if result.outcome not in _NOT_A_FAILURE:
            groups[result.operators, result.outcome].append(result)
    every_id = [r.id for r in results]
    lines = []
    for (_, outcome), group in sorted(groups.items(), key=lambda item: item[1][0].id):
        shared = _shared_pattern([r.id for r in group], every_id)
        if shared:
            lines.append(_line(shared, device, outcome, _common_reason(group)))
        else:
            lines += [_line(glob.escape(r.id), device, outcome, _common_reason([r])) for r in group]
    return "\n".join(lines)


def _shared_pattern(ids: Sequence[str], every_id: Iterable[str]) -> str:
    """A glob that fits exactly `ids`, "" when their common prefix does not tell them apart."""
    first, last = min(ids), max(ids)  # what these two share, all share
    same = (a == b for a, b in zip(first, last, strict=False))
    prefix = first[: sum(itertools.takewhile(bool, same))]
    if len(ids) < 2 or sum(case_id.startswith(prefix) for case_id in every_id) != len(ids):
        return ""
    return f"{glob.escape(prefix)}*"


def _common_reason(group: Sequence[CaseResult]) -> str:
    reasons = collections.Counter(" ".join(r.reason.split()) for r in group)
    return reasons.most_common(1)[0][0] or group[0].outcome.value


def _line(pattern: str, device: Device, outcome: Outcome, reason: str) -> str:
    status: Status = "unsupported" if outcome in _PERMANENT else "xfail"
    pairs = {"pattern": pattern, "device": device.id, "status": status}
    if status == "xfail":
        pairs["outcome"] = outcome.value
    pairs["reason"] = reason
    return "[[expect]]\n" + "".join(f"{k} = {_text(v)}\n" for k, v in pairs.items())


def _text(value: str) -> str:
    # JSON's escapes are TOML's, but for what TOML allows raw: no DEL and no lone surrogate.
    clean = re.sub("[\ud800-\udfff]", "\ufffd", value)
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
