"""What PyTorch does at import or by default that HAL needs otherwise, each with its reason."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["InferenceMode", "import_torch", "tf32_settings"]


def import_torch() -> None:
    """Import torch without its out-of-tree backends. Raises what the import raises.

    torch >= 2.5 imports every installed out-of-tree backend with itself, and one that cannot start
    (torch_npu without CANN: "libhccl.so: cannot open shared object file") fails `import torch`.
    `devices` imports them one by one instead.
    """
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    torch = importlib.import_module("torch")
    # A view of read-only memory makes torch warn, once in a process, that it cannot protect it.
    # Kernels never write to their inputs, so the warning is spent here, before anyone sees it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.frombuffer(b"\0", dtype=torch.uint8)


def InferenceMode(mode: bool) -> Any:  # noqa: N802 (replaced below by the class of that name)
    """A guard that switches autograd off for a block."""
    return importlib.import_module("torch").inference_mode(mode)


with contextlib.suppress(ImportError, AttributeError):
    # What torch.inference_mode makes at each entry, without its Python: 0.5 µs instead of 1.3.
    InferenceMode = importlib.import_module("torch")._C._InferenceMode


@contextlib.contextmanager
def tf32_settings() -> Iterator[None]:
    """Matrix products and convolutions of float32 in TF32 for a block, where the device has it.

    The setting is one of the process. torch has `fp32_precision` on each backend; mixing it with
    the older `allow_tf32` raises, so only the former is used.
    """
    backends = importlib.import_module("torch").backends
    places = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
