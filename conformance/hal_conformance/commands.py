"""The commands of hal-conformance, as data."""

from __future__ import annotations

from hal.cli import Command

__all__ = ["COMMANDS"]

COMMANDS = {
    "check": Command(
        "hal_conformance.cli_check:check",
        "Does a model run on a device, is it right, and which node breaks it?",
    ),
    "compare": Command("hal_conformance.cli_compare:compare", "Compare two conformance reports."),
    "conformance": Command(
        "hal_conformance.cli:conformance", "Measure what share of ONNX a device runs correctly."
    ),
    "report": Command(
        "hal_conformance.cli_report:report", "Show saved reports: a table, a page, Markdown."
    ),
    "verify": Command("hal_conformance.cli_verify:verify_command", "Check someone's submission."),
}
