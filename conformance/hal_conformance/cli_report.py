"""`hal report`: saved conformance reports as a table, a page, Markdown or JUnit XML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hal.cli._output import console, stderr_console
from hal.errors import DataError
from hal_conformance.cli_deep import show_deep
from hal_conformance.cli_speed import show_speed
from hal_conformance.report import read
from hal_conformance.report_files import ReportFiles
from hal_conformance.terminal import Terminal

__all__ = ["report"]


def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Reports, as `hal conformance --json` writes them.", metavar="REPORT.json..."
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one self-contained page, devices side by side."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table for a README.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit XML file.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the reports as one.")
    ] = None,
) -> None:
    """Show saved conformance reports, side by side.

    Without an option they are shown in the terminal, as at the end of their runs.

    Exits 3 for a file that is no report of this version, or holds no device.

    Examples:

      hal report report.json

      hal report report.json --html report.html --markdown table.md

      hal report ort.json openvino.json --html both.html
    """
    wanted = ReportFiles(json=json, junit=junit, html=html, markdown=markdown)
    wanted.check()
    reports = [(str(path), read(path)) for path in files]
    for name, one in reports:
        if not one.reports:
            raise DataError(f"{name}: the report holds no device", next_step="hal devices")
    wanted.write(reports)
    if wanted == ReportFiles():
        terminal = Terminal(console(), stderr_console())
        every = [one for _, several in reports for one in several.reports]
        terminal.show(every)
        show_deep(terminal, every)
        show_speed(terminal, every)
