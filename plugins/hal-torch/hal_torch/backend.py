"""x"""

from __future__ import annotations

from hal.kernels import KernelBackend
from hal_torch.arrays import TorchArrays
from hal_torch.devices import list_devices, torch_device
from hal_torch.kernels import TABLE
from hal_torch.shapes import SHAPES

__all__ = ["TorchBackend"]


class TorchBackend(KernelBackend):
    def __init__(self) -> None:
        super().__init__(
            list_devices,
            TABLE,
            lambda device, options: TorchArrays(torch_device(device)),
            host_table=SHAPES,
            host_device="host:cpu",
        )
