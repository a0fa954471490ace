"""Prints what the installed PyTorch declares of its operators: `python -m hal_torch.opinfo`.

It runs in a process of its own, so that the parent imports no torch.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hal_torch.opinfo.database import dtype_name, operators

__all__ = ["describe"]


def describe() -> list[dict[str, Any]]:
    """The facts of every OpInfo, in the database's order: see `_catalogue.OpFacts`."""
    return [_describe(op) for op in operators().values()]


def _describe(op: Any) -> dict[str, Any]:
    backward = op.supported_backward_dtypes("cpu") & set(op.dtypes) if op.supports_autograd else ()
    return {
        "name": op.full_name,
        "kind": type(op).__name__,
        "dtypes": sorted(dtype_name(d) for d in op.dtypes),
        "backward": sorted(dtype_name(d) for d in backward),
        "core": sorted(_core(op)),
    }


def _core(op: Any) -> set[str]:
    """The core ATen operators that the OpInfo stands for: its namesake, and what its first sample
    asks the dispatcher for where that is a single operator."""
    asked: set[str] = set()
    mode: Any = TorchDispatchMode

    class Listen(mode):  # type: ignore[misc]  # torch does not type its constructor
        def __torch_dispatch__(
            self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            asked.add(operator._schema.name.removeprefix("aten::"))
            return operator(*args, **(kwargs or {}))

    for dtype in sorted(op.dtypes, key=lambda d: (d is not torch.float32, str(d))):
        try:
            sample = next(iter(op.sample_inputs("cpu", dtype)))
            with Listen():
                op(sample.input, *sample.args, **sample.kwargs)
        except Exception:  # noqa: BLE001, S112 (what does not run here is found by the suite itself)
            continue
        break
    namesake = {op.aten_name or op.name}
    return {name for name in namesake | (asked if len(asked) == 1 else set()) if _is_core(name)}


def _is_core(name: str) -> bool:
    packet: Any = getattr(torch.ops.aten, name, None)
    overloads: list[str] = packet.overloads() if hasattr(packet, "overloads") else []
    return any(torch.Tag.core in getattr(packet, o).tags for o in overloads)


def _main() -> None:
    out = os.dup(1)  # what torch prints must not get into the JSON
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(describe(), stream)
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
