"""`hal conformance`: what share of a suite each device runs correctly, and where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hal._options import parse_options
from hal.cli._output import console, stderr_console
from hal.cli.completion import complete_device
from hal.errors import HostError, OutputError
from hal.plugins import load_plugins
from hal_conformance.case import SUITES
from hal_conformance.cli_deep import check_depth, deep_targets, deepen, show_deep
from hal_conformance.cli_options import (
    CompilerOption,
    PatternOption,
    ProfileOption,
)
from hal_conformance.cli_show import inspect, refuse_report_options
from hal_conformance.cli_speed import (
    add_speed,
    check_speed,
    show_speed,
    speed_devices,
    speed_keys,
)
from hal_conformance.journal import Journal
from hal_conformance.report import DeviceReport, Limits, Report, Selection
from hal_conformance.report_files import ReportFiles
from hal_conformance.scoring import Gate, evidence
from hal_conformance.session import Plan, choose_devices, measure
from hal_conformance.submission import check_submission, write_submission
from hal_conformance.terminal import Terminal

__all__ = ["conformance"]

_INTERRUPTED = 130


def _complete_suite() -> list[str]:
    return [*SUITES, *load_plugins().suites]


def conformance(
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            help="A device's id; repeat for several. Default: every ready device that is not slow.",
            autocompletion=complete_device,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Take devices that are declared slow too.")
    ] = False,
    suite: Annotated[
        str, typer.Option(help="The source of cases.", autocompletion=_complete_suite)
    ] = "onnx",
    profile: ProfileOption = "",
    pattern: PatternOption = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Host processes at once. Default: the cores.")
    ] = max(1, os.cpu_count() or 1),
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a call of the backend may take.")
    ] = 60.0,
    memory: Annotated[
        float, typer.Option(min=0.01, help="GiB that a host may grow over its idle size.")
    ] = 4.0,
    option: CompilerOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit XML file.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a table in Markdown.")
    ] = None,
    expectations_file: Annotated[
        Path | None,
        typer.Option(
            "--write-expectations",
            metavar="FILE",
            help="Write an expectations file that lists every failure of this run.",
        ),
    ] = None,
    depth: Annotated[
        str,
        typer.Option(
            metavar="DEPTH", help="deep: draw more cases of suite contract, and shrink what fails."
        ),
    ] = "default",
    draws: Annotated[
        int, typer.Option(min=1, help="Cases that --depth deep draws of each operator and type.")
    ] = 20,
    speed: Annotated[
        bool, typer.Option("--speed", help="Time operators too, at the sizes real models use.")
    ] = False,
    speed_reference: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="The device of --speed's ratios. Default: the first of several.",
            autocompletion=complete_device,
        ),
    ] = "",
    speed_budget: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="For --speed, on each device. Default: 300."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Print the chosen cases whole: model, inputs, expected, got, tolerance, seed.",
        ),
    ] = False,
    repro: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a folder for each chosen case, with a script that reproduces the result.",
        ),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Fill a new folder with what `hal verify` checks: report, logs, ..."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what an interrupted run found; run the rest.")
    ] = False,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE=PERCENT", help="Exit 1 if a score is lower, e.g. cells=90. Repeatable."
        ),
    ] = None,
) -> None:
    """Measure what share of ONNX, or of another suite, each device runs correctly, and where.

    Every case runs in a host process, so a crash or a hang costs one case.

    A complete run exits 0 whatever the score, 1 if --fail-under or an expectation is not met.

    Ctrl-C ends with 130; what ran is kept for --resume.

    Examples:

      hal conformance

      hal conformance --device ort:cpu --json report.json --junit report.xml --html report.html

      hal conformance -d openvino:cpu -k softmax -k 'onnx/node/test_cast_*'

      hal conformance -d ort:cpu --profile vision --fail-under cells=90

      hal conformance -d torch:cpu --suite torch

      hal conformance -d ort:cpu --suite contract -k Gather-13/string-rows --show --repro DIR

      hal conformance -d ort:cpu --suite contract -k contract/Conv- --depth deep

      hal conformance -d ort:cpu --suite contract --submission ort-cpu

      hal conformance -d ort:cpu -d openvino:cpu --speed --html report.html
    """
    gates = [Gate.parse(text) for text in fail_under or ()]
    files = ReportFiles(json_file, junit_file, html_file, markdown_file, expectations_file)
    files.check()
    patterns = pattern or []
    deep = check_depth(depth, suite)
    check_speed(speed, suite, speed_budget, speed_reference)
    terminal = Terminal(console(), stderr_console())
    if show or repro is not None:
        refuse_report_options(
            junit=junit_file,
            html=html_file,
            markdown=markdown_file,
            write_expectations=expectations_file,
            fail_under=fail_under,
            depth=deep,
            speed=speed,
            submission=submission,
        )
    if submission is not None:
        check_submission(submission, patterns)
    from hal.routing import record_evidence  # here, for a quick --help

    reports: list[DeviceReport] = []
    journals: list[Journal] = []
    with load_plugins() as registry:
        plan = Plan.make(
            registry,
            Selection(suite, profile, " ".join(patterns)),
            patterns,
            Limits(timeout, round(memory * 2**30), jobs),
            parse_options(option or ()),
            resume=resume,
        )
        with terminal.status("asking the backends for their devices"):
            devices, not_ready = choose_devices(registry, device or (), plan.suite, slow=everything)
        for status in not_ready:
            terminal.note(f"{status.name} is {status.state.value}: {status.reason}")
        if show or repro is not None:
            inspect(registry, devices, plan, terminal, show=show, repro=repro, json_file=json_file)
            return
        chosen = deep_targets(plan) if deep else []
        if speed:
            timed = speed_keys(plan)
            side_by_side, against = speed_devices(registry, devices, speed_reference)
        lost: HostError | None = None
        try:
            for report in measure(registry, devices, plan, terminal.progress, journals.append):
                reports.append(report)
                if not option:  # routing is told of the device as it is used
                    record_evidence(report.device, evidence(report.operators))
        except HostError as error:  # after the last report
            lost = error
        if deep:
            reports = deepen(registry, reports, plan, terminal, chosen, draws)
        if speed:
            reports = add_speed(
                registry, reports, plan, terminal, timed, side_by_side, against, speed_budget
            )
    failure: OutputError | None = None
    try:
        files.write([("", Report(tuple(reports)))])
        if submission is not None and all(r.complete for r in reports):
            write_submission(submission, Report(tuple(reports)), journals, registry)
    except OutputError as error:
        error.next_step = "make room, then repeat the command with --resume: no case runs again"
        failure = error
    terminal.show(reports)  # last, as whoever reads it may close the pipe
    show_deep(terminal, reports)
    show_speed(terminal, reports)
    if failure:
        raise failure
    if lost:
        raise lost
    if not all(r.complete for r in reports):
        terminal.note("interrupted; run the same command with --resume to run what is missing")
        raise typer.Exit(_INTERRUPTED)
    if any(r.deep and not r.deep.complete for r in reports):
        terminal.note("interrupted: the search has not reached every operator and type")
        raise typer.Exit(_INTERRUPTED)
    if any(r.speed and not r.speed.complete for r in reports):
        terminal.note("interrupted: not every operator is timed")
        raise typer.Exit(_INTERRUPTED)
    problems = [f"{r.device.id}: {p}" for r in reports for p in r.problems]
    problems += [p for g in gates for r in reports if (p := g.problem(r))]
    for problem in problems:
        terminal.note(problem)
    if problems:
        raise typer.Exit(1)
