"""What IREE's drivers find here. Each is asked in a process of its own, several at a time, so that
one that crashes or hangs harms nothing but its own row."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hal.device import Device, DeviceKind
from hal.probing import ask

__all__ = ["TARGETS", "Target", "flags_of", "list_devices", "target_of"]


@dataclasses.dataclass(frozen=True)
class Target:
    """A driver of IREE's runtime, the device that it is under HAL, and what the compiler is told.

    `chip_flag` is the compiler's flag that names the chip, and `chip` its value unless another is
    known. Where `listed` is true it is listed with the reason if it finds no device."""

    driver: str
    device: str
    kind: DeviceKind
    vendor: str
    backend: str
    chip_flag: str = ""
    chip: str = ""
    listed: bool = False


TARGETS = (
    Target(
        "local-task", "cpu", "cpu", "", "llvm-cpu", "--iree-llvmcpu-target-cpu", "host", listed=True
    ),
    Target("vulkan", "vulkan", "gpu", "", "vulkan-spirv", "--iree-vulkan-target", listed=True),
    Target("cuda", "cuda", "gpu", "NVIDIA", "cuda", "--iree-cuda-target"),
    Target("hip", "hip", "gpu", "AMD", "rocm", "--iree-rocm-target"),
    Target("metal", "metal", "gpu", "Apple", "metal-spirv"),
)
"""In the order of the listing."""

_SCRIPT = """
import json, sys
from iree.runtime import get_driver
driver = get_driver(sys.argv[1])
found = driver.query_available_devices()
for one in found:
    driver.create_device(one["device_id"])
print(json.dumps([{"path": one["path"], "name": one["name"]} for one in found]))
"""


def list_devices() -> tuple[Device, ...]:
    """The devices of every driver, and why the expected ones have none."""
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        answers = list(pool.map(_ask, TARGETS))
    found: list[Device] = []
    for target, (devices, reason) in zip(TARGETS, answers, strict=True):
        found += [_device(target, index, facts) for index, facts in enumerate(devices)]
        if not devices and target.listed:
            found.append(_device(target, 0, {}, reason or "its driver finds no device"))
    return tuple(found)


def target_of(device: Device) -> tuple[Target, int]:
    """The driver of a listed device, and which of its devices it is."""
    name, _, index = device.id.rpartition("/")[2].partition(":")[2].partition(":")
    return next(t for t in TARGETS if t.device == name), int(index or 0)


def flags_of(target: Target, device: Device, chip: str = "") -> tuple[str, ...]:
    """What the compiler is told to make a module for a device. `chip` is the user's word for it.

    IREE takes a Vulkan device that it is not told of for a phone's, with nothing but 32-bit types
    and subgroups of 64: where that is not so its answers are wrong (Not, ArgMax on lavapipe)."""
    if not chip:
        software = target.driver == "vulkan" and "llvmpipe" in device.name
        chip = "llvmpipe" if software else target.chip
    return (f"{target.chip_flag}={chip}",) if target.chip_flag and chip else ()


def _ask(target: Target) -> tuple[list[dict[str, Any]], str]:
    found, reason = ask([sys.executable, "-c", _SCRIPT, target.driver])
    return found or [], reason


def _device(target: Target, index: int, facts: dict[str, Any], reason: str = "") -> Device:
    name = str(facts.get("name", ""))
    # A software rasterizer (Mesa's lavapipe) is a Vulkan device, and computes on the CPU.
    software = "llvmpipe" in name or "SwiftShader" in name
    return Device(
        f"iree:{target.device}" + (f":{index}" if index else ""),
        "cpu" if software else target.kind,
        name="" if name == "default" else name,
        vendor=target.vendor,
        slow=True,
        versions={"iree": importlib.metadata.version("iree-base-runtime")},
        unavailable=reason,
    )
