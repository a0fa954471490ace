"""The files that a report can be written to, one form each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hal_conformance._files import check_writable
from hal_conformance.expectations_writer import write_expectations
from hal_conformance.junit import write_junit
from hal_conformance.markdown import write_markdown
from hal_conformance.page import write_page
from hal_conformance.report import Report, write
from hal_conformance.side_by_side import line_up

__all__ = ["ReportFiles"]


@dataclasses.dataclass(frozen=True)
class ReportFiles:
    """Where to write which form; None: not asked for."""

    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    expectations: Path | None = None

    def check(self) -> None:
        """Prove that all can be written, before anything runs. Raises OutputError."""
        for path in vars(self).values():
            if path is not None:
                check_writable(path)

    def write(self, reports: Sequence[tuple[str, Report]]) -> None:
        """Write these reports, each with the name of the file that it was read from ("" for none),
        each form whole or not at all. Raises OutputError, and DataError for a page of nothing."""
        merged = Report(tuple(one for _, report in reports for one in report.reports))
        if self.json is not None:
            write(merged, self.json)
        if self.junit is not None:
            write_junit(merged, self.junit)
        if self.expectations is not None:
            write_expectations(merged.reports, self.expectations)
        if self.markdown is not None:
            write_markdown(line_up(reports), self.markdown)
        if self.html is not None:
            write_page(line_up(reports), self.html)
