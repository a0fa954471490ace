"""How a compiled program is called: without autograd, with the user's settings, and what a device
without memory left is made to say."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch

from hal.device import Device
from hal_torch._compat import InferenceMode, cuda_float32
from hal_torch.devices import torch_device
from hal_torch.options import TorchOptions

__all__ = ["guarded"]

Program = Callable[[list[Any]], tuple[Any, ...]]
_DEMAND = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMGTP]i?B)")


def guarded(program: Program, device: Device, options: TorchOptions) -> Program:
    """The program as `run` calls it.

    Raises MemoryError, naming the device, the demand and what is free, when memory runs out; the
    arrays of the failed run are let go, so that the next run finds the device as it was.
    """
    settings = _settings(torch_device(device).type, options)

    def run(values: list[Any]) -> tuple[Any, ...]:
        try:
            with InferenceMode(True):
                return program(values)
        except (RuntimeError, MemoryError) as error:
            _refuse_if_out_of_memory(error, device)
            raise

    if settings is None:
        return run

    def run_with_settings(values: list[Any]) -> tuple[Any, ...]:
        with settings():
            return run(values)

    return run_with_settings


def _settings(device_type: str, options: TorchOptions) -> Callable[[], Any] | None:
    """What PyTorch knows only as a setting of the process, for the time of a run."""
    if not options.threads and device_type != "cuda":
        return None
    precision = "tf32" if options.precision == "tf32" else "ieee"

    @contextlib.contextmanager
    def settings() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if options.threads and torch.get_num_threads() != options.threads:
                stack.callback(torch.set_num_threads, torch.get_num_threads())
                torch.set_num_threads(options.threads)
            if device_type == "cuda":
                stack.enter_context(cuda_float32(precision))
            yield

    return settings


def _refuse_if_out_of_memory(error: BaseException, device: Device) -> None:
    text = str(error)
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not (
        "allocate memory" in text or "out of memory" in text.lower()
    ):
        return
    # The frames' variables are the arrays of this run.
    traceback.clear_frames(error.__traceback__)
    demand = _DEMAND.search(text)
    wanted = _described(demand) if demand else "what it was asked for"
    raise MemoryError(f"{device.id} has no room for {wanted}{_free(device)}").with_traceback(
        error.__traceback__
    ) from None


def _described(demand: re.Match[str]) -> str:
    return _size(int(demand[1])) if demand[2] == "bytes" else f"{demand[1]} {demand[2]}"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _free(device: Device) -> str:
    """What is free of what there is; "" where the device does not tell."""
    own = torch_device(device)
    if own.type == "cpu":
        free, total = _host_memory()
    else:
        try:
            module = torch.get_device_module(own)
            module.empty_cache()
            free, total = module.mem_get_info(own)
        except (AttributeError, NotImplementedError, RuntimeError):
            free = total = 0
    return f": {_size(free)} of {_size(total)} are free" if total else ""


def _host_memory() -> tuple[int, int]:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 (no file of the disk)
            known = {name: int(rest.split()[0]) << 10 for name, rest in _pairs(lines)}
    except (OSError, ValueError, IndexError):
        return 0, 0
    return known.get("MemAvailable", 0), known.get("MemTotal", 0)


def _pairs(lines: Any) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, rest = line.partition(":")
        yield name, rest
