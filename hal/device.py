"""Devices: what a backend lists, and the ids that name them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal, get_args

__all__ = ["Device", "DeviceKind", "backend_of"]

DeviceKind = Literal["cpu", "gpu", "npu", "tpu", "fpga", "dsp"]

_ID = re.compile(r"(?:[\w.-]+/)?[a-z][\w-]*:[\w-]+(?::\d+)?")  # [remote/]backend:name[:index]


@dataclasses.dataclass(frozen=True)
class Device:
    """One addressable piece of hardware under a backend.

    `id` is "<backend>:<name>[:<index>]", e.g. "ort:cpu" or "torch:cuda:0". `memory` is in bytes, 0
    when the backend cannot tell. `emulated` marks a software model of the hardware: its results
    count, its times are no hardware speed. `slow` devices are left out unless asked for.
    `unavailable` is "" for a usable device; else it is listed only to say why it cannot be used
    and what to do next, and the core compiles nothing for it. Raises ValueError for a
    malformed id or an unknown kind.
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

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"device id {self.id!r} is not <backend>:<name>[:<index>]")
        if self.kind not in get_args(DeviceKind):
            raise ValueError(f"{self.id}: kind {self.kind!r} is none of {get_args(DeviceKind)}")

    @property
    def backend(self) -> str:
        """The name of the backend that owns the device."""
        return backend_of(self.id)


def backend_of(device_id: str) -> str:
    """The backend's name in a device id; the text before the colon if it is no full id."""
    return device_id.rpartition("/")[2].partition(":")[0]
