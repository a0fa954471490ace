"""PyTorch's OpInfo database, from a private module of torch that nothing else here imports.

It is what PyTorch tests itself with; its form may change with any release. docs/torch-suite.md says
which releases the suite has run with.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch

import hal_torch._compat  # noqa: F401 (how HAL sets torch up)

__all__ = ["dtype_name", "dtype_of", "operators"]


_DEFINITIONS = "torch.testing._internal.opinfo.definitions"


@functools.cache
def operators() -> Mapping[str, Any]:
    """Every OpInfo by its name and variant, e.g. "add", "nn.functional.pad.circular"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database = importlib.import_module("torch.testing._internal.common_methods_invocations")
    for name, module in list(sys.modules.items()):
        ours = module is database or name.startswith(_DEFINITIONS)
        if ours and "wrapper_set_seed" in vars(module):
            # It sets one seed before every call of a random operator; statistics need other draws.
            vars(module)["wrapper_set_seed"] = _call
    return {op.full_name: op for op in database.op_db}


def _call(operator: Any, *args: Any, **kwargs: Any) -> Any:
    return operator(*args, **kwargs)


def dtype_name(dtype: torch.dtype) -> str:
    """ "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


def dtype_of(name: str) -> torch.dtype:
    """torch.float32 for "float32". Raises KeyError for what is no dtype."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise KeyError(name)
    return found
