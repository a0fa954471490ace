"""The part of `hal conformance` that times operators: `--speed`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.text import Text

from hal import Device
from hal.cli._output import table
from hal.contract import contract
from hal.errors import UsageError
from hal.plugins import Registry
from hal_conformance._speed_text import amount, percent, ratio, seconds
from hal_conformance.case import SUITES
from hal_conformance.report import DeviceReport, SpeedEntry, SpeedReport
from hal_conformance.session import Plan
from hal_conformance.speed_table import fraction_of_ceiling, times_reference
from hal_conformance.terminal import Terminal

__all__ = ["add_speed", "check_speed", "show_speed", "speed_devices", "speed_keys"]

_SHOWN = 12


def check_speed(speed: bool, suite: str, budget: float | None, reference: str) -> None:
    """Raises UsageError for options of --speed without it, and for a suite whose cases are no
    operators of ONNX."""
    if speed and suite not in SUITES:
        raise UsageError(
            f"--speed times ONNX's operators, and the suite {suite} has others",
            next_step="hal conformance --speed",
        )
    given = {"--speed-budget": budget is not None, "--speed-reference": bool(reference)}
    for name in (n for n, was in given.items() if was and not speed):
        raise UsageError(f"{name} is for --speed", next_step=f"hal conformance --speed {name} ...")


def speed_keys(plan: Plan) -> frozenset[str] | None:
    """The operators to time: of a part of a suite, those that its cases exercise; None for all.
    Raises UsageError for a part that has nothing to time."""
    from hal_conformance.speed.targets import operators  # imports onnx

    if plan.selection.full:
        return None
    if plan.selection.profile and not plan.selection.pattern:
        own = {op.key for op in contract().operators_of(plan.selection.profile)}
    else:
        single = [case for case in plan.cases if len(case.operators) == 1]
        own = {o for case in single or plan.cases for o in case.operators}
    keys = operators() & own
    if not keys:
        raise UsageError(
            "the chosen cases exercise no operator that is timed",
            next_step="hal conformance --speed -k test_relu",
        )
    return keys


def speed_devices(
    registry: Registry, devices: Sequence[Device], reference: str
) -> tuple[list[Device], str]:
    """The devices to time, and the id of the reference among them: the one asked for, else the
    first of several. Raises UsageError for an emulated one, and as `Registry.find_device`."""
    asked = [registry.find_device(reference)] if reference else []
    if asked and asked[0].emulated:
        raise UsageError(
            f"{reference} is emulated: its times compare with no hardware's",
            next_step="hal devices",
        )
    real = [d for d in devices if not d.emulated]
    first = asked or (real[:1] if len(real) > 1 else [])
    known = {d.id: d for d in (*devices, *first)}
    return list(known.values()), first[0].id if first else ""


def add_speed(
    registry: Registry,
    reports: Sequence[DeviceReport],
    plan: Plan,
    terminal: Terminal,
    keys: frozenset[str] | None,
    devices: Sequence[Device],
    reference: str,
    budget: float | None,
) -> list[DeviceReport]:
    """The reports, each with how fast its device is; as they are after Ctrl-C. Routing is told of
    it, where the devices are as it uses them."""
    from hal.routing import record_times  # here, for a quick --help
    from hal_conformance.speed.run import BUDGET, PASSES, run_speed
    from hal_conformance.speed.targets import targets

    if not all(r.complete for r in reports):
        return list(reports)
    chosen = targets(keys)
    groups = 1 + sum(d.emulated for d in devices) - all(d.emulated for d in devices)
    with terminal.bar("speed", len(chosen) * groups * PASSES) as advance:
        found = run_speed(
            registry,
            devices,
            chosen,
            plan.limits,
            plan.options,
            budget=BUDGET if budget is None else budget,
            reference=reference,
            advance=advance,
        )
    for device in devices if not plan.options else ():
        if not device.emulated:
            record_times(device, _times(found[device.id]))
    return [dataclasses.replace(r, speed=found.get(r.device.id)) for r in reports]


def show_speed(terminal: Terminal, reports: Sequence[DeviceReport]) -> None:
    """Print what was found, with the operators on which models spend most nodes."""
    for report in reports:
        speed = report.speed
        if speed is None:
            continue
        terminal.out.print(Text(_summary(report.device.id, speed)))
        columns = ["operator", "reads", "time", "spread", "operations/s", "bytes/s"]
        columns += ["of the ceiling"] if speed.ceilings else []
        columns += [f"times {speed.reference}"] if speed.reference else []
        most = sorted(speed.timed, key=lambda e: (-e.nodes, e.operator))[:_SHOWN]
        if most:
            terminal.out.print(table(columns, [_row(speed, e) for e in most]))
        if len(speed.timed) > len(most):
            more = len(speed.timed) - len(most)
            terminal.out.print(Text(f"and {more} more: --json FILE and --html FILE have them all"))
        for note in speed.notes:
            terminal.note(f"{report.device.id}: {note}")


def _times(speed: SpeedReport) -> dict[str, list[tuple[float, float, float]]]:
    times: dict[str, list[tuple[float, float, float]]] = {}
    for entry in speed.timed:
        if entry.seconds is not None:
            own = times.setdefault(entry.operator, [])
            own.append((entry.seconds, entry.operations, float(entry.bytes)))
    return times


def _row(speed: SpeedReport, entry: SpeedEntry) -> list[str]:
    row = [
        entry.operator,
        entry.shape,
        seconds(entry.seconds),
        f"{entry.spread:.2f}" if entry.spread else "",
        amount(entry.operation_rate or None, ""),
        amount(entry.byte_rate, "B"),
    ]
    row += [percent(speed.share(entry))] if speed.ceilings else []
    row += [ratio(speed.ratio(entry))] if speed.reference else []
    return row


def _summary(device: str, speed: SpeedReport) -> str:
    operators = {e.operator for e in speed.entries}
    timed = {e.operator for e in speed.timed}
    text = f"{device}: speed of {len(timed)} of {len(operators)} operators"
    if speed.emulated:
        return f"{text}, in an emulator: these times are no hardware's; {speed.seconds:.0f} s"
    tops = [f"matmul {amount(speed.ceiling('matmul'), 'FLOP/s')}"]
    tops += [f"copy {amount(speed.ceiling('copy'), 'B/s')}"]
    median = percent(fraction_of_ceiling(speed))
    text += f"; ceilings: {', '.join(tops)}; half reach {median} of the nearer one"
    if mean := times_reference(speed):
        text += f"; {ratio(mean)} {speed.reference} in the mean"
    return f"{text}; {speed.seconds:.0f} s"
