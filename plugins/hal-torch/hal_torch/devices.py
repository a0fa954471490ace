"""What PyTorch reaches here: its own devices, and the out-of-tree ones whose module is installed.

`FAMILIES` is the table. A vendor's module is imported only if it is installed, and one that fails
is listed as unavailable with what it said, beside the devices that work.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from hal.device import Device, DeviceKind

__all__ = ["FAMILIES", "Family", "cuda_vendor", "list_devices", "torch_device"]


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of device that PyTorch knows by name."""

    name: str
    """The type in `torch.device(type)`, and in the device's id."""
    kind: DeviceKind
    vendor: str
    module: str = ""
    """The module that brings it; "" for what torch itself brings."""
    start: str = ""
    """What to do when it is installed and finds no device."""


FAMILIES = (
    Family("cuda", "gpu", "", start="check the driver with nvidia-smi or rocm-smi"),
    Family("xpu", "gpu", "Intel", start="check the driver with sycl-ls"),
    Family("mps", "gpu", "Apple", start="needs macOS 12.3 or later on Apple silicon"),
    Family("npu", "npu", "Huawei", "torch_npu", "source the set_env.sh of the CANN toolkit"),
    Family("mlu", "npu", "Cambricon", "torch_mlu", "check the driver with cnmon"),
    Family("musa", "gpu", "Moore Threads", "torch_musa", "check the driver with mthreads-gmi"),
    Family("gcu", "npu", "Enflame", "torch_gcu", "check the driver with efsmi"),
    Family("hpu", "npu", "Intel", "habana_frameworks.torch.core", "check the driver with hl-smi"),
    Family("xla", "tpu", "", "torch_xla", "set PJRT_DEVICE to TPU, CUDA or CPU"),
)
"""Every device type but the CPU, in the order of the listing. A device of another name on the
PrivateUse1 key is listed under that name."""

_VENDORS = (
    ("Hygon", r"hygon|\bDCU\b|\bK100|\bZ100|\bBW\d"),
    ("AMD", r"\bAMD\b|radeon|instinct"),
)
"""Vendors of what calls itself cuda, by the device's name."""


def torch_device(device: Device) -> torch.device:
    """The torch.device of a listed one: "torch:cuda:0" is torch.device("cuda:0")."""
    _load_out_of_tree()  # which gives the types their names
    return torch.device(device.id.partition(":")[2])


def cuda_vendor(name: str, *, hip: bool) -> str:
    """Who made what calls itself cuda, by the device's name; `hip` says that torch is built for
    ROCm, which AMD's and Hygon's devices share."""
    for vendor, words in _VENDORS:
        if hip and re.search(words, name, re.IGNORECASE):
            return vendor
    return "AMD" if hip else "NVIDIA"


def list_devices() -> tuple[Device, ...]:
    """The CPU, then every device of every family that is built in or installed."""
    found = [_cpu()]
    failures = _load_out_of_tree()
    named = torch._C._get_privateuse1_backend_name()
    for family in FAMILIES:
        if family.name in failures:
            found.append(_unavailable(family, failures[family.name]))
        elif not family.module or family.name == named or _installed(family.module):
            found.extend(_devices(family))
    known = {family.name for family in FAMILIES}
    if named not in known and named != "privateuseone":
        found.extend(_devices(Family(named, "npu", "")))
    for name in failures.keys() - known:
        found.append(_unavailable(Family(name, "npu", ""), failures[name]))
    return tuple(found)


def _cpu() -> Device:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = match[1].strip() if match else platform.processor()
    vendor = next((v for v in ("Intel", "AMD", "Apple") if v.lower() in name.lower()), "")
    memory = 0
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Device(
        "torch:cpu", "cpu", name=name, vendor=vendor, memory=memory, versions=_versions("cpu")
    )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def _load_out_of_tree() -> dict[str, str]:
    """Import every installed out-of-tree module once; gives why, by device name, for those that
    failed. They are found by the table, and by the entry points that torch would load itself."""
    failures: dict[str, str] = {}
    for family in FAMILIES:
        if family.module and _installed(family.module):
            failures |= _attempt(family.name, family.module, importlib.import_module)
    modules = {family.module.partition(".")[0] for family in FAMILIES if family.module}
    for entry in importlib.metadata.entry_points(group="torch.backends"):
        if entry.value.partition(":")[0].partition(".")[0] not in modules:
            failures |= _attempt(entry.name, entry, lambda e: e.load()())
    return failures


