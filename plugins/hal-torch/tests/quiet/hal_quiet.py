"""The passthrough device, with operators that are wrong on purpose: what the suite must find.

`erf` is handed to the CPU and its result brought back, as a vendor's fallback does in silence.
`sinh` gives wrong values, `ceil` a wrong dtype, `cosh` is refused, `tan` ends the process.
"""

from __future__ import annotations

import os
from typing import Any

import hal_passthrough
import torch

_library: list[torch.library.Library] = []


def _erf(x: Any) -> Any:
    return torch.erf(x.cpu()).to(x.device)


def _sinh(x: Any) -> Any:
    return torch.cos(x) + 1


def _ceil(x: Any) -> Any:
    return torch.floor(x).to(torch.float64) + 1


def _cosh(x: Any) -> Any:
    raise NotImplementedError("no such kernel")


def _tan(x: Any) -> Any:
    os.abort()


def load() -> None:
    """Register the device and its faults."""
    hal_passthrough.load()
    aten = torch.library.Library("aten", "IMPL")
    for name, kernel in (
        ("erf", _erf),
        ("sinh", _sinh),
        ("ceil", _ceil),
        ("cosh", _cosh),
        ("tan", _tan),
    ):
        aten.impl(name, kernel, "PrivateUse1")
    _library.append(aten)
