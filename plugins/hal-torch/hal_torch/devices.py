"""x"""
from __future__ import annotations

import torch

from hal.device import Device

__all__ = ["list_devices", "torch_device"]


def list_devices() -> tuple[Device, ...]:
    return (Device("torch:cpu", "cpu", versions={"torch": torch.__version__}),)


def torch_device(device: Device) -> torch.device:
    return torch.device(device.id.partition(":")[2])
