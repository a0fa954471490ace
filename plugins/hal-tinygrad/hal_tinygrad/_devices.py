"""What tinygrad can open here. Each kind of device is tried in a process of its own, several at a
time, so that a driver that crashes or hangs harms nothing but its own row."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hal.device import Device, DeviceKind
from hal.probing import ask

__all__ = ["FAMILIES", "Family", "list_devices", "tinygrad_name"]


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of device that tinygrad knows by name: `name` is tinygrad's, `start` says what it
    needs. Where `listed` is false it is left out of the listing unless it starts."""

    name: str
    kind: DeviceKind
    vendor: str
    start: str
    listed: bool = False


FAMILIES = (
    Family("CL", "gpu", "", "install an OpenCL driver (pocl gives one for any CPU)", listed=True),
    Family("AMD", "gpu", "AMD", "needs the amdgpu driver"),
    Family("NV", "gpu", "NVIDIA", "needs the NVIDIA driver"),
    Family("CUDA", "gpu", "NVIDIA", "needs the NVIDIA driver and the CUDA toolkit"),
    Family("QCOM", "gpu", "Qualcomm", "needs an Adreno GPU with the KGSL driver"),
    Family("METAL", "gpu", "Apple", "needs macOS"),
    Family("WEBGPU", "gpu", "", "needs the Dawn library, see WEBGPU_PATH"),
    Family("CPU", "cpu", "", "install clang", listed=True),
)
"""In the order of the listing. DSP is left out: it is no device of its own but a compiler."""


def tinygrad_name(device: Device) -> str:
    """tinygrad's name of a listed device: "tinygrad:cl" is "CL"."""
    return device.id.rpartition("/")[2].partition(":")[2].upper()


def list_devices() -> tuple[Device, ...]:
    """The devices that start, and why the others that one may expect do not."""
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        answers = list(pool.map(_ask, FAMILIES))
    return tuple(
        _device(family, facts, reason)
        for family, (facts, reason) in zip(FAMILIES, answers, strict=True)
        if family.listed or not reason
    )


def _ask(family: Family) -> tuple[dict[str, str], str]:
    """What a device says of itself, and why it does not start."""
    found, reason = ask([sys.executable, "-m", "hal_tinygrad", family.name])
    return found or {}, reason


def _device(family: Family, facts: dict[str, str], reason: str) -> Device:
    # An OpenCL driver for the CPU says so, and is no GPU.
    kind: DeviceKind = "cpu" if facts.get("kind") == "cpu" else family.kind
    versions = {key: facts[key] for key in ("tinygrad", "driver") if facts.get(key)}
    return Device(
        f"tinygrad:{family.name.lower()}",
        kind,
        name=facts.get("name", ""),
        vendor=facts.get("vendor", "") or family.vendor,
        slow=kind == "cpu",  # a second of LLVM for each new kernel
        versions=versions,
        unavailable=f"{reason}; next: {family.start}" if reason else "",
    )


def told(error: BaseException) -> str:
    """An error in one line: tinygrad puts many attempts into one message."""
    lines: Sequence[str] = [line.strip(" |+-") for line in str(error).splitlines()]
    text = next((line for line in lines if line), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
