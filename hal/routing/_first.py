"""A first choice among the ready devices, by what is known of their engines."""

from __future__ import annotations

from hal.errors import HalError, UnavailableError, UnsupportedError
from hal.model import Model
from hal.plugins import Registry, State
from hal.routing._candidate import Candidate

__all__ = ["first_candidate"]

_ORDER = {"gpu": 0, "npu": 1, "tpu": 1, "cpu": 2, "dsp": 3, "fpga": 3}


def first_candidate(registry: Registry, model: Model) -> Candidate:
    """The first ready device that takes the whole model: accelerators before the CPU, emulated and
    slow devices never. Raises UnavailableError when nothing is ready, UnsupportedError with what
    each device lacks when none takes it."""
    statuses = registry.probe(keep=True)
    devices = [
        device
        for status in statuses.values()
        if status.state is State.READY
        for device in status.devices
        if not (device.unavailable or device.emulated or device.slow)
    ]
    if not devices:
        raise UnavailableError("no device is ready", next_step="hal devices")
    lacking = []
    for device in sorted(devices, key=lambda d: _ORDER[d.kind]):
        with registry.host(device.backend) as host:
            try:
                support = host.supports(device, model)
            except HalError as error:
                lacking.append(f"{device.id}: {error}")
                continue
        if support.supported:
            return Candidate(device)
        lacking.append(f"{device.id}: {support.unsupported[0].reason}")
    raise UnsupportedError("no ready device takes the whole model: " + "; ".join(lacking))
