"""Opens one of tinygrad's devices and prints what it says of itself, as JSON on the last line; ends
with 3 and the reason if it does not start. `_devices` runs it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import Any

from hal_tinygrad._compat import Device, Tensor
from hal_tinygrad._devices import told

__all__ = ["describe", "main"]


def describe(name: str) -> dict[str, str]:
    """What is known of a device that starts and adds two numbers right."""
    device = Device[name]
    if (Tensor([1.0, 2.0], device=name) + 1).tolist() != [2.0, 3.0]:
        raise RuntimeError("it adds wrongly")
    facts = {"tinygrad": importlib.metadata.version("tinygrad"), "name": _text(device, "arch")}
    return {**facts, **(_opencl(device) if name == "CL" else {})}


def main(arguments: list[str]) -> int:
    """The exit code for one device."""
    try:
        facts = describe(arguments[0])
    except Exception as error:  # noqa: BLE001 (a driver may raise anything as it starts)
        print(told(error))
        return 3
    print(json.dumps(facts))
    return 0


def _opencl(device: Any) -> dict[str, str]:
    """Name, vendor, driver and kind as OpenCL tells them."""
    import ctypes

    from tinygrad.runtime.autogen import opencl as cl

    def text(what: int) -> str:
        size = ctypes.c_size_t()
        cl.clGetDeviceInfo(device.cl_dev, what, 0, None, size)
        held = ctypes.create_string_buffer(size.value or 1)
        cl.clGetDeviceInfo(device.cl_dev, what, size.value, held, None)
        return held.value.decode(errors="replace").strip()

    kind = ctypes.c_uint64()
    cl.clGetDeviceInfo(device.cl_dev, cl.CL_DEVICE_TYPE, 8, ctypes.byref(kind), None)
    return {
        "name": text(cl.CL_DEVICE_NAME),
        "vendor": text(cl.CL_DEVICE_VENDOR),
        "driver": text(cl.CL_DRIVER_VERSION),
        "kind": "cpu" if kind.value & cl.CL_DEVICE_TYPE_CPU else "gpu",
    }


def _text(device: Any, name: str) -> str:
    found = getattr(device, name, "")
    return found if isinstance(found, str) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
