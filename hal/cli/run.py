"""`hal run`: a model run once, from a file of inputs to a file of outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hal.cli._npz import read_npz, write_npz
from hal.cli._output import console, stderr_console, table, write_json
from hal.cli.completion import complete_device
from hal.cli.route import parse_sizes
from hal.errors import OutputError

__all__ = ["run_model"]


def run_model(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npz file with the inputs by name; without it they are drawn."),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(help="The .npz file to write the outputs to.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device", "-d", help="Where to run; auto: the best.", autocompletion=complete_device
        ),
    ] = "auto",
    size: Annotated[
        list[str] | None,
        typer.Option("--size", help="The size of an open dimension of drawn inputs: batch=8."),
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="As for hal route, where HAL chooses the device.")
    ] = None,
    split: Annotated[
        bool,
        typer.Option("--split", help="Cut a model that no device takes whole, and run its parts."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.run/1).")] = False,
) -> None:
    """Run a model once and write its outputs, or show their types and shapes.

    Types that NumPy lacks are written as float32, the items of a sequence as name.0, name.1, ...

    Example: hal run model.onnx --inputs x.npz --outputs y.npz --device ort:cpu
    """
    from hal.session import load

    if outputs is not None and not outputs.parent.is_dir():
        raise OutputError(f"{outputs}: there is no folder {outputs.parent}")
    feeds: dict[str, Any]
    feeds = _drawn(model, size or []) if inputs is None else dict(read_npz(inputs))
    own = feeds if inputs is not None and device == "auto" else None
    with (
        stderr_console().status("loading the model"),
        load(model, device, accuracy=accuracy, inputs=own, split=split) as s,
    ):
        results = s.run(None, feeds)
        names = [info.name for info in s.outputs]
        placed = s.device
        cut = s.explain() if s.split else ""
    if outputs is not None:
        write_npz(outputs, dict(zip(names, results, strict=True)))
    rows = [(name, *_form(value)) for name, value in zip(names, results, strict=True)]
    if as_json:
        listed = [{"name": n, "type": t, "shape": s} for n, t, s in rows]
        drawn = "synthetic" if inputs is None else "given"
        found = {"device": placed, "inputs": drawn, "outputs": listed}
        write_json("hal.run/1", {**found, "split": cut} if cut else found)
        return
    out = console()
    out.print(table(("output", "type", "shape"), [(n, t, str(s)) for n, t, s in rows]))
    drawn = " on synthetic inputs" if inputs is None else ""
    if cut:
        out.print(cut)
    out.print(
        f"ran on {'its parts' if cut else placed}{drawn}"
        + (f"; wrote {outputs}" if outputs else "")
    )


def _drawn(model: Path, size: list[str]) -> dict[str, Any]:
    from hal.arrays import array_of
    from hal.graph import read_model
    from hal.inputs import draw_inputs
    from hal.model import Model

    graph = read_model(Model.from_path(model))
    return {n: array_of(v) for n, v in draw_inputs(graph, sizes=parse_sizes(size)).items()}


def _form(value: Any) -> tuple[str, list[int] | None]:
    shape = getattr(value, "shape", None)
    kind = str(value.dtype) if shape is not None else type(value).__name__
    return kind, None if shape is None else list(shape)
