"""The backend `ort`: its devices, what they support, and how a model is compiled for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnxruntime

from hal.backend import Option, Support
from hal.device import Device
from hal.errors import (
    FallbackError,
    UnavailableError,
    UsageError,
    did_you_mean,
)
from hal.graph import check_external
from hal.model import Model
from hal_onnxruntime._options import provider_options, session_options
from hal_onnxruntime._plugins import own_providers
from hal_onnxruntime._providers import CPU, PROVIDERS, Provider, of_name
from hal_onnxruntime._session import OrtExecutable, open_session
from hal_onnxruntime._start import device_id, found_devices
from hal_onnxruntime._support import refusal, support

__all__ = ["OrtBackend"]


class OrtBackend:
    """Every execution provider of the installed onnxruntime as a device."""

    def devices(self) -> Sequence[Device]:
        """Each provider, tried with a one-node model; one that does not start says why."""
        devices = tuple(found_devices())
        if all(device.unavailable for device in devices):
            reasons = "; ".join(device.unavailable for device in devices)
            raise UnavailableError(
                reasons or "onnxruntime offers no provider", next_step="hal doctor ort"
            )
        return devices

    def supports(self, device: Device, model: Model) -> Support:
        """What the runtime says when it assigns the nodes: on a device that is not the CPU every
        node that it would leave to the CPU; of the operators without a kernel the first alone,
        because it stops there. Raises the errors of `compile` that are about no node."""
        row, index = _row(device)
        options = session_options({}, model, refuse_fallback=False)
        chosen = _chosen(row, index, {})
        return support(
            model,
            row.provider,
            lambda: open_session(model.data, options, row.provider, chosen),
        )

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> OrtExecutable:
        """A session on the device's provider, with nothing left to the CPU's on any other device.

        Options: intra_op_threads, inter_op_threads (counts, 0: onnxruntime's choice),
        graph_optimization (all, extended, basic, disabled), execution_mode (sequential, parallel),
        and ep.KEY for the provider's own. Raises UsageError for others, FallbackError where the
        provider would leave nodes to the CPU.
        """
        row, index = _row(device)
        check_external(model)  # of external data outside the folder 1.23 would read all
        made = session_options(options, model, refuse_fallback=row is not CPU)
        given = provider_options(options)
        if given and row is CPU:
            raise UsageError(f"{CPU.provider} has no options of its own, got {', '.join(given)}")
        chosen = _chosen(row, index, given)
        try:
            session = open_session(model.data, made, row.provider, chosen)
        except FallbackError as error:
            raise refusal(device.id, error, lambda: self.supports(device, model)) from error
        known = {CPU.provider: device_id(CPU, 0), row.provider: device.id}
        return OrtExecutable(session, model, device.id, known)


def _row(device: Device) -> tuple[Provider, int]:
    name, _, index = device.id.rpartition("/")[2].partition(":")[2].partition(":")
    available = own_providers()
    row = of_name(name, available)
    if row is None:
        known = [f"ort:{known.device}" for known in PROVIDERS if known.provider in available]
        raise UsageError(
            f"ort has no device {device.id!r}.{did_you_mean(device.id, known)}",
            next_step="hal devices",
        )
    if row.provider not in available:
        raise UnavailableError(
            f"{device.id}: this onnxruntime {onnxruntime.__version__} has no {row.provider}",
            next_step="install the onnxruntime wheel that has it",
        )
    return row, int(index or 0)


def _chosen(row: Provider, index: int, given: Mapping[str, str]) -> dict[str, str]:
    indexed = {row.index_option: str(index)} if row.index_option else {}
    return {**row.options, **indexed, **given}
