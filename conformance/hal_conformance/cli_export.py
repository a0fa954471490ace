"""`hal-conformance export`: the cases of a suite, for a runner in any language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from hal.cli._output import console, stderr_console, write_json
from hal.plugins import load_plugins
from hal_conformance._files import make_folder
from hal_conformance.case import SUITES
from hal_conformance.cli_options import PatternOption, ProfileOption
from hal_conformance.manifest import MANIFEST, Selected, check_exportable, export_cases
from hal_conformance.session import choose_cases

__all__ = ["export"]


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    suite: Annotated[
        str, typer.Option(help="The source of cases.", autocompletion=lambda: list(SUITES))
    ] = "contract",
    profile: ProfileOption = "",
    pattern: PatternOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.export/1).")] = False,
) -> None:
    """Write cases in ONNX's test-data layout, with a manifest, for a runner in any language.

    DIR/manifest.json lists the cases: folder, cells, tolerance, seed. A case's folder holds
    model.onnx and test_data_set_0/input_0.pb ... and output_0.pb ...

    What the runner finds goes back with hal-conformance import (docs/other-languages.md).

    The manifest is written last: a folder without one is an export that was cut short.

    Examples:

      hal-conformance export cases

      hal-conformance export cases --suite onnx --profile vision

      hal-conformance export cases -k Softmax -k 'contract/Conv-*'
    """
    selected = Selected(profile, tuple(pattern or ()))
    with load_plugins() as registry:
        source, cases = choose_cases(registry, suite, profile, selected.patterns)
    check_exportable(source, cases)
    make_folder(folder)
    err = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("writing cases", total=len(cases))
        count = export_cases(source, cases, selected, folder, lambda case: bar.advance(task))
    if as_json:
        place = {"manifest": str(folder / MANIFEST), "cases": count}
        write_json("hal.export/1", {"suite": source.name, "version": source.version, **place})
        return
    console().print(Text(f"{count} cases of {source.version} in {folder}"))
