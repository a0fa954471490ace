"""Variants: models derived of a model, made once and kept beside the store."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hal.errors import ExecutionError, OutputError, UnavailableError
from hal.graph import Graph
from hal.model import Model
from hal.routing._identity import Known
from hal.store import Store
from hal.tensor import Tensor, Value

__all__ = ["VARIANTS", "changes_nothing", "clear_variants", "derive", "impossible"]

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "int8": ("onnx", "onnxruntime"),
    "int8-static": ("onnx", "onnxruntime"),
    "float16": ("onnx",),
    "bfloat16": ("onnx",),
}
"""The variants, with the packages that make them."""
_SECONDS = 300.0
_CHANGED = {"int8": ("MatMul", "Gemm", "LSTM"), "int8-static": ("MatMul", "Gemm", "Conv")}
"""The operators that a variant changes, where their weights are constant."""


def impossible(name: str, *, calibrated: bool) -> str:
    """Why a variant cannot be made here, whatever the model; "" if it can. `calibrated` says that
    there are inputs of the user's own."""
    missing = [p for p in VARIANTS.get(name, ()) if importlib.util.find_spec(p) is None]
    if name not in VARIANTS:
        return f"HAL knows no variant {name!r}"
    if missing:
        return f"made with {' and '.join(missing)}: pip install {' '.join(missing)}"
    if name == "int8-static" and not calibrated:
        return "takes part with inputs of your own (--inputs), which calibrate it"
    return ""


def changes_nothing(name: str, graph: Graph) -> str:
    """Why a variant of this model would be the model itself, in words; "" if something changes. Of
    the narrow types only the making of them tells."""
    kinds = _CHANGED.get(name, ())
    if not kinds or any(
        n.op_type in kinds and len(n.inputs) > 1 and n.inputs[1] in graph.initializers
        for n in graph.nodes
    ):
        return ""
    return f"{name} would change nothing: no {' or '.join(kinds)} has constant weights"


def derive(
    known: Known, name: str, store: Store, inputs: Mapping[str, Value] | None = None
) -> Model:
    """A variant of a model; made in a process of its own unless it is kept already. `inputs`
    calibrate "int8-static". Raises UnavailableError where it cannot be made any more, and
    ExecutionError when making it fails."""
    key = f"{known.fingerprint}|{name}"
    kept = store.get("variants", key)
    if kept is not None:
        with contextlib.suppress(OSError, KeyError):
            data = (store.folder / str(kept["file"])).read_bytes()
            if len(data) == kept["size"]:
                return Model(data)
    reason = impossible(name, calibrated=inputs is not None)
    if reason:
        raise UnavailableError(f"{name} {reason}")
    data = _made(known.model, name, inputs or {})
    file = hashlib.sha256(key.encode()).hexdigest()[:32] + ".onnx"
    if _written(store.folder / file, data):
        store.put("variants", key, {"file": file, "size": len(data)}, group=known.fingerprint)
    return Model(data)


def clear_variants(store: Store) -> None:
    """Remove every variant. Raises OutputError."""
    rows = store.rows("variants")
    store.delete("variants")
    for row in rows:
        try:
            (store.folder / str(row.document["file"])).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{error.filename}: {error.strerror}") from None


def _made(model: Model, name: str, inputs: Mapping[str, Value]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="hal-variant-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(model.data)
        arrays: dict[str, Any] = {n: v.numpy() for n, v in inputs.items() if isinstance(v, Tensor)}
        np.savez(folder / "inputs.npz", **arrays)
        command = [sys.executable, "-m", "hal.routing._derive", name, place]
        if model.folder is not None:
            command.append(str(model.folder))
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        except subprocess.TimeoutExpired:
            raise ExecutionError(f"making {name} took over {_SECONDS:.0f} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise ExecutionError(f"{name} cannot be made of this model: {last}")
        return (folder / "made.onnx").read_bytes()


def _written(path: Path, data: bytes) -> bool:
    """Whether a file is there, whole; a full disk costs only the making of it again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError:
        return False
    return True
