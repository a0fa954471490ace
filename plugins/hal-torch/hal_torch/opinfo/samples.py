"""Samples of an OpInfo: made on the CPU from fixed seeds, copied to a device, and raised to the
precision of the oracle."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

__all__ = ["Call", "higher", "make_samples", "move", "raised", "seeded"]


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of an operator: its arguments, and what to make of its result before gradients are
    taken (a function that is the same for every choice of eigenvector signs and phases)."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    for_gradient: Callable[[Any], Any]


def higher(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the oracle: float64 for a floating one, complex128 for a complex one."""
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else dtype


@contextlib.contextmanager
def seeded(name: str, *, devices: bool = False) -> Iterator[None]:
    """The generators of the CPU, or of all `devices`, start from a seed that `name` gives."""
    seed = zlib.crc32(name.encode())
    if devices:
        torch.manual_seed(seed)
    torch.default_generator.manual_seed(seed)  # alone 50 times as fast
    random.seed(seed)
    np.random.seed(seed)
    yield


def make_samples(op: Any, dtype: torch.dtype, *, requires_grad: bool) -> list[Call]:
    """The samples that torch declares for a dtype, on the CPU; the same ones every time."""
    calls = []
    with seeded(f"{op.full_name} {dtype}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in op.sample_inputs("cpu", dtype, requires_grad=requires_grad):
            gradient = sample.output_process_fn_grad or (lambda out: out)
            call = Call((sample.input, *sample.args), sample.kwargs, gradient)
            # what makes the samples may change one after it has given it
            calls.append(move(call, torch.device("cpu")))
    return calls


def move(call: Call, device: torch.device, *, first_only: bool = False) -> Call:
    """A copy of a call on a device, or with only the first argument there. No argument shares
    memory with the original."""
    moved = _map(call, device, lambda dtype: dtype)
    if first_only:
        rest = _map(call, torch.device("cpu"), lambda dtype: dtype)
        return Call((*moved.args[:1], *rest.args[1:]), rest.kwargs, call.for_gradient)
    return moved


def raised(call: Call) -> Call:
    """A copy of a call on the CPU in float64 and complex128; integers stay as they are."""
    return _map(call, torch.device("cpu"), higher)


def _map(call: Call, device: torch.device, to: Callable[[torch.dtype], torch.dtype]) -> Call:
    copies: dict[int, torch.Tensor] = {}

    def leaf(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            if id(item) not in copies:
                copies[id(item)] = _copy(item, device, to(item.dtype))
            return copies[id(item)]
        if isinstance(item, torch.dtype):
            return to(item)
        # a device among the arguments of a sample is where it was made
        return device if isinstance(item, torch.device) else item

    kwargs = {
        k: str(device) if k == "device" else tree_map(leaf, v) for k, v in call.kwargs.items()
    }
    return Call(tuple(tree_map(leaf, a) for a in call.args), kwargs, call.for_gradient)


def _copy(item: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    plain = item.detach()
    if _is_part(plain):  # an operator such as as_strided sees what lies around it
        whole = torch.empty(0, dtype=plain.dtype).set_(plain.untyped_storage())
        moved = whole.to(device=device, dtype=dtype, copy=True)
        copy = moved.as_strided(plain.size(), plain.stride(), plain.storage_offset())
    else:
        copy = plain.to(device=device, dtype=dtype, copy=True)
    return copy.requires_grad_(item.requires_grad)


def _is_part(item: torch.Tensor) -> bool:
    if item.layout is not torch.strided or item.is_conj() or item.is_neg():
        return False
    return item.untyped_storage().nbytes() > item.numel() * item.element_size()
