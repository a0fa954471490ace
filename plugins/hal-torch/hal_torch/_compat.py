"""What PyTorch does at import or by default that HAL needs otherwise, each with its reason.

This module is the first of the plugin that imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

# torch >= 2.5 imports every installed out-of-tree backend with itself, and one that cannot start
# (torch_npu without CANN: "libhccl.so: cannot open shared object file") fails `import torch`.
# `devices` imports them one by one instead.
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"

import numpy as np
import torch

__all__ = ["InferenceMode", "cuda_float32", "is_alone", "opaque_linear"]

# A view of read-only memory makes torch warn, once in a process, that it cannot protect it.
# Kernels never write to their inputs, so the warning is spent here, before anyone sees it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.frombuffer(b"\0", dtype=torch.uint8)
    torch.from_numpy(np.frombuffer(b"\0", dtype=np.uint8))

InferenceMode: Any = getattr(torch._C, "_InferenceMode", torch.inference_mode)
"""A guard that switches autograd off for a block: what torch.inference_mode makes at each entry,
without its Python (0.5 µs instead of 1.3 with torch 2.13)."""


_users: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)


def is_alone(array: torch.Tensor) -> bool:
    """Whether torch itself made the memory of a CPU tensor, and no other tensor has it. False where
    this torch does not tell. Ask before NumPy has a view of it, which torch would not know of.
    """
    memory = array.untyped_storage()
    if _users is None or not memory.resizable():  # memory that is another's cannot grow
        return False
    # The tensor, and `memory`.
    return _users(memory._cdata) == 2 and memory.nbytes() <= 2 * array.nbytes


@contextlib.contextmanager
def cuda_float32(precision: str) -> Iterator[None]:
    """How CUDA computes float32 for a block: "ieee", or "tf32" with ten bits of mantissa.

    The setting is one of the process, and torch's default is "tf32" for cuDNN's convolutions and
    RNNs. Mixing `fp32_precision` with the older `allow_tf32` raises, so only the former is used.
    """
    backends = torch.backends
    cudnn: Any = backends.cudnn  # whose stubs lack them
    places: list[Any] = [backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    before = [(place, place.fp32_precision) for place in places]
    changed = [(place, value) for place, value in before if value != precision]
    try:
        for place, _ in changed:
            place.fp32_precision = precision
        yield
    finally:
        for place, value in changed:
            place.fp32_precision = value


@functools.cache
def opaque_linear() -> Callable[..., torch.Tensor]:
    """oneDNN's product (x, weight, bias or None), in a graph that TorchInductor gets.

    Its patterns of freezing assume that every `mkldnn::_linear_pointwise` is their own, with a
    packed weight, and assert it where an Add follows (torch 2.13,
    torch/_inductor/fx_passes/mkldnn_fusion.py, is_linear_add_bias).
    """
    make: Any = torch.library.Library  # untyped
    library = make("hal_torch", "DEF")
    library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
    linear = torch.ops.mkldnn._linear_pointwise.default
    library.impl("linear", lambda x, w, b: linear(x, w, b, "none", [], ""), "CPU")
    library.impl("linear", lambda x, w, b: x.new_empty((*x.shape[:-1], w.shape[0])), "Meta")
    _KEPT.append(library)
    made: Callable[..., torch.Tensor] = torch.ops.hal_torch.linear.default
    return made


_KEPT: list[Any] = []
"""An operator is gone with its library."""