def _attempt(name: str, item: Any, load: Callable[[Any], Any]) -> dict[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(item)
    except Exception as error:  # noqa: BLE001 (a vendor's module may raise anything as it starts)
        return {name: f"{type(error).__name__}: {error}".partition("\n")[0]}
    return {}


def _devices(family: Family) -> Iterator[Device]:
    """The devices of a family whose module is loaded; none if torch is built without it."""
    runtime = _runtime(family.name)
    if runtime is None or (not family.module and not _built(family.name)):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a driver too old is told by a warning, and by us
            count = _count(family.name, runtime)
            found = [_device(family, runtime, index) for index in range(count)]
    except Exception as error:  # noqa: BLE001 (a driver may raise anything as it starts)
        yield _unavailable(family, f"{type(error).__name__}: {error}".partition("\n")[0])
        return
    if found:
        yield from found
    else:
        yield _unavailable(family, _why_none(family))


def _runtime(name: str) -> Any:
    """The module that torch has for a device type (torch.cuda, torch.npu); None if it has none."""
    if name == "xla":
        return importlib.import_module("torch_xla.runtime") if _installed("torch_xla") else None
    return getattr(torch, name, None)


def _built(name: str) -> bool:
    if name == "cuda":
        return torch.version.cuda is not None or torch.version.hip is not None
    if name == "mps":
        return bool(torch.backends.mps.is_built())
    return name != "xpu" or bool(getattr(torch.xpu, "_is_compiled", lambda: False)())


def _count(name: str, runtime: Any) -> int:
    if name == "xla":
        return int(runtime.addressable_device_count())
    return int(runtime.device_count()) if runtime.is_available() else 0


def _why_none(family: Family) -> str:
    if family.name == "cuda":
        try:
            torch._C._cuda_init()
        except RuntimeError as error:
            return str(error).partition("\n")[0]
    return "no device found"


def _device(family: Family, runtime: Any, index: int) -> Device:
    known = functools.partial(_known, runtime, index)
    name = known("get_device_name") or ""
    properties = known("get_device_properties")
    memory = getattr(properties, "total_memory", 0) or 0
    if not memory and family.name == "mps":
        memory = runtime.recommended_max_memory()
    vendor = family.vendor
    if family.name == "cuda":
        vendor = cuda_vendor(name, hip=bool(torch.version.hip))
    ident = f"torch:{family.name}" if family.name == "mps" else f"torch:{family.name}:{index}"
    return Device(
        ident,
        family.kind,
        name=name,
        vendor=vendor,
        memory=int(memory),
        versions=_versions(family.name, family.module),
    )


def _known(runtime: Any, index: int, function: str) -> Any:
    """What a device module tells of a device; None where it does not."""
    try:
        return getattr(runtime, function)(index)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return None


def _unavailable(family: Family, reason: str) -> Device:
    next_step = f"; next: {family.start}" if family.start else ""
    return Device(
        f"torch:{family.name}",
        family.kind,
        vendor=family.vendor,
        versions=_versions(family.name, family.module),
        unavailable=f"{reason}{next_step}",
    )


def _versions(name: str, module: str = "") -> dict[str, str]:
    versions = {"torch": str(torch.__version__)}
    if name == "cuda" and torch.version.hip:
        versions["hip"] = str(torch.version.hip)
    elif name == "cuda" and torch.version.cuda:
        versions["cuda"] = str(torch.version.cuda)
        driver = _nvidia_driver()
        if driver:
            versions["driver"] = driver
    if module:
        package = module.partition(".")[0]
        owners = importlib.metadata.packages_distributions().get(package, ())
        for distribution in owners:
            versions[distribution] = importlib.metadata.version(distribution)
    return versions


def _nvidia_driver() -> str:
    """The version of NVIDIA's kernel module on Linux; "" where it does not say."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"Kernel Module\D*?\s(\d+(?:\.\d+)+)", text)
    return match[1] if match else ""
