"""Whether an execution provider really starts, tried with a model of one node."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hal.device import Device
from hal.errors import FallbackError, HalError, UnavailableError
from hal.model import Model
from hal.tensor import Tensor
from hal_onnxruntime import _compat
from hal_onnxruntime._options import ERRORS, FATAL, session_options
from hal_onnxruntime._plugins import own_providers
from hal_onnxruntime._providers import CPU, PROVIDERS, Provider, of_provider
from hal_onnxruntime._session import OrtExecutable, open_session

__all__ = ["FATAL", "PROBE_MODEL", "device_id", "found_devices", "tried", "why_not"]

PROBE_MODEL = Model(
    bytes.fromhex(
        "08083a460a130a01780a01781201791a036164642203416464120570726f62655a130a0178120e0a0c080112080a"
        "0208010a02080862130a0179120e0a0c080112080a0208010a02080842040a00100d"
    )
)
"""y = Add(x, x) over float32 [1, 8], opset 13, IR 8; a test reads it with onnx."""

MOST_DEVICES = 16
"""At most this many devices of one provider are tried."""


def found_devices() -> Iterator[Device]:
    """A device for every execution provider of this onnxruntime, in the order of the table; those
    that do not start are marked as unavailable, with the reason."""
    rows = [row for provider in own_providers() for row in of_provider(provider)]
    order = {row.device: place for place, row in enumerate(PROVIDERS)}
    onnxruntime.set_default_logger_severity(FATAL)  # what fails here is told as a reason
    try:
        for row in sorted(rows, key=lambda r: order.get(r.device, len(order))):
            yield from _devices(row)
    finally:
        onnxruntime.set_default_logger_severity(ERRORS)


def _devices(row: Provider) -> Iterator[Device]:
    for index in range(MOST_DEVICES if row.index_option else 1):
        reason = why_not(row, index)
        if reason and (index or row.extra):
            return
        yield _device(row, index, reason)
        if reason:
            return


def device_id(row: Provider, index: int) -> str:
    """ "ort:cuda" for the first device of a provider, "ort:cuda:1" for the second."""
    return f"ort:{row.device}:{index}" if index else f"ort:{row.device}"


def why_not(row: Provider, index: int) -> str:
    """Why a provider does not run one Add on its device number `index`; "" if it does."""
    options = session_options({}, PROBE_MODEL, refuse_fallback=row is not CPU)
    chosen = {**row.options, **({row.index_option: str(index)} if row.index_option else {})}
    id_ = device_id(row, index)
    try:
        session = open_session(PROBE_MODEL.data, options, row.provider, chosen)
        return tried(session, row.provider, id_, accelerator=row is not CPU)
    except HalError as error:
        capi = Path(onnxruntime.__file__).parent / "capi"
        reason = _compat.library_error(capi, row.provider)
        if not reason:
            dropped = isinstance(error, (FallbackError, UnavailableError))
            reason = "onnxruntime drops it without an exception" if dropped else str(error)
        return f"{row.provider} does not start: {reason}"


def tried(session: Any, provider: str, device: str, *, accelerator: bool, rtol: float = 0.0) -> str:
    """What is wrong with a session of PROBE_MODEL; "" if it adds right, and on the device.

    The sums are small whole numbers; `rtol` is the relative error that they may have. Raises the
    HAL error of a run that fails.
    """
    executable = OrtExecutable(session, PROBE_MODEL, device, {provider: device})
    given = np.arange(8, dtype=np.float32).reshape(1, 8)
    result = executable.run({"x": Tensor.from_numpy(given)})["y"]
    if not isinstance(result, Tensor) or not np.allclose(
        result.numpy(), given + given, rtol=rtol, atol=0.0
    ):
        return f"{provider} starts, but adds wrongly"
    if executable.placement().fell_back(device, accelerator=accelerator):
        return f"{provider} starts, but leaves an Add to another provider"
    return ""


def _device(row: Provider, index: int, unavailable: str) -> Device:
    name = _processor() if row is CPU else row.provider.removesuffix("ExecutionProvider")
    return Device(
        id=device_id(row, index),
        kind=row.kind,
        name=f"{name} {index}" if index else name,
        vendor=row.vendor or (_vendor() if row.kind == "cpu" else ""),
        versions=_versions(row),
        unavailable=unavailable,
    )


def _versions(row: Provider) -> Mapping[str, str]:
    versions = {"onnxruntime": onnxruntime.__version__}
    for known in onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else ():
        if known.ep_name == row.provider and row is not CPU:
            versions[row.provider] = known.ep_metadata.get("version", "")
    return versions


def _vendor() -> str:
    known = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else ()
    return next((d.device.vendor for d in known if d.ep_name == CPU.provider), "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine()
