"""Workarounds for what ONNX Runtime does not do yet, each with the version that shows it."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["inlined_function", "library_error", "origin", "raw_bytes"]


def raw_bytes(value: Any) -> memoryview:
    """The packed bytes of a tensor's OrtValue on the CPU, not copied.

    1.31.1 gives NumPy no bfloat16, float8 but one, or types below a byte ("No corresponding Numpy
    type for Tensor Type"): https://github.com/microsoft/onnxruntime/pull/31677
    """
    count = value.tensor_size_in_bytes()
    if not count:
        return memoryview(b"")
    octets = (ctypes.c_uint8 * count).from_address(value.data_ptr())
    octets.owner = value  # the view keeps the value alive
    return memoryview(octets).cast("B")


def library_error(capi: Path, provider: str) -> str:
    """What the system's loader says when it loads a provider's own library; "" if it loads, or if
    there is none.

    1.31.1 writes the loader's words to its log alone, and then drops the provider in silence.
    https://github.com/microsoft/onnxruntime/issues/23372
    """
    name = provider.removesuffix("ExecutionProvider").lower()
    for library in sorted(capi.glob(f"*onnxruntime_providers_{name}.*")):
        for needed in sorted(capi.glob("*onnxruntime_providers_shared.*")):
            try:
                ctypes.CDLL(str(needed), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                return str(error)
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return str(error)
    return ""


def inlined_function(node: str) -> str:
    """What follows the prefix in the name of a node that was inlined from a function; "" for other
    nodes.

    1.31.1 names them "_inlfunc_<function>[_token_<number>]_<node>", without the node that called
    it; what it inlines from a schema's function body often has no name at all.
    """
    return node.removeprefix("_inlfunc_") if node.startswith("_inlfunc_") else ""


def origin(node: str, known: Collection[str]) -> str:
    """The node of the model that a node with a made-up name came from; "" where nothing tells.

    1.31.1 puts "_inlfunc_<function>_" and "_if_<branch>_" before the name of a node that it moves,
    and "_<what>", "/<what>" after that of one that an optimizer replaces.
    """
    moved = node.startswith(("_inlfunc_", "_if_"))
    cuts = [i for i, sign in enumerate(node) if sign in "_/"]
    names = (node[i + 1 :] for i in cuts) if moved else (node[:i] for i in reversed(cuts))
    return next((name for name in names if name in known), "")
