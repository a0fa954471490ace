"""Did an operator run on the device, or did PyTorch quietly hand it to the CPU?

PyTorch's profiler records every call that goes through the dispatcher, however deep in C++, with
its inputs' devices. A fallback copies the inputs to the CPU and either computes there with what it
copied or copies something back. The device of the result says nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["Watch"]

_MARK = "hal::operator"
_COPIES = {"aten::copy_": (1, 0), "aten::_copy_from": (0, 1), "aten::_copy_from_and_resize": (0, 1)}
"""The calls that copy between devices: the positions of their source and target."""
_NO_WORK = frozenset(
    f"aten::{name}"
    for name in re.findall(
        r"\w+",
        """_copy_from _copy_from_and_resize _local_scalar_dense _reshape_alias _to_copy alias
        as_strided clone copy_ detach empty empty_like empty_strided expand item permute reshape
        resize_ select set_ slice squeeze t to transpose unsqueeze view""",
    )
)
"""Calls on the CPU that compute nothing."""


class Watch:
    """Records what the operators do that run inside `operator()`, on one device.

    Use as a context manager around several of them; then `fallback` says what was found.
    `dtype` is that of the case: only copies of more than one element of it, or of a floating or
    complex type, count, so that lengths and indices that an operator reads as numbers do not.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device.type, str(dtype)
        self._profile: Any = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
        )

    def __enter__(self) -> Watch:
        self._profile.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._profile.__exit__(*exception)

    @contextlib.contextmanager
    def operator(self) -> Iterator[None]:
        """One call of an operator, without the copies of its arguments and results."""
        with torch.profiler.record_function(_MARK):
            yield

    def fallback(self) -> str:
        """What the CPU did for the device, "" if nothing."""
        profiler: Any = self._profile.profiler
        roots = profiler.kineto_results.experimental_event_tree()
        # autograd works in threads of its own, whose events are no children of the mark
        events = sorted(_walk(roots), key=lambda event: int(event.start_time_ns))
        end, out = 0, False
        copied: set[int] = set()
        for event in events:
            if event.name == _MARK:
                end, copied, out = int(event.end_time_ns), set(), False
            elif int(event.start_time_ns) >= end:
                continue
            elif event.name == "aten::_to_cpu":
                return "PyTorch's own fallback copied its arguments to the CPU"
            elif event.name in _COPIES:
                source, target = (_tensor(event, i) for i in _COPIES[event.name])
                if self._leaves(source, target):
                    copied.add(target.storage_data_ptr)
                    out = True
                elif out and self._returns(source, target):
                    return f"its data went to the CPU and came back ({event.name})"
            elif event.name not in _NO_WORK and any(
                t.storage_data_ptr in copied for t in _tensors(event)
            ):
                return f"{event.name} ran on the CPU with data of the device"
        return ""

    def _leaves(self, source: Any, target: Any) -> bool:
        return (
            source is not None
            and target is not None
            and source.device.type == self._device
            and target.device.type == "cpu"
            and self._counts(source)
        )

    def _returns(self, source: Any, target: Any) -> bool:
        return (
            source is not None
            and target is not None
            and source.device.type == "cpu"
            and target.device.type == self._device
        )

    def _counts(self, tensor: Any) -> bool:
        elements = 1
        for size in tensor.sizes:
            elements *= size
        dtype = tensor.dtype
        return elements > 1 and (
            str(dtype) == self._dtype or dtype.is_floating_point or dtype.is_complex
        )


def _walk(events: Any) -> Iterator[Any]:
    for event in events:
        yield event
        yield from _walk(event.children)


def _inputs(event: Any) -> list[Any]:
    return list(getattr(event.extra_fields, "inputs", None) or ())


def _tensor(event: Any, index: int) -> Any:
    inputs = _inputs(event)
    found = inputs[index] if index < len(inputs) else None
    return found if hasattr(found, "storage_data_ptr") else None


def _tensors(event: Any) -> Iterator[Any]:
    for item in _inputs(event):
        for tensor in item if isinstance(item, list) else (item,):
            if getattr(getattr(tensor, "device", None), "type", "") == "cpu":
                yield tensor
