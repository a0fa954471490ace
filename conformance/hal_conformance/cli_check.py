"""`hal check`: does this model run there, is it right, and which node breaks it?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hal import Model, Value
from hal._options import parse_options
from hal.arrays import check_feeds, value_of
from hal.cli._npz import read_npz
from hal.cli._output import console, stderr_console, write_json
from hal.cli.completion import complete_device
from hal.errors import UsageError
from hal.graph import ModelGraph, Signature, read_model
from hal.inputs import draw_inputs
from hal.plugins import load_plugins
from hal_conformance._files import make_folder
from hal_conformance.cli_options import CompilerOption
from hal_conformance.report import Limits

__all__ = ["check"]


def check(
    model: Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)],
    device: Annotated[
        list[str],
        typer.Option(
            "--device",
            "-d",
            help="A device's id; repeat for several.",
            autocompletion=complete_device,
        ),
    ],
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Inputs by name, as numpy.savez writes them. Default: drawn from what the model "
            "says of its inputs.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZE", help="The size of an open dimension of drawn inputs. Repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="What draws the inputs.")] = 0,
    accuracy: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="The relative L2 error that is admitted. Default: 16 times the error that float32 "
            "itself makes on this model.",
        ),
    ] = 0.0,
    repro: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Save the nodes at fault as a reproduction that needs no HAL.",
        ),
    ] = None,
    option: CompilerOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a call of an engine may take.")
    ] = 120.0,
    memory: Annotated[
        float, typer.Option(min=0.01, help="GiB that the device's process may grow.")
    ] = 8.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (hal.check/1), every node included.")
    ] = False,
) -> None:
    """Run one model on a device, and compare it with a run on another engine.

    Says which nodes the device does not take, where each node ran, and whether the outputs are
    right. If they are not, or the engine breaks, it finds the node at fault and runs it alone.

    Exits 0 if all is right, 1 if an output is wrong, 6 if the device does not take the model,

    7 if the engine fails, 8 if it dies, hangs or takes too much memory.

    Examples:

      hal check model.onnx -d openvino:cpu

      hal check model.onnx -d ort:cpu -d torch:cpu --size batch=4 --json

      hal check model.onnx -d openvino:cpu --inputs inputs.npz --accuracy 0.01

      hal check model.onnx -d openvino:cpu --repro finding
    """
    from hal_conformance.check.checker import Checker
    from hal_conformance.check.render import SCHEMA, document_of, exit_code, lines_of

    options = parse_options(option or ())
    made = Model.from_path(model)
    graph = read_model(made)
    values = _read(inputs, graph) if inputs else draw_inputs(graph, seed=seed, sizes=_sizes(size))
    if inputs and size:
        raise UsageError("--size is of drawn inputs", next_step="leave out --size or --inputs")
    made_here = repro is not None and not repro.exists()
    if repro is not None:
        make_folder(repro)
    out, code, documents = console(), 0, []
    limits = Limits(timeout, round(memory * 2**30), 1)
    with load_plugins() as registry:
        chosen = [registry.find_device(d) for d in dict.fromkeys(device)]
        with (
            stderr_console().status("reading the model") as status,
            Checker(
                registry,
                made,
                values,
                name=model.stem,
                drawn=inputs is None,
                accuracy=accuracy,
                limits=limits,
                tell=lambda text: status.update(Text(text)),
            ) as checker,
        ):
            for one in chosen:
                folder = repro
                if repro is not None and len(chosen) > 1:
                    folder = repro / one.id.replace(":", "_").replace("/", "_")
                result = checker.check(one, options, folder)
                code = max(code, exit_code(result))
                if as_json:
                    documents.append(document_of(result))
                    continue
                for line in lines_of(result, model.name):
                    out.print(Text(line))
                if result.culprit is not None and repro is None:
                    out.print(Text("  next: add --repro DIR, which saves a reproduction of it"))
    if repro is not None and made_here and not any(repro.iterdir()):
        repro.rmdir()  # there was nothing to save
    if as_json:
        shapes = {n: [v.type, list(getattr(v, "shape", ()))] for n, v in values.items()}
        write_json(SCHEMA, {"model": str(model), "inputs": shapes, "checks": documents})
    if code:
        raise typer.Exit(code)


def _read(path: Path, graph: ModelGraph) -> dict[str, Value]:
    """The values of an .npz file. Raises DataError for a file that is none, UsageError for arrays
    that are not what the model takes."""
    arrays = read_npz(path)
    signature = Signature.of(graph.graph)
    check_feeds(signature, None, arrays)
    infos = {i.name: i for i in (*signature.inputs, *signature.defaults)}
    return {name: value_of(infos[name], array) for name, array in arrays.items()}


def _sizes(texts: Sequence[str] | None) -> dict[str, int]:
    sizes = {}
    for text in texts or ():
        name, equals, size = text.partition("=")
        if not equals or not size.isdigit():
            raise UsageError(f"{text!r} is no size: expected NAME=SIZE, e.g. batch=4")
        sizes[name] = int(size)
    return sizes
