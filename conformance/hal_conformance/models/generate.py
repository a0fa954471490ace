"""Makes the zoo's graphs again: `python -m hal_conformance.models.generate [NAME ...]`.

Needs torch, onnxruntime and what requirements-models.txt pins; nothing is downloaded. Other
releases of these give other graphs, and so other fingerprints and other cases of suite `models`.
"""

from __future__ import annotations

import gzip
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
    """Write the named graphs, by default all of them, beside this file."""
    chosen = arguments or [*LIGHT, *ARCHITECTURES]
    unknown = sorted({*chosen} - {*LIGHT, *ARCHITECTURES})
    if unknown:
        print(f"no such model: {', '.join(unknown)}; there are {[*LIGHT, *ARCHITECTURES]}")
        return 2
    folder = Path(__file__).parent / "graphs"
    folder.mkdir(exist_ok=True)
    for name in chosen:
        model = graph(name)
        packed = gzip.compress(model.SerializeToString(deterministic=True), 9, mtime=0)
        (folder / f"{name}.onnx.gz").write_bytes(packed)
        print(f"{name:16} {len(model.graph.node):5} nodes {len(packed):8} bytes", flush=True)
    return 0


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
