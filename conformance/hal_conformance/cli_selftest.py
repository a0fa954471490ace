"""`hal-conformance selftest`: which share of wrong kernels the suites catch."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from hal.cli._output import console, stderr_console, table, write_json
from hal.cli.completion import complete_device
from hal.contract import contract
from hal_conformance.mutants.bench import OperatorResult
from hal_conformance.mutants.fault import kinds
from hal_conformance.mutants.score import SCHEMA, Caught, Count, Score, document, score_of
from hal_conformance.mutants.selftest import (
    Request,
    TypeChoice,
    operators_of,
    selftest,
)

__all__ = ["selftest_command"]

_INTERRUPTED = 130
_SHOWN = 40


def selftest_command(
    operator: Annotated[
        list[str] | None,
        typer.Option(
            "--operator",
            "-o",
            help="Only this operator's kernels; repeat for several.",
            autocompletion=lambda: [op.key for op in contract().operators],
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Only this kind of fault; repeat for several.",
            autocompletion=lambda: list(kinds()),
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "-d",
            help="The correct engine that is made wrong.",
            autocompletion=complete_device,
        ),
    ] = "torch:cpu",
    types: Annotated[
        TypeChoice,
        typer.Option(
            help="Beside the kernels of all types, let that of one type alone be wrong: of "
            '"one" drawn by the seed, of "all", of "none".'
        ),
    ] = TypeChoice.ONE,
    seed: Annotated[int, typer.Option(help="What draws the types.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Processes at once. Default: the cores.")
    ] = max(1, os.cpu_count() or 1),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what an earlier run found where nothing has changed; run the rest.",
        ),
    ] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Exit 1 if the suite contract catches less of the kernel faults, calls a correct "
            "result wrong, or refutes that a mutant is equivalent.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (hal.selftest/1), survivors included.")
    ] = False,
) -> None:
    """Make correct kernels wrong on purpose, and count which suite notices.

    Each mutant is one operator's kernel with one fault: in all types that can have it (a kernel
    fault), or in one type alone.

    Mutants that give right results too are listed with the reason and not counted.

    Ctrl-C ends with 130 and prints what was found so far; it is kept for --resume.

    Examples:

      hal-conformance selftest

      hal-conformance selftest -o Softmax -o Conv --types all

      hal-conformance selftest --kind 'wrong axis' --json

      hal-conformance selftest --types all --resume

      hal-conformance selftest --fail-under 98
    """
    request = Request(device, tuple(operator or ()), tuple(kind or ()), types=types, seed=seed)
    results: list[OperatorResult] = []
    complete = True
    try:
        with _progress(stderr_console()) as bar:
            task = bar.add_task("operators", total=len(operators_of(request)))
            for result in selftest(request, jobs, resume=resume):
                results.append(result)
                bar.advance(task)
    except KeyboardInterrupt:
        complete = False
    score = score_of(results)
    if as_json:
        write_json(SCHEMA, document(request, score, complete=complete))
    else:
        _show(console(), score)
    if not complete:
        stderr_console().print(Text("interrupted: only a part of the operators was tested"))
        raise typer.Exit(_INTERRUPTED)
    if fail_under is not None and (
        score.suites["contract"].percent < fail_under or not score.sound
    ):
        raise typer.Exit(1)


def _progress(err: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _cells(count: Count) -> list[str]:
    return [str(caught) if caught.total else "" for caught in count.values()]


def _show(out: Console, score: Score) -> None:
    none = dict.fromkeys(score.suites, Caught(0, 0))
    rows = [
        (kind, *_cells(count), *_cells(score.kinds_by_type.get(kind, none)))
        for kind, count in score.kinds.items()
    ]
    rows.append(("all", *_cells(score.suites), *_cells(score.by_type)))
    suites = list(score.suites)
    heads = (*(f"kernels: {s}" for s in suites), *(f"one type: {s}" for s in suites))
    out.print(table(("kind of fault", *heads), rows))
    out.print(
        Text(
            f"{len(score.false_alarms)} false alarms of contract on {score.judged} cases in the "
            f"engine's own arithmetic and {score.in_float64} in float64; "
            f"{len(score.equivalents)} equivalent mutants are not counted, nor are "
            f"{len(score.not_made)} that this engine cannot be made into"
        )
    )
    for case, reason in score.false_alarms.items():
        out.print(Text(f"  {case}: {reason}"))
    for mutant, case in score.contradicted.items():
        out.print(Text(f"  {mutant} is not equivalent: {case} calls it wrong"))
    survivors = score.survivors
    if survivors:
        listed = [(v.id, "" if v.reached else "no case reaches it") for v in survivors[:_SHOWN]]
        out.print(table(("not caught by contract", ""), listed))
        if len(survivors) > _SHOWN:
            out.print(Text(f"and {len(survivors) - _SHOWN} more: see --json"))
