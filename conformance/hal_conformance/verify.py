"""Whether a submission holds what it says: complete, consistent with the contract, reproducible.

What each check can and cannot prove stands in docs/submissions.md.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator

from hal.errors import HalError
from hal.plugins import Registry
from hal_conformance.report import DeviceReport
from hal_conformance.session import choose_cases
from hal_conformance.submission import Part, Submission
from hal_conformance.verify_made import (
    check_cases,
    check_digests,
    check_expectations,
    check_outcomes,
    check_scores,
    draw,
)
from hal_conformance.verify_stated import Check, check_complete, check_log, check_versions

__all__ = ["Check", "DeviceVerdict", "Verification", "verify"]


@dataclasses.dataclass(frozen=True)
class DeviceVerdict:
    """The checks of one device of a report."""

    device: str
    suite: str
    checks: tuple[Check, ...]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was found. `seed` draws the same sample again."""

    devices: tuple[DeviceVerdict, ...]
    folder: Check
    seed: int

    @property
    def accepted(self) -> bool:
        """Whether no check has a problem."""
        checks = [self.folder, *(c for d in self.devices for c in d.checks)]
        return not any(c.problems for c in checks)


def verify(
    registry: Registry,
    submission: Submission,
    *,
    sample: int = 100,
    rerun: int = 0,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda doing: None,
) -> Verification:
    """Check a submission: `sample` cases of each device are made again from their ids, and `rerun`
    cases run again on the device of that id here.

    A check that needs what an earlier one refused (the cases of a suite that is not here) is left
    out. With `rerun`, raises what `Registry.find_device` raises for a device that is not ready.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    devices = []
    for report in submission.report.reports:
        part = submission.parts.get(report.device.id)
        checks = _checks(registry, report, part, sample, rerun, seed, progress)
        devices.append(DeviceVerdict(report.device.id, report.selection.suite, tuple(checks)))
    return Verification(tuple(devices), _folder(submission), seed)


def _folder(submission: Submission) -> Check:
    problems = [f"{name} is not the file that was submitted" for name in submission.altered]
    ids = [r.device.id for r in submission.report.reports]
    if not ids:
        problems.append("the report holds no device: a run with no result is no score")
    if len(ids) != len(set(ids)):
        problems.append("the report holds a device twice")
    devices = f"{len(ids)} device" + ("s" if len(ids) != 1 else "")
    return Check("folder", f"{devices}, and a digest of each file", tuple(problems))


def _checks(
    registry: Registry,
    report: DeviceReport,
    part: Part | None,
    sample: int,
    rerun: int,
    seed: int,
    progress: Callable[[str], None],
) -> Iterator[Check]:
    progress(f"{report.device.id}: the report and its log")
    yield (complete := check_complete(report))
    if part is None:
        yield Check("log", "none", ("the submission has no log of this device",))
        return
    yield check_log(report, part)
    try:
        suite, cases = choose_cases(
            registry, report.selection.suite, report.selection.profile, patterns=()
        )
    except HalError as error:
        yield Check("versions", "", (f"its cases cannot be made here: {error}",))
        return
    yield (versions := check_versions(report, part, suite))
    if versions.problems:
        return
    yield (same := check_cases(report, cases))
    yield check_expectations(report, part, suite, registry)
    if complete.problems or same.problems:
        return
    yield check_scores(report, suite, cases)
    yield check_digests(report, part, suite, draw(report, sample, seed), progress)
    if rerun:
        yield check_outcomes(report, part, suite, draw(report, rerun, seed), registry, progress)
