"""Makes the zoo's graphs again: `python -m hal_conformance.models.generate [NAME ...]`.

With each graph goes the tolerance of its cases in suite `models`, tolerances.json, for which it
runs in float32 and float64; `--tolerances` leaves the graphs as they are.

Needs torch, onnxruntime and what requirements-models.txt pins; nothing is downloaded. Other
releases of these give other graphs, and so other fingerprints and other cases of suite `models`.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path

import onnx

from hal_conformance.model_facts import name_nodes
from hal_conformance.models import LIGHT
from hal_conformance.models._light import light
from hal_conformance.models._weights import strip
from hal_conformance.models.architectures import ARCHITECTURES, export

__all__ = ["graph", "main"]


def main(arguments: list[str]) -> int:
    """Write the named models' graphs and tolerances, by default all of them, beside this file."""
    only_tolerances = "--tolerances" in arguments
    chosen = [a for a in arguments if a != "--tolerances"] or [*LIGHT, *ARCHITECTURES]
    unknown = sorted({*chosen} - {*LIGHT, *ARCHITECTURES})
    if unknown:
        print(f"no such model: {', '.join(unknown)}; there are {[*LIGHT, *ARCHITECTURES]}")
        return 2
    folder = Path(__file__).parent / "graphs"
    folder.mkdir(exist_ok=True)
    for name in () if only_tolerances else chosen:
        model = graph(name)
        packed = gzip.compress(model.SerializeToString(deterministic=True), 9, mtime=0)
        (folder / f"{name}.onnx.gz").write_bytes(packed)
        print(f"{name:16} {len(model.graph.node):5} nodes {len(packed):8} bytes", flush=True)
    _tolerances(chosen)
    return 0


def _tolerances(names: list[str]) -> None:
    from hal.plugins import load_plugins
    from hal_conformance.suite_models import SIZES, id_of, measured_tolerance

    path = Path(__file__).parent / "tolerances.json"
    table = json.loads(path.read_text("utf-8")) if path.exists() else {}
    with load_plugins() as registry:
        for name in names:
            for number in range(len(SIZES)):
                case_id = id_of(name, number)
                table[case_id] = measured_tolerance(registry, name, number)
                print(f"{case_id:44} {table[case_id]}", flush=True)
            rows = ",\n".join(
                f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(table.items())
            )
            path.write_text(f"{{\n{rows}\n}}\n", "utf-8")


def graph(name: str) -> onnx.ModelProto:
    """One model of the zoo without its weights, made from its source. Raises KeyError for an
    unknown name, ImportError without transformers and onnxscript."""
    model = light(name) if name in LIGHT else _exported(name)
    name_nodes(model)
    strip(model)
    return model


def _exported(name: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(name, path)
        return onnx.load(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
