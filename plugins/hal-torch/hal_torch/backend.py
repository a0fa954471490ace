"""The backend: HAL's kernel backend over torch tensors, with PyTorch's options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hal.backend import Option
from hal.device import Device
from hal.errors import UnavailableError
from hal.kernels import KernelBackend, KernelExecutable, PrecisionPolicy
from hal.kernels.rewriting import Block, Constants
from hal.model import Model
from hal_torch.arrays import TorchArrays
from hal_torch.devices import list_devices, torch_device
from hal_torch.fusion import fuse
from hal_torch.kernels import TABLE
from hal_torch.options import TorchOptions
from hal_torch.precision import policy
from hal_torch.runner import guarded
from hal_torch.shapes import SHAPES

__all__ = ["TorchBackend"]


class TorchBackend(KernelBackend):
    """See `hal.kernels.KernelBackend`; `hal_torch.options` has what `compile` takes."""

    def __init__(self) -> None:
        super().__init__(
            list_devices,
            TABLE,
            lambda device, options: TorchArrays(torch_device(device)),
            host_table=SHAPES,
            host_device="torch:cpu",
            options=[field.name for field in dataclasses.fields(TorchOptions)],
        )

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> KernelExecutable:
        """See `hal.kernels.KernelBackend.compile`. Raises UnavailableError for a device that
        cannot be used, UsageError for an option that does not exist."""
        if device.unavailable:
            reason, _, next_step = device.unavailable.partition("; next: ")
            raise UnavailableError(f"{device.id}: {reason}", next_step=next_step)
        TorchOptions.parse(device, options)
        return super().compile(device, model, options)

    def precision(self, device: Device, options: Mapping[str, Option]) -> PrecisionPolicy | None:
        """The rules of the option `precision`."""
        return policy(TorchOptions.parse(device, options).precision)

    def rewrite(
        self, block: Block, constants: Constants, device: Device, options: Mapping[str, Option]
    ) -> None:
        """Products and convolutions on the CPU become oneDNN's own calls."""
        own = TorchOptions.parse(device, options)
        if device.id == "torch:cpu":
            images = own.channels_last is not False
            fuse(block, constants, traced=own.mode == "compile", images=images)

    def finish(
        self,
        function: Callable[[list[Any]], tuple[Any, ...]],
        device: Device,
        options: Mapping[str, Option],
    ) -> Callable[[list[Any]], tuple[Any, ...]]:
        """The program with the guards of a run."""
        own = TorchOptions.parse(device, options)
        if own.mode == "compile":
            from hal_torch.inductor import CompiledProgram

            function = CompiledProgram(function)
        return guarded(function, device, own)
