"""`hal bench`: devices side by side on one model, timed in blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hal.cli._npz import read_npz
from hal.cli._output import console, stderr_console, table, write_json
from hal.cli.completion import complete_device
from hal.cli.route import parse_sizes
from hal.routing._bench import bench
from hal.routing._table import duration

__all__ = ["bench_model"]


def bench_model(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            help="A device, with options: ort:cpu,intra_op_threads=1. Default: every ready one.",
            autocompletion=complete_device,
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
    rounds: Annotated[int, typer.Option(min=3, help="Blocks for each device.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.bench/1).")] = False,
) -> None:
    """Time devices side by side on a model, each in a process of its own.

    In every round each device runs one block, in random order: 100 ms of rest, two runs that do not
    count, at least five that do; the median of each block counts. "spread" is the slowest block
    over the fastest. Ratios below 1.12 are within the noise.

    Example: hal bench model.onnx -d ort:cpu -d openvino:cpu -d torch:cpu,mode=compile
    """
    given = None if inputs is None else read_npz(inputs)
    with stderr_console().status("reading the model") as status:
        rows = bench(
            model,
            tuple(device or ()),
            inputs=given,
            sizes=parse_sizes(size or ()),
            rounds=rounds,
            say=status.update,
        )
    if as_json:
        write_json("hal.bench/1", {"rows": [row.document() for row in rows]})
        return
    best = min((row.median for row in rows if row.blocks), default=1.0)
    cells = [
        (
            row.candidate.label,
            duration(row.median),
            f"{row.median / best:.2f}" if row.blocks else "",
            f"{row.spread:.2f}" if row.blocks else "",
            duration(row.p99) if row.blocks else "",
            f"{row.memory / 2**20:.0f} MiB" if row.memory else "",
            f"{row.compiled:.2f} s" if row.compiled else "",
            row.reason,
        )
        for row in rows
    ]
    columns = ("device", "median", "ratio", "spread", "p99", "memory", "compiled in", "why not")
    console().print(table(columns, cells))
