"""Compiled contexts on disk: an ONNX model of one EPContext node beside the record of its making.

An entry is two files: NAME.onnx, which onnxruntime writes, and NAME.json, written last, with the
assignment of the model's nodes and the SHA-256 of the first. What does not fit is made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hal_onnxruntime.session import Record

from hal.errors import OutputError
from hal.graph import Graph, SparseTensor, read_model
from hal.model import Model
from hal.tensor import Tensor

__all__ = ["Context", "ContextCache", "key"]

_SCHEMA = "hal-qnn.context/1"


@dataclasses.dataclass(frozen=True)
class Context:
    """A compiled model, and where the session that compiled it had put the nodes."""

    model: bytes
    records: tuple[Record, ...]


def key(model: Model, options: Mapping[str, object]) -> str:
    """The name of an entry: SHA-256 of the model with its external data, and of all that decides
    how it is compiled."""
    digest = hashlib.sha256(model.fingerprint.encode())
    digest.update(json.dumps(options, sort_keys=True, default=str).encode())
    if model.folder is not None:
        for tensor in _tensors(read_model(model).graph):
            digest.update(tensor.data)
    return digest.hexdigest()


class ContextCache:
    """The entries of one folder, which several processes may use at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> Context | None:
        """The entry, or None if there is none, or none that is whole."""
        try:
            data = (self.folder / f"{name}.onnx").read_bytes()
            entry = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
            if (entry["schema"], entry["sha256"]) != (_SCHEMA, hashlib.sha256(data).hexdigest()):
                return None
            records = tuple((str(n), str(o), str(p)) for n, o, p in entry["records"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Context(data, records)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Where onnxruntime may write a context; `keep` takes it from there. Raises OutputError if
        the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=".compile-", dir=self.folder))
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield scratch / "context.onnx"
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def keep(self, name: str, written: Path, records: Sequence[Record]) -> None:
        """Make an entry of the file that onnxruntime wrote; nothing if it wrote none."""
        if not written.is_file():
            return
        try:
            entry = {
                "schema": _SCHEMA,
                "sha256": hashlib.sha256(written.read_bytes()).hexdigest(),
                "records": [list(record) for record in records],
            }
            note = written.with_suffix(".json")
            note.write_text(json.dumps(entry), encoding="utf-8")
            written.replace(self.folder / f"{name}.onnx")
            note.replace(self.folder / f"{name}.json")
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.folder}: {error.strerror or error}",
            next_step="give context_cache another folder, or false",
        )


def _tensors(graph: Graph) -> Iterator[Tensor]:
    yield from graph.initializers.values()
    for sparse in graph.sparse_initializers.values():
        yield from (sparse.values, sparse.indices)
    for node in graph.nodes:
        for value in node.attributes.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Tensor):
                    yield inner
                elif isinstance(inner, SparseTensor):
                    yield from (inner.values, inner.indices)
                elif isinstance(inner, Graph):
                    yield from _tensors(inner)
