"""What PyTorch does at import or by default that HAL needs otherwise, each with its reason."""

from __future__ import annotations

import importlib
import os
import warnings

__all__ = ["import_torch"]


def import_torch() -> None:
    """Import torch without its out-of-tree backends. Raises what the import raises.

    torch >= 2.5 imports every installed out-of-tree backend with itself, and one that cannot start
    (torch_npu without CANN: "libhccl.so: cannot open shared object file") makes `import torch` fail.
    `devices` imports them one by one instead.
    """
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    torch = importlib.import_module("torch")
    # A view of read-only memory makes torch warn, once in a process, that it cannot protect it.
    # Kernels never write to their inputs, so the warning is spent here, before anyone sees it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.frombuffer(b"\0", dtype=torch.uint8)
