"""What a conformance report is made of. Import these from `hal_conformance.report`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping

from hal import Device, Outcome
from hal_conformance._speed_report import SpeedReport

__all__ = [
    "CaseResult",
    "ContractInfo",
    "DeviceReport",
    "Environment",
    "GroupScore",
    "Headline",
    "Limits",
    "OperatorSummary",
    "ProfileCells",
    "Report",
    "Score",
    "Scores",
    "Selection",
]


@dataclasses.dataclass(frozen=True)
class CaseResult:
    """What came of one case on one device.

    `evidence` is the grade of the placement, "" when the case never ran. `seconds` is the time from
    compiling to comparing. `expected` is what the backend's expectations say of it: "" (nothing),
    "unsupported", "xfail", "stale" (listed, but it passes) or "unexpected" (a failure that a strict
    expectations file does not list). `cells` are those that the case exercises.
    """

    id: str
    operators: tuple[str, ...]
    outcome: Outcome
    evidence: str = ""
    reason: str = ""
    seconds: float = 0.0
    expected: str = ""
    cells: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Score:
    """A fraction with its denominator. Raises ValueError unless 0 <= passed <= total.

    `of_contract` is for cells: how many the contract has, of which `total` were exercised.
    """

    passed: int
    total: int
    of_contract: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.passed <= self.total:
            raise ValueError(f"a score of {self.passed} out of {self.total}")

    def __str__(self) -> str:
        """ "1590/2024 (78.6 %)"; 100.0 % and 0.0 % are printed only for all and for none."""
        if not self.total:
            return "0/0"
        tenths = round(1000 * self.passed / self.total)
        if 0 < self.passed < self.total:
            tenths = min(max(tenths, 1), 999)
        return f"{self.passed}/{self.total} ({tenths / 10:.1f} %)"

    def at_least(self, percent: float) -> bool:
        """Whether the exact fraction reaches `percent`; a score of nothing reaches only 0."""
        return 100 * self.passed >= percent * self.total if self.total else percent <= 0


@dataclasses.dataclass(frozen=True)
class Headline:
    """The one fraction that is shown first: cases passed of those in a profile."""

    profile: str
    score: Score


@dataclasses.dataclass(frozen=True)
class GroupScore:
    """The scores over a part of a suite that the suite names, e.g. "backward" or a family of
    operators."""

    name: str
    cases: Score
    operators_any: Score
    operators_all: Score


@dataclasses.dataclass(frozen=True)
class ProfileCells:
    """The cells score over those of one profile; `of_contract` is how many the profile has."""

    profile: str
    cells: Score


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a complete run.

    `grades` counts the passed cases by grade of placement evidence, every grade present; the
    `declared` ones rest on the plugin's word alone. `disputed` names the cases that were left out
    of every denominator. `groups` are the scores that the suite asks for beside these. `usage`
    counts nodes of real models: of those whose operators have single-operator cases here, the ones
    of operators of which all pass; None where there are none. `profiles` has the cells by profile.
    """

    cases: Score
    cells: Score
    operators_any: Score
    operators_all: Score
    grades: Mapping[str, int]
    headline: Headline | None = None
    disputed: tuple[str, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    usage: Score | None = None
    profiles: tuple[ProfileCells, ...] = ()


@dataclasses.dataclass(frozen=True)
class OperatorSummary:
    """One operator on one device, over its single-operator cases that are no expansion.

    An operator without such a case is summed up over every case that contains it, and `single` is
    false. `median_seconds` is over its passing cases, None when none passes. `reasons` holds the
    distinct reasons of what did not pass, worst outcome first, at most three.
    """

    operator: str
    passed: int
    total: int
    single: bool
    median_seconds: float | None
    outcomes: Mapping[str, int]
    reasons: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ContractInfo:
    """The contract that was measured against, and the onnx version it was made from."""

    version: str
    onnx: str


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where the run took place: versions, and nothing that names a person or a machine."""

    python: str
    platform: str
    packages: Mapping[str, str]

    @classmethod
    def here(cls, distributions: Iterable[str]) -> Environment:
        """This process's; distributions that are not installed are left out."""
        packages = {}
        for name in sorted(set(distributions)):
            try:
                packages[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        return cls(platform.python_version(), system, packages)


@dataclasses.dataclass(frozen=True)
class Limits:
    """`timeout`: seconds a call may take. `memory`: bytes a host may grow. `jobs`: hosts at a
    time."""

    timeout: float = 60.0
    memory: int = 4 << 30
    jobs: int = 1


@dataclasses.dataclass(frozen=True)
class Selection:
    """What was asked for; an empty profile or pattern selects everything."""

    suite: str
    profile: str = ""
    pattern: str = ""

    @property
    def full(self) -> bool:
        """Whether every case of the suite was selected."""
        return not self.profile and not self.pattern


@dataclasses.dataclass(frozen=True)
class DeepReport:
    """What `--depth deep` found beside the score: `draws` cases of each of `targets` operators and
    types, of which `searched` were reached. `outcomes` counts the cases that ran; `failures` are
    the minimal ones, one an operator and type at most."""

    draws: int
    targets: int
    searched: int
    outcomes: Mapping[str, int]
    failures: tuple[CaseResult, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return self.searched == self.targets

    @property
    def summary(self) -> str:
        """One line for people."""
        total = sum(self.outcomes.values())
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        reached = f"{self.targets}" if self.complete else f"{self.searched} of {self.targets}"
        return (
            f"deep, beside the score: {total} cases of {reached} operators and types ({counts}); "
            f"{len(self.failures)} fail, each shrunk to a minimal case; {self.seconds:.0f} s"
        )


@dataclasses.dataclass(frozen=True)
class DeviceReport:
    """Everything measured on one device. `scores` is None when the run is incomplete: part of a run
    is no score. `outcomes` and `classes` count every outcome and class by name, zeros included.
    `problems` are what made or would make the run red, `notes` what a reader should know."""

    device: Device
    contract: ContractInfo
    suites: tuple[str, ...]
    complete: bool
    wall_seconds: float
    scores: Scores | None
    outcomes: Mapping[str, int]
    classes: Mapping[str, int]
    operators: tuple[OperatorSummary, ...]
    cases: tuple[CaseResult, ...]
    environment: Environment
    limits: Limits
    selection: Selection
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    deep: DeepReport | None = None
    speed: SpeedReport | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """The reports of one run, a device each."""

    reports: tuple[DeviceReport, ...]
