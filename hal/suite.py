"""Suites of plugins: cases that a plugin runs and judges itself, in the host process of a backend.

A case of such a suite is no ONNX model: HAL knows its id, its operator and the groups that it is
scored in, and the plugin's runner knows the rest (docs/adr/0003-suites-of-plugins.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

from hal.device import Device
from hal.outcome import Outcome
from hal.placement import Evidence

__all__ = ["CaseRunner", "SuiteCase", "SuiteCases", "SuiteSpec", "Verdict"]


@dataclasses.dataclass(frozen=True)
class SuiteCase:
    """A case as HAL sees it: `id` is "<suite>/<path>", `operator` the one that it is about, and
    `groups` name the scores of the suite that it counts in."""

    id: str
    operator: str
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SuiteCases:
    """What a suite runs.

    `version` says what the cases were made from: other versions, other cases. The first group of
    the first case is the suite's headline. `others` are the ids that a wider suite of the same
    plugin has beside these, so that an expectation that names one is no slip. `left_out` has the
    reason for every operator that the suite leaves out by name.
    """

    version: str
    cases: tuple[SuiteCase, ...]
    others: tuple[str, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one case. `evidence` is the grade of what is known about where it ran, None when
    it did not run; `reason` is "" for a pass."""

    outcome: Outcome
    evidence: Evidence | None = None
    reason: str = ""


class CaseRunner(Protocol):
    """Runs the cases of a suite. It lives in the host process, and is made there once."""

    def run(self, device: Device, case_id: str) -> Verdict:
        """Run one case on a device and judge it. What it raises counts like what a backend raises:
        UnsupportedError as `unsupported`, any exception that is no HalError as `error`."""
        ...


@dataclasses.dataclass(frozen=True)
class SuiteSpec:
    """What a plugin's `hal_suites` hook returns: a suite's name, and how to get it.

    `backend` names the backend on whose devices, and in whose host process, the cases run. `cases`
    is called in the main process when the suite is chosen, and imports no SDK; it raises
    AbsentError when something that the suite needs is not installed. `runner` is called in the host
    process, once. `env` is added to the environment of the hosts.
    """

    name: str
    backend: str
    cases: Callable[[], SuiteCases]
    runner: Callable[[], CaseRunner]
    summary: str = ""
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
