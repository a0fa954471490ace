"""The part of `hal conformance` that looks at single cases: `--show` and `--repro`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from hal import Device
from hal.errors import UsageError
from hal.plugins import Registry
from hal_conformance._files import make_folder, write_text
from hal_conformance.case import HostedCase
from hal_conformance.inspection import inspect_cases, refuse_many
from hal_conformance.session import Plan, options_of
from hal_conformance.terminal import Terminal

__all__ = ["MOST_SHOWN", "MOST_WRITTEN", "inspect", "refuse_report_options"]

MOST_SHOWN = 20
MOST_WRITTEN = 200


def refuse_report_options(**options: object) -> None:
    """Raises UsageError for an option of a report, which these do not make."""
    for name, value in options.items():
        if value:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag} is of a whole run, and --show and --repro look at single cases",
                next_step=f"leave out {flag}; --json FILE writes what --show prints",
            )


def inspect(
    registry: Registry,
    devices: Sequence[Device],
    plan: Plan,
    terminal: Terminal,
    *,
    show: bool,
    repro: Path | None,
    json_file: Path | None,
) -> None:
    """Run the plan's cases one by one, print them, and write what is asked for."""
    refuse_many(plan.cases, MOST_SHOWN if show else MOST_WRITTEN, "--show" if show else "--repro")
    if repro is not None:
        if any(isinstance(case, HostedCase) for case in plan.cases):
            raise UsageError(
                f"the suite {plan.suite.name} runs its cases itself: there is no model to write",
                next_step=f"hal conformance --suite {plan.suite.name} -k ID --show",
            )
        make_folder(repro)
    from hal_conformance.repro import write_repro  # imports onnx
    from hal_conformance.show import SCHEMA, document_of, text_of

    specs = {d.backend: registry.backends[d.backend].spec for d in devices}
    documents = []
    with terminal.status("running the cases"):
        found = inspect_cases(
            registry,
            devices,
            plan.suite,
            plan.cases,
            plan.limits,
            lambda device: options_of(specs[device.backend], plan),
        )
        for _, group in itertools.groupby(found, lambda one: one.case.id):
            inspections = list(group)
            if show:
                for one in inspections:
                    terminal.out.print(Text(text_of(one)))
            if repro is not None:
                folder = write_repro(inspections, specs, repro)
                terminal.out.print(Text(f"{inspections[0].case.id}: {folder}"))
            documents += [document_of(one) for one in inspections] if json_file else []
    if json_file is not None:
        document = {"schema": SCHEMA, "suite": plan.suite.version, "cases": documents}
        write_text(json_file, json.dumps(document, indent=1, allow_nan=False) + "\n")
