"""One `hal conformance`: which devices and cases, the run of each, and the report of it all."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from hal import Device
from hal.backend import BackendSpec, Option
from hal.contract import CONTRIBUTED_DOMAIN, contract, profile_for_kind
from hal.contract.profiles import load_profile
from hal.device import backend_of
from hal.errors import CrashError, HalError, UsageError
from hal.plugins import BackendStatus, Registry, State
from hal_conformance.case import (
    CaseFacts,
    HasId,
    HostedCase,
    Suite,
    is_contributed,
    load_suite,
    select,
)
from hal_conformance.deep.choices import is_deep
from hal_conformance.expectations import Expectations
from hal_conformance.expectations_judge import judge
from hal_conformance.journal import Journal
from hal_conformance.precision import stated
from hal_conformance.report import (
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Selection,
)
from hal_conformance.runner import Progress, Run, run_cases
from hal_conformance.scoring import Profile, build_report
from hal_conformance.suite_plugin import PluginSuite

__all__ = [
    "Plan",
    "all_ids",
    "choose_cases",
    "choose_devices",
    "contract_of",
    "headline_of",
    "host_environment",
    "measure",
    "options_of",
]

ProgressFactory = Callable[[Device, int], AbstractContextManager[Progress]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to run, and how. `case_ids` of the suite are those that `selection` admits."""

    suite: Suite
    cases: tuple[CaseFacts, ...]
    selection: Selection
    limits: Limits
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    resume: bool = False

    @classmethod
    def make(
        cls,
        registry: Registry,
        selection: Selection,
        patterns: Sequence[str],
        limits: Limits,
        options: Mapping[str, Option],
        *,
        resume: bool,
    ) -> Plan:
        """Raises UsageError for an unknown suite or profile, and when nothing is selected,
        AbsentError when something that the suite needs is not installed."""
        suite, cases = choose_cases(registry, selection.suite, selection.profile, patterns)
        return cls(suite, tuple(cases), selection, limits, options, resume)


def choose_cases(
    registry: Registry, suite_name: str, profile: str, patterns: Sequence[str]
) -> tuple[Suite, list[CaseFacts]]:
    """A suite, and its cases that the profile and the patterns admit; a pattern that is the id of a
    deep case adds that case. Raises as `Plan.make`."""
    operators = _profile_operators(profile) if profile else None
    suite = load_suite(suite_name, registry.suites)
    if profile and isinstance(suite, PluginSuite):
        raise UsageError(
            f"profiles are of ONNX's operators, and the suite {suite.name} has others",
            next_step=f"hal conformance --suite {suite.name} -k PATTERN",
        )
    deep = [suite.facts(p) for p in patterns if suite.name == "contract" and is_deep(p)]
    others = [p for p in patterns if p not in {case.id for case in deep}]
    cases = [] if deep and not others else select(suite, others, operators=operators)
    if not profile:  # com.microsoft is counted apart: one run has its cases, or the standard's
        asked = any(CONTRIBUTED_DOMAIN in p.lower() for p in patterns)
        cases = [c for c in cases if is_contributed(c) == asked]
    cases += deep
    if not cases:
        raise UsageError(
            f"profile {profile!r} has no case that matches",
            next_step=f"hal conformance --suite {suite_name} --profile {profile}",
        )
    return suite, cases


def choose_devices(
    registry: Registry, ids: Sequence[str], suite: Suite, *, slow: bool
) -> tuple[list[Device], list[BackendStatus]]:
    """The devices named by `ids`, or every usable one that the suite is for (those declared slow
    only with `slow`), and the backends that were asked and are not ready. Raises as
    `Registry.find_device` does, and UsageError for a device that the suite is not for."""
    only = suite.backend if isinstance(suite, PluginSuite) else ""
    if ids:
        for other in (i for i in ids if only and backend_of(i) != only):
            raise UsageError(
                f"the suite {suite.name} runs on devices of the backend {only}, not on {other!r}",
                next_step="hal devices",
            )
        return [registry.find_device(i) for i in dict.fromkeys(ids)], []
    statuses = registry.probe([only] if only else None, keep=True).values()
    usable = [d for s in statuses for d in s.devices if not d.unavailable]
    chosen = [d for d in usable if slow or not d.slow]
    return chosen, [s for s in statuses if s.state is not State.READY]


def measure(
    registry: Registry,
    devices: Sequence[Device],
    plan: Plan,
    progress: ProgressFactory = lambda device, total: nullcontext(lambda result: None),
    on_journal: Callable[[Journal], None] = lambda journal: None,
) -> Iterator[DeviceReport]:
    """Run the plan on one device after the other. A device that Ctrl-C interrupts gives an
    incomplete report and is the last. `on_journal` is called with the journal of each. Raises
    UsageError, before anything runs, for options of the plan that a backend does not have;
    DataError, before anything runs, for an expectations file that cannot be read; CrashError, after
    the last report, if devices could not be reached any more: their reports are incomplete too."""
    # A plugin's expectations lie beside it: those of another machine are not at hand.
    asked = {d.backend: registry.backends[d.backend] for d in devices}
    known = {
        name: None if b.remote else Expectations.of_plugin(b.module) for name, b in asked.items()
    }
    if plan.options:
        for device in devices:
            _try_options(registry, device, plan)
    return _measure(registry, devices, plan, progress, on_journal, known)


def _try_options(registry: Registry, device: Device, plan: Plan) -> None:
    """Compile one case, so that a wrong option is no failure of every case."""
    options = options_of(registry.backends[device.backend].spec, plan)
    case = plan.suite.load(plan.cases[0].id)
    if isinstance(case, HostedCase):
        return
    with registry.host(device.backend, timeout=plan.limits.timeout) as host:
        try:
            host.compile(device, case.model, options)
        except UsageError:
            raise
        except HalError:
            return  # what comes of a case is told by its run


