"""Devices: what a backend lists, and the ids that name them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal, get_args

__all__ = ["Device", "DeviceKind", "Precision", "backend_of"]

DeviceKind = Literal["cpu", "gpu", "npu", "tpu", "fpga", "dsp"]
Precision = Literal["", "float16", "bfloat16"]

_ID = re.compile(r"(?:[\w.-]+/)?[a-z][\w-]*:[\w-]+(?::\d+)?")  # [remote/]backend:name[:index]


@dataclasses.dataclass(frozen=True)
class Device:
    """One addressable piece of hardware under a backend.

    `id` is "<backend>:<name>[:<index>]", e.g. "ort:cpu" or "torch:cuda:0". `memory` is in bytes, 0
    when the backend cannot tell. `emulated` marks a software model of the hardware: its results
    count, its times are no hardware speed. `slow` devices are left out unless asked for.
    `unavailable` is "" for a usable device; else it is listed only to say why it cannot be used
    and what to do next, and the core compiles nothing for it. `precision` names the type in which
    the device computes what a model states in float32, if that is another: its results are then
    judged by that type's tolerance, and every report says so. Raises ValueError for a malformed
    id, an unknown kind or an unknown precision.
    """

    id: str
    kind: DeviceKind
    name: str = ""
    vendor: str = ""
    memory: int = 0
    emulated: bool = False
    slow: bool = False
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unavailable: str = ""
    precision: Precision = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"device id {self.id!r} is not <backend>:<name>[:<index>]")
        if self.kind not in get_args(DeviceKind):
            raise ValueError(f"{self.id}: kind {self.kind!r} is none of {get_args(DeviceKind)}")
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"{self.id}: precision {self.precision!r} is none of {get_args(Precision)}"
            )

    @property
    def remote(self) -> str:
        """The name of the machine that it is on (`hal remote`), "" for this one."""
        return self.id.partition(":")[0].rpartition("/")[0]

    @property
    def marks(self) -> tuple[str, ...]:
        """What stands behind the device's id wherever results are shown: "emulated", and the
        precision if it is not float32."""
        return tuple(filter(None, ("emulated" if self.emulated else "", self.precision)))

    @property
    def backend(self) -> str:
        """The name of the backend that owns the device."""
        return backend_of(self.id)


def backend_of(device_id: str) -> str:
    """The backend's name in a device id, "board/ort" for one behind a remote; the text before the
    colon if it is no full id."""
    return device_id.partition(":")[0]
