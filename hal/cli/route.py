"""`hal route`: which device, options and variant run a model best, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hal.cli._npz import read_npz
from hal.cli._output import console, human_bytes, stderr_console, table, write_json
from hal.cli.completion import complete_device
from hal.errors import OutputError, UsageError
from hal.routing import GOALS, Route, route
from hal.routing._table import COLUMNS, cells, duration, summary

if TYPE_CHECKING:
    from hal.split import Plan

__all__ = ["parse_sizes", "route_model"]


def route_model(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", "-d", help="Choose among these only.", autocompletion=complete_device
        ),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(help=f"{', '.join(GOALS)}; limits after commas: latency,memory<2GiB,p99<5ms."),
    ] = "latency",
    accuracy: Annotated[
        float | None,
        typer.Option(
            help="Relative L2 error that every output may have (0.01: 1 %). Admits bfloat16, "
            "float16 and int8. Without it: float32's own error."
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npz file with the inputs by name; without it they are drawn."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", help="The size of an open dimension: batch=8."),
    ] = None,
    budget: Annotated[float, typer.Option(help="Seconds of measurement.")] = 20.0,
    allow_emulated: Annotated[
        bool, typer.Option("--allow-emulated", help="Let emulators of hardware take part.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Decide anew, whatever the store says.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every candidate, output and fact.")
    ] = False,
    split: Annotated[
        bool,
        typer.Option("--split", help="Show how a model that no device takes whole is cut."),
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(help="With --split: the picture of the plan, as SVG.")
    ] = None,
    dot: Annotated[
        Path | None, typer.Option(help="With --split: the picture of the plan, for Graphviz.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (hal.route/1; of a split: hal.split/1).")
    ] = False,
) -> None:
    """Find the candidate that runs a model best: every ready device with its declared options.

    The most promising are compiled in processes of their own, their answers compared with a
    reference, and timed in blocks. The decision is kept: hal.load(model) takes it from the store.

    Examples: hal route model.onnx; hal route model.onnx --accuracy 0.01 --explain;
    hal route model.onnx --policy "throughput,memory<2GiB" --size batch=8;
    hal route model.onnx --split --svg plan.svg
    """
    if split:
        sizes = parse_sizes(size or ())
        found_plan = _plan(model, tuple(device or ()), allow_emulated, sizes)
        for path, draw in ((svg, "svg"), (dot, "dot")):
            if path is not None:
                _draw(found_plan, path, draw)
        if not found_plan.whole:
            _print_plan(found_plan, as_json=as_json)
            return
        stderr_console().print(found_plan.line)
    elif svg is not None or dot is not None:
        raise UsageError(
            "--svg and --dot draw a split", next_step="hal route MODEL --split --svg FILE"
        )
    given = None if inputs is None else read_npz(inputs)
    with stderr_console().status("reading the model") as status:
        found = route(
            model,
            devices=tuple(device or ()),
            policy=policy,
            accuracy=accuracy,
            inputs=given,
            sizes=parse_sizes(size or ()),
            budget=budget,
            allow_emulated=allow_emulated,
            cache=not no_cache,
            say=status.update,
        )
    if as_json:
        write_json("hal.route/1", {**found.document(), "cached": found.cached})
        return
    _print(found, explain=explain)


def _plan(model: Path, devices: tuple[str, ...], emulated: bool, sizes: dict[str, int]) -> Plan:
    from hal.split import plan

    with stderr_console().status("reading the model") as status:
        return plan(model, devices=devices, allow_emulated=emulated, sizes=sizes, say=status.update)


def _draw(plan: Plan, path: Path, form: str) -> None:
    from hal.split import to_dot, to_svg

    try:
        path.write_text(to_svg(plan) if form == "svg" else to_dot(plan), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from hal.split._plan import by_reason, listed_names

    if as_json:
        write_json("hal.split/1", plan.document())
        return
    out = console()
    rows = [
        (
            str(number),
            part.candidate.label,
            str(len(part.nodes)),
            _counted(part.operators),
            str(len(part.takes)),
            str(len(part.gives)),
            human_bytes(int(part.bytes)) if part.bytes else "",
            duration(part.seconds),
        )
        for number, part in enumerate(plan.parts, 1)
    ]
    columns = ("part", "runs on", "nodes", "operators", "takes", "gives", "handed", "predicted")
    out.print(table(columns, rows))
    lacks = [
        (device, listed_names(nodes), why)
        for device, missing in plan.missing.items()
        for why, nodes in by_reason(missing).items()
    ]
    out.print(table(("device", "lacks", "why"), lacks))
    for device, why in plan.out.items():
        out.print(f"{device} takes no part: {why}")
    out.print(plan.line)


def _counted(operators: Mapping[str, int]) -> str:
    shown = [f"{n} {name}" if n > 1 else name for name, n in list(operators.items())[:5]]
    return ", ".join(shown) + (", ..." if len(operators) > 5 else "")


def parse_sizes(words: list[str] | tuple[str, ...]) -> dict[str, int]:
    """The sizes of "name=number" words. Raises UsageError."""
    found = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        if not equals or not name or not number.isdigit():
            raise UsageError(f"a size is written name=number (batch=8), got {word!r}")
        found[name] = int(number)
    return found


def _print(found: Route, *, explain: bool) -> None:
    out = console()
    rows = [row for row in found.rows if explain or row.state != "struck"]
    out.print(table(COLUMNS, map(cells, rows)))
    hidden = len(found.rows) - len(rows)
    if hidden:
        out.print(f"{hidden} more take no part (--explain says why)")
    for line in summary(found):
        out.print(line)
    if not explain:
        return
    for row in found.rows:
        if row.errors:
            errors = [(name, f"{error:.2e}") for name, error in row.errors.items()]
            title = f"{row.candidate.label}: compiled in {row.compiled:.1f} s"
            out.print(table(("output", "relative L2 error"), errors, title=title))
    out.print(table(("what it depends on", ""), found.facts.items()))