def _measure(
    registry: Registry,
    devices: Sequence[Device],
    plan: Plan,
    progress: ProgressFactory,
    on_journal: Callable[[Journal], None],
    known: Mapping[str, Expectations | None],
) -> Iterator[DeviceReport]:
    unreachable = []
    for device in devices:
        spec = registry.backends[device.backend].spec
        options = options_of(spec, plan)
        case_ids = [case.id for case in plan.cases]
        journal = Journal(device, plan.suite.version, options, case_ids, resume=plan.resume)
        on_journal(journal)
        with progress(device, len(plan.cases)) as tell:
            run = run_cases(
                plan.suite,
                case_ids,
                device,
                spec,
                functools.partial(
                    registry.host,
                    device.backend,
                    timeout=plan.limits.timeout,
                    memory=plan.limits.memory,
                    **host_environment(plan.suite),
                ),
                plan.limits,
                journal,
                options=options,
                progress=tell,
            )
        notes = [journal.problem] if journal.problem else []
        if options:
            notes.append("options: " + ", ".join(f"{k}={v}" for k, v in options.items()))
        yield _report(registry, device, plan, run, notes, known[device.backend])
        if run.interrupted:
            return
        if run.unreachable:
            unreachable.append(f"{device.id}: {run.unreachable}")
    if unreachable:
        raise CrashError(
            "; ".join(unreachable), next_step="run the same command with --resume when it is back"
        )


def _report(
    registry: Registry,
    device: Device,
    plan: Plan,
    run: Run,
    notes: list[str],
    expectations: Expectations | None,
) -> DeviceReport:
    registered = registry.backends[device.backend]
    suite = plan.suite
    of_plugin = suite if isinstance(suite, PluginSuite) else None
    judgement = judge(
        expectations,
        run.results,
        device,
        suite_cases=all_ids(suite),
        suites=registry.suites,
    )
    if stated(device) and not of_plugin:
        notes.append(stated(device))
    if device.remote:
        notes.append(f"measured on {registered.home}; the packages listed are this machine's")
    if run.unreachable:
        notes.append(f"stopped before its end: {run.unreachable}")
    if run.resumed:
        notes.append(f"{run.resumed} results come from an earlier, interrupted run")
    if run.restarts:
        notes.append(f"a host was started anew {run.restarts} times")
    if of_plugin and of_plugin.left_out:
        notes.append(f"{len(of_plugin.left_out)} operators are left out by name")
    table, cells = contract_of(suite, plan.cases)
    return build_report(
        device,
        plan.cases,
        judgement.results,
        contract=table,
        contract_cells=cells,
        suites=[suite.name],
        wall_seconds=run.wall_seconds,
        environment=Environment.here(_distributions(registered.distribution)),
        limits=plan.limits,
        selection=plan.selection,
        profile=headline_of(device, suite, plan.selection.profile),
        groups=of_plugin.groups if of_plugin else None,
        problems=[v.message for v in judgement.violations],
        notes=notes,
    )


def options_of(spec: BackendSpec, plan: Plan) -> dict[str, Option]:
    """What a backend's compiler is given: its conformance options, and the plan's over them.
    Raises UsageError for options of a suite that compiles no model."""
    # A suite that runs its own cases compiles no model, so there is nothing for options to change.
    own = isinstance(plan.suite, PluginSuite)
    if own and plan.options:
        raise UsageError(f"the suite {plan.suite.name} compiles no model and takes no --option")
    return {} if own else {**spec.conformance_options, **plan.options}


def host_environment(suite: Suite) -> dict[str, Mapping[str, str]]:
    """What a host for the cases of this suite is started with beside its limits."""
    return {"env": suite.env} if isinstance(suite, PluginSuite) and suite.env else {}


def all_ids(suite: Suite) -> list[str]:
    """Every id that an expectation may name: those of a wider suite of the same plugin too."""
    return [*(c.id for c in suite), *(suite.others if isinstance(suite, PluginSuite) else ())]


def contract_of(suite: Suite, cases: Iterable[HasId]) -> tuple[ContractInfo, int]:
    """What cases of a suite are measured against, and how many cells that has. A plugin's suite is
    its own contract: each of its cases is a cell. com.microsoft is apart from the standard."""
    if isinstance(suite, PluginSuite):
        return ContractInfo(suite.version, ""), len(suite) + len(suite.others)
    table = contract()
    if any(map(is_contributed, cases)):  # then all are
        theirs = f"{CONTRIBUTED_DOMAIN} of onnxruntime {table.contributed.onnx_version}"
        cells = len(table.contributed.cells(domains=[CONTRIBUTED_DOMAIN]))
        return ContractInfo(f"{table.version}, {theirs}", table.onnx_version), cells
    return ContractInfo(table.version, table.onnx_version), len(table.cells())


def headline_of(device: Device, suite: Suite, profile_name: str) -> Profile | None:
    """The cases of the headline: those of the profile asked for, else of the one that the kind of
    device claims."""
    if isinstance(suite, PluginSuite):
        first = next(iter(suite.groups.items()), None)
        return first and Profile(*first)
    profile = load_profile(profile_name) if profile_name else None
    profile = profile or profile_for_kind(device.kind)
    operators = _profile_operators(profile.name)
    return Profile(
        profile.name, frozenset(c.id for c in suite if operators.issuperset(c.operators))
    )


def _profile_operators(name: str) -> frozenset[str]:
    return frozenset(op.key for op in contract().operators_of(name))


def _distributions(plugin: str) -> list[str]:
    return ["hal-core", "hal-conformance", plugin, *_requirements(plugin), "numpy", "onnx"]


def _requirements(distribution: str) -> list[str]:
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Requirement(line).name for line in lines]
