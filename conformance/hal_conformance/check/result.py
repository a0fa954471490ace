"""What `hal check` found, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from hal import Device, Outcome, Placement
from hal.backend import Option, UnsupportedNode

__all__ = ["CheckResult", "Culprit", "Output", "Record"]


@dataclasses.dataclass(frozen=True)
class Output:
    """How far an output is from the reference's: its relative L2 error, and the one allowed.
    `reason` says why it is wrong, "" where it is right; `judged` is False where a draw decides."""

    name: str
    error: float
    allowed: float
    reason: str
    judged: bool


@dataclasses.dataclass(frozen=True)
class Record:
    """How a device does on the official cases of an operator: cases by outcome."""

    operator: str
    outcomes: Mapping[Outcome, int]

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())


@dataclasses.dataclass(frozen=True)
class Culprit:
    """The nodes that show a model's outcome by themselves, run on the reference's values.

    `value` is the first that is wrong, "" where none came. `folder` holds the reproduction;
    `reproduced` says what came when it was run.
    """

    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    value: str
    reason: str
    records: tuple[Record, ...] = ()
    folder: Path | None = None
    reproduced: Outcome | None = None


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What came of one model on one device.

    `unsupported` are the nodes that the device does not take. `engine`, `precision`, `independent`
    and `conditioned_by` tell of the reference run, where there was one; `accuracy` is the budget
    that was given, 0 where the model's own conditioning decides. `drawn` says that HAL made the
    inputs up. `problem` says why no node at fault was found, where one was looked for.
    """

    device: Device
    options: Mapping[str, Option]
    outcome: Outcome
    reason: str
    nodes: tuple[str, ...]
    operators: Mapping[str, str]
    """The operator of each node of the main graph, by its name."""
    seconds: float
    drawn: bool
    accuracy: float
    next_step: str = ""
    unsupported: tuple[UnsupportedNode, ...] = ()
    placement: Placement | None = None
    outputs: tuple[Output, ...] = ()
    engine: str = ""
    precision: str = ""
    independent: bool = False
    conditioned_by: str = ""
    culprit: Culprit | None = None
    problem: str = ""
