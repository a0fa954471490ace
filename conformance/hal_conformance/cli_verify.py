"""`hal verify`: whether someone's submission holds what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hal.cli._output import console, stderr_console, write_json
from hal.plugins import load_plugins
from hal_conformance.submission import read_submission
from hal_conformance.verify import Check, Verification, verify

__all__ = ["verify_command"]


def verify_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="SUBMISSION", help="A folder, as `hal conformance --submission` writes it."
        ),
    ],
    sample: Annotated[
        int, typer.Option(min=0, help="Cases of each device to make again from their ids.")
    ] = 100,
    rerun: Annotated[
        int, typer.Option(min=0, metavar="N", help="Run N cases again on that device, here.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Draw the sample of an earlier verification.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.verify/1).")] = False,
) -> None:
    """Check a submission: complete, consistent with the contract, reproducible from its ids.

    Exits 1 when it is refused, each reason on a line; 3 for a folder that is no submission; 5 when
    the device of --rerun is not here. What a check can prove: docs/submissions.md.

    Examples:

      hal conformance -d ort:cpu --suite contract --submission ort-cpu

      hal verify ort-cpu

      hal verify ort-cpu --sample 1000 --rerun 50
    """
    submission = read_submission(folder)
    with load_plugins() as registry, stderr_console().status("reading the submission") as status:
        found = verify(
            registry, submission, sample=sample, rerun=rerun, seed=seed, progress=status.update
        )
    if as_json:
        write_json("hal.verify/1", {"accepted": found.accepted, **dataclasses.asdict(found)})
    else:
        _print(found)
    if not found.accepted:
        raise typer.Exit(1)


def _print(found: Verification) -> None:
    out = console()
    _print_checks(out, [found.folder])
    for device in found.devices:
        out.print(f"{device.device}, suite {device.suite}", style="bold")
        _print_checks(out, device.checks)
    out.print(f"{'accepted' if found.accepted else 'refused'} (seed {found.seed})", style="bold")


def _print_checks(out: Console, checks: Sequence[Check]) -> None:
    for check in checks:
        out.print(f"  {'no ' if check.problems else 'yes'} {check.name:<13}{check.said}")
        for problem in check.problems:
            out.print(f"      {problem}", style="red")
