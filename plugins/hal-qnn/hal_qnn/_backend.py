"""The backend `qnn`: its devices, what they support, and how a model is compiled for one."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
import onnxruntime_qnn
from hal_onnxruntime.session import (
    FATAL,
    PROBE_MODEL,
    assignment,
    open_session,
    plugin_devices,
    refusal,
    session_options,
    support,
    tried,
)

from hal.backend import Option, Support
from hal.device import Device
from hal.errors import (
    ExecutionError,
    FallbackError,
    HalError,
    UnavailableError,
    UsageError,
    did_you_mean,
)
from hal.graph import read_model
from hal.model import Model
from hal_qnn import _compat
from hal_qnn._cache import ContextCache, key
from hal_qnn._executable import QnnExecutable
from hal_qnn._options import Settings, settings

__all__ = ["EMULATOR", "HALF", "HARDWARE", "PROVIDER", "QnnBackend"]

PROVIDER = "QNNExecutionProvider"
HARDWARE = "qnn:htp"
EMULATOR = "qnn:htp-emulator"
HALF = 2.0**-10
"""The relative error of one rounding to half precision and back, which on the way back to float32
adds a unit in the last place even to whole numbers."""


class QnnBackend:
    """The Hexagon NPU of this machine, and the emulator in onnxruntime-qnn's x86-64 wheel."""

    def devices(self) -> Sequence[Device]:
        """Each device, tried with one Add; one that does not start says why. Raises
        UnavailableError, with the reasons, if none does."""
        found = tuple(self._device(id_) for id_ in _known())
        if not found:
            raise UnavailableError(
                "onnxruntime-qnn finds no Hexagon NPU, and its emulator runs on x86-64 Linux alone",
                next_step="on a Snapdragon, see that its driver and firmware are installed",
            )
        if all(device.unavailable for device in found):
            reasons = "; ".join(device.unavailable for device in found)
            raise UnavailableError(reasons, next_step="hal doctor qnn")
        return found

    def supports(self, device: Device, model: Model) -> Support:
        """Every node that the provider would leave to the CPU. Raises the errors of `compile` that
        are about no node."""
        return self._support(_id(device), model, settings({}, emulated=_id(device) == EMULATOR))

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> QnnExecutable:
        """A session on the NPU, with nothing left to the CPU.

        Options: soc_model and htp_arch (numbers of the QNN SDK; the emulator is 60 and 73),
        precision (fp16, or bf16 from soc_model 88 on), performance (default, burst, balanced ...),
        context_cache (true: HAL's cache folder, or a folder), graph_optimization (all, extended,
        basic, disabled), and ep.KEY for the provider's own. Raises UsageError for others,
        FallbackError where nodes would be left to the CPU, OutputError for a cache folder that
        cannot be written.
        """
        id_ = _id(device)
        chosen = settings(options, emulated=id_ == EMULATOR)
        try:
            if chosen.cache is not None:
                return self._cached(id_, model, chosen, ContextCache(chosen.cache))
            session = self._open(id_, model, chosen)
        except FallbackError as error:
            raise self._refusal(id_, model, chosen, error) from error
        return QnnExecutable(session, model, PROVIDER, id_, assignment(session))

    def _cached(
        self, id_: str, model: Model, chosen: Settings, cache: ContextCache
    ) -> QnnExecutable:
        name = key(
            model,
            {"device": id_, **_versions(), **chosen.session, "provider": dict(chosen.provider)},
        )
        kept = cache.read(name)
        if kept is not None:
            try:
                session = self._open(id_, Model(kept.model), chosen)
            except HalError:
                pass  # written by another driver, or damaged: made again
            else:
                return QnnExecutable(session, model, PROVIDER, id_, kept.records)
        with cache.place() as path:
            context = {
                "ep.context_enable": "1",
                "ep.context_file_path": str(path),
                "ep.context_embed_mode": "1",
            }
            session = self._open(id_, model, chosen, context=context)
            records = assignment(session)
            cache.keep(name, path, records)
        return QnnExecutable(session, model, PROVIDER, id_, records)

    def _open(
        self,
        id_: str,
        model: Model,
        chosen: Settings,
        *,
        refuse_fallback: bool = True,
        quiet: bool = False,
        context: Mapping[str, str] | None = None,
    ) -> Any:
        options = session_options(chosen.session, model, refuse_fallback=refuse_fallback)
        if quiet:
            options.log_severity_level = FATAL
        for entry, value in (context or {}).items():
            options.add_session_config_entry(entry, value)
        weights = _compat.external_weights(model)
        if weights:
            options.add_external_initializers(list(weights), list(weights.values()))
        known = _known()
        if id_ not in known:
            raise UnavailableError(f"{id_} is not on this machine", next_step="hal devices")
        options.add_provider_for_devices([known[id_]], dict(chosen.provider))
        try:
            session = open_session(model.data, options, PROVIDER, None)
        except ExecutionError as error:
            # The provider's constructor: it has checked its options, and seen no model yet.
            _, refused, reason = str(error).rpartition("Error creating execution provider: ")
            if not refused:
                raise
            raise UsageError(
                f"{PROVIDER} refuses its options: {reason.rpartition(' : ')[2]}"
            ) from error
        session.hal_weights = weights  # onnxruntime reads them in place
        return session

    def _support(self, id_: str, model: Model, chosen: Settings) -> Support:
        return support(
            model,
            PROVIDER,
            lambda: self._open(id_, model, chosen, refuse_fallback=False, quiet=True),
        )

    def _refusal(
        self, id_: str, model: Model, chosen: Settings, error: FallbackError
    ) -> FallbackError | UsageError:
        """The refusal, with the nodes; or that the options do not fit, since a backend that does
        not start with them leaves every node to the CPU too."""
        if self._why_not(id_, chosen):
            given = ", ".join(f"{name}={value}" for name, value in chosen.provider.items())
            return UsageError(
                f"{id_} does not start with {given}",
                next_step="onnxruntime's log on standard error has the reason",
            )
        named = refusal(id_, error, lambda: self._support(id_, model, chosen))
        shapes = [value.shape for value in read_model(model).graph.inputs if value.shape]
        if any(not isinstance(size, int) for shape in shapes for size in shape):
            named.next_step = "fix the sizes of the model's inputs: the NPU takes no others"
        return named

    def _why_not(self, id_: str, chosen: Settings) -> str:
        try:
            session = self._open(id_, PROBE_MODEL, chosen, quiet=True)
            return tried(session, PROVIDER, id_, accelerator=True, rtol=HALF)
        except HalError as error:
            return f"{PROVIDER} does not start: {error}"

    def _device(self, id_: str) -> Device:
        emulated = id_ == EMULATOR
        return Device(
            id=id_,
            kind="npu",
            name="Hexagon HTP emulator" if emulated else "Hexagon HTP",
            vendor="Qualcomm",
            emulated=emulated,
            slow=emulated,
            precision="float16",
            versions=_versions(),
            unavailable=self._why_not(id_, settings({}, emulated=emulated)),
        )


def _known() -> dict[str, Any]:
    """onnxruntime's devices of the provider, by HAL's ids. Where there is no NPU the x86-64 library
    puts itself on the CPU, and means the emulator that it is linked with."""
    kinds = onnxruntime.OrtHardwareDeviceType
    by_kind = {
        known.device.type: known
        for known in plugin_devices(PROVIDER, onnxruntime_qnn.get_library_path())
    }
    found = {}
    if kinds.NPU in by_kind:
        found[HARDWARE] = by_kind[kinds.NPU]
    if kinds.CPU in by_kind and sys.platform == "linux" and platform.machine() == "x86_64":
        found[EMULATOR] = by_kind[kinds.CPU]
    return found


def _id(device: Device) -> str:
    id_ = device.id.rpartition("/")[2]
    if id_ not in (HARDWARE, EMULATOR):
        raise UsageError(
            f"qnn has no device {device.id!r}.{did_you_mean(id_, (HARDWARE, EMULATOR))}",
            next_step="hal devices",
        )
    return id_


def _versions() -> dict[str, str]:
    return {
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime-qnn": importlib.metadata.version("onnxruntime-qnn"),
    }
