"""The template filled in: the summary is HTML that reads without a script, the rest is data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hal import OutcomeClass
from hal.errors import DataError
from hal_conformance._files import write_text
from hal_conformance._speed_text import amount
from hal_conformance.page.data import page_data
from hal_conformance.side_by_side import Run, differences, score_rows
from hal_conformance.speed_table import speed_rows

__all__ = ["SYMBOLS", "render_page", "write_page"]

SYMBOLS = {
    OutcomeClass.RIGHT: "✓",
    OutcomeClass.WRONG: "✗",
    OutcomeClass.NOT_HERE: "–",
    OutcomeClass.BROKEN: "!",
    OutcomeClass.OPEN: "?",
}


def write_page(runs: Sequence[Run], path: Path) -> None:
    """Write the page of these runs, whole or not at all. Raises as `render_page` does, and
    OutputError naming the path."""
    write_text(path, render_page(runs))


def render_page(runs: Sequence[Run]) -> str:
    """The page of these runs as one HTML document. Raises DataError when there is none."""
    import jinja2  # not at every start of the command

    if not runs:
        raise DataError(
            "there is nothing to show: the report holds no device", next_step="hal devices"
        )
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["rate"] = amount
    timed = [run.report.speed for run in runs if run.report.speed]
    text = environment.get_template("page.html").render(
        runs=runs,
        classes=[(c, c.name.lower().replace("_", "-"), SYMBOLS[c]) for c in OutcomeClass],
        differences=differences(runs),
        speed_rows=speed_rows(timed),
        score_rows=score_rows([run.report for run in runs]),
        style=_source("page.css"),
        script=_source("page.js"),
        data=_embedded(page_data(runs)),
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text


def _source(name: str) -> str:
    return resources.files("hal_conformance.page").joinpath(name).read_text(encoding="utf-8")


def _embedded(data: Any) -> str:
    """JSON that may stand in a script element: no reason can end it or open a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
