"""From an ONNX model to a module of IREE's virtual machine. The compiler runs as a command of its
own, so that when it dies the host that serves the backend lives on; modules are kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from iree.compiler.extras import onnx_importer
from iree.compiler.ir import Context
from iree.compiler.tools import CompilerToolError, compile_str

from hal.errors import CrashError, ExecutionError, ModelError, UnsupportedError
from hal.graph import read_model
from hal.model import Model
from hal.paths import cache_dir

__all__ = ["compiled", "imported"]

_ILLEGAL = re.compile(r"failed to legalize operation '([\w.]+)'")
_OPERATOR = re.compile(r'torch\.operator "onnx\.(\w+)"')
_ERROR = re.compile(r"error: (.+)")
_SIGNAL = re.compile(r"Error code: -(\d+)")


def imported(model: Model) -> str:
    """The model in IREE's torch dialect, as text. Raises UnsupportedError for what IREE's importer
    refuses."""
    read_model(model)  # what is malformed, or points outside its folder, ends here
    proto = onnx.load_from_string(model.data)
    if model.folder is not None:
        onnx.load_external_data_for_model(proto, str(model.folder))
    with contextlib.suppress(Exception):  # inference is a help: the importer says what it lacks
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    try:
        info = onnx_importer.ModelInfo(proto)
        module: Any = info.create_module(context=Context()).operation
        onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
        module.verify()
        return str(module.get_asm())
    except ModelError:
        raise
    except Exception as error:
        raise UnsupportedError(f"IREE's importer: {_first(str(error))}") from error


def compiled(text: str, backend: str, flags: Sequence[str], *, cache: bool) -> bytes:
    """The module for a target backend of the compiler: from the cache folder where it is there,
    else compiled and kept.

    Raises UnsupportedError when IREE does not lower an operator, ExecutionError when it fails
    otherwise, CrashError when the compiler died.
    """
    if ",f64>" in text:
        # Double stays double: demoted, buffers no longer have the size that the model declares.
        # Elsewhere it is IREE's own index arithmetic (MaxPool), for which its linker lacks fmod.
        flags = (*flags, "--iree-input-demote-f64-to-f32=false")
    path = _path(text, backend, flags)
    if cache and path.is_file():
        with contextlib.suppress(OSError):
            return path.read_bytes()
    try:
        made = compile_str(
            text,
            target_backends=[backend],
            input_type="auto",
            extra_args=list(flags),
        )
    except CompilerToolError as error:
        raise _explained(str(error)) from None
    if not made:
        raise ExecutionError("iree-compile gave no module")
    if cache:
        _keep(path, made)
    return bytes(made)


def _explained(said: str) -> Exception:
    signal = _SIGNAL.search(said)
    if signal:
        return CrashError(f"iree-compile died with signal {signal[1]}")
    illegal = _ILLEGAL.search(said)
    if illegal and illegal[1].startswith("torch."):
        names = sorted(set(_OPERATOR.findall(said))) or [illegal[1]]
        return UnsupportedError(f"IREE does not lower {', '.join(names)}")
    found = _ERROR.search(said)
    return ExecutionError(f"iree-compile: {found[1] if found else _first(said)}")


def _path(text: str, backend: str, flags: Sequence[str]) -> Path:
    release = importlib.metadata.version("iree-base-compiler")
    words = "\0".join((release, backend, *flags, text))
    return cache_dir() / "iree" / f"{hashlib.sha256(words.encode()).hexdigest()}.vmfb"


def _keep(path: Path, data: bytes) -> None:
    """Moved into place whole; a folder that cannot be written costs only the cache."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _first(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "it gave no reason"
