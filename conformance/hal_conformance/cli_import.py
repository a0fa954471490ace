"""`hal-conformance import`: a report of what a runner in another language brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hal.cli._output import console, stderr_console
from hal.plugins import load_plugins
from hal_conformance.report import Report
from hal_conformance.report_files import ReportFiles
from hal_conformance.terminal import Terminal

__all__ = ["import_results"]


def import_results(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="The runner's results, hal.results/1.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page.")
    ] = None,
) -> None:
    """Score what a runner in any language found for cases of hal-conformance export.

    RESULTS holds for each case the runner's verdict, or the folder of what the device gave:
    HAL then judges it. docs/other-languages.md has the form and a runner.

    The report is like that of hal conformance: hal compare and hal report read it.

    A case without a result is not-run: the report is then incomplete and has no scores.

    Examples:

      hal-conformance import results.json --json phone.json

      hal compare last-release.json phone.json
    """
    files = ReportFiles(json=json_file, html=html_file)
    files.check()
    from hal_conformance.results import read_results, report_of  # imports onnx and jsonschema

    terminal = Terminal(console(), stderr_console())
    found = read_results(results)
    with (
        load_plugins() as registry,
        terminal.progress(found.device, len(found.results)) as tell,
    ):
        report = report_of(found, registry, tell)
    files.write([("", Report((report,)))])
    terminal.show([report])
    if not report.complete:
        missing = report.outcomes["not-run"]
        terminal.note(
            f"incomplete: {missing} of {len(report.cases)} cases have no result: there is no score"
        )
