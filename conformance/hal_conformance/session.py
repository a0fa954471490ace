"""One `hal conformance`: which devices and cases, the run of each, and the report of it all."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from hal import Device
from hal.backend import Option
from hal.contract import contract, profile_for_kind
from hal.contract.profiles import load_profile
from hal.errors import UsageError
from hal.plugins import BackendStatus, Registry, State
from hal_conformance.case import CaseFacts, Suite, load_suite, select
from hal_conformance.expectations import Expectations
from hal_conformance.expectations_judge import judge
from hal_conformance.journal import Journal
from hal_conformance.report import (
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Selection,
)
from hal_conformance.runner import Progress, Run, run_cases
from hal_conformance.scoring import Profile, build_report

__all__ = ["Plan", "choose_devices", "measure"]

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
        selection: Selection,
        patterns: Sequence[str],
        limits: Limits,
        options: Mapping[str, Option],
        *,
        resume: bool,
    ) -> Plan:
        """Raises UsageError for an unknown suite or profile, and when nothing is selected."""
        profile = selection.profile
        operators = _profile_operators(profile) if profile else None
        suite = load_suite(selection.suite)
        cases = select(suite, patterns, operators=operators)
        if not cases:
            raise UsageError(
                f"profile {profile!r} has no case that matches",
                next_step=f"hal conformance --suite {selection.suite} --profile {profile}",
            )
        return cls(suite, tuple(cases), selection, limits, options, resume)


def choose_devices(
    registry: Registry, ids: Sequence[str], *, slow: bool
) -> tuple[list[Device], list[BackendStatus]]:
    """The devices named by `ids`, or every usable one (those declared slow only with `slow`), and
    the backends that were asked and are not ready. Raises as `Registry.find_device` does."""
    if ids:
        return [registry.find_device(i) for i in dict.fromkeys(ids)], []
    statuses = registry.probe(keep=True).values()
    usable = [d for s in statuses for d in s.devices if not d.unavailable]
    chosen = [d for d in usable if slow or not d.slow]
    return chosen, [s for s in statuses if s.state is not State.READY]


def measure(
    registry: Registry,
    devices: Sequence[Device],
    plan: Plan,
    progress: ProgressFactory = lambda device, total: nullcontext(lambda result: None),
) -> Iterator[DeviceReport]:
    """Run the plan on one device after the other. A device that Ctrl-C interrupts gives an
    incomplete report and is the last. Raises DataError, before anything runs, for an
    expectations file that cannot be read."""
    modules = {d.backend: registry.backends[d.backend].module for d in devices}
    known = {name: Expectations.of_plugin(module) for name, module in modules.items()}
    return _measure(registry, devices, plan, progress, known)


def _measure(
    registry: Registry,
    devices: Sequence[Device],
    plan: Plan,
    progress: ProgressFactory,
    known: Mapping[str, Expectations | None],
) -> Iterator[DeviceReport]:
    for device in devices:
        spec = registry.backends[device.backend].spec
        options = {**spec.conformance_options, **plan.options}
        journal = Journal(device, plan.suite.version, options, resume=plan.resume)
        with progress(device, len(plan.cases)) as tell:
            run = run_cases(
                plan.suite,
                [case.id for case in plan.cases],
                device,
                spec,
                lambda device=device: registry.host(  # type: ignore[misc]
                    device.backend, timeout=plan.limits.timeout, memory=plan.limits.memory
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


def _report(
    registry: Registry,
    device: Device,
    plan: Plan,
    run: Run,
    notes: list[str],
    expectations: Expectations | None,
) -> DeviceReport:
    registered = registry.backends[device.backend]
    judgement = judge(expectations, run.results, device, suite_cases=[c.id for c in plan.suite])
    if run.resumed:
        notes.append(f"{run.resumed} results come from an earlier, interrupted run")
    if run.restarts:
        notes.append(f"a host was started anew {run.restarts} times")
    table = contract()
    return build_report(
        device,
        plan.cases,
        judgement.results,
        contract=ContractInfo(table.version, table.onnx_version),
        contract_cells=len(table.cells()),
        suites=[plan.suite.name],
        wall_seconds=run.wall_seconds,
        environment=Environment.here(_distributions(registered.distribution)),
        limits=plan.limits,
        selection=plan.selection,
        profile=_headline(device, plan),
        problems=[v.message for v in judgement.violations],
        notes=notes,
    )


def _headline(device: Device, plan: Plan) -> Profile:
    profile = load_profile(plan.selection.profile) if plan.selection.profile else None
    profile = profile or profile_for_kind(device.kind)
    operators = _profile_operators(profile.name)
    cases = frozenset(c.id for c in plan.suite if operators.issuperset(c.operators))
    return Profile(profile.name, cases)


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
