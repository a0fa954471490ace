"""The table of ONNX Runtime's execution providers, and the devices that they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hal.device import DeviceKind

__all__ = ["CPU", "NO_DEVICE", "PROVIDERS", "Provider", "of_name", "of_provider"]


@dataclasses.dataclass(frozen=True)
class Provider:
    """One row: the execution provider, and the device that it is as "ort:<device>".

    `options` are its options unless the user says otherwise; they ask for float32 arithmetic where
    its own default is less. `index_option` is the option that picks one of several devices, ""
    where there is one. `extra` rows are other hardware of the same provider: listed where they
    start, and not even named where they do not.
    """

    provider: str
    device: str
    kind: DeviceKind
    vendor: str = ""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    index_option: str = ""
    extra: bool = False


CPU = Provider("CPUExecutionProvider", "cpu", "cpu")

_OPENVINO = "OpenVINOExecutionProvider"

PROVIDERS: tuple[Provider, ...] = (
    CPU,
    # use_tf32: CUDA's matrix products round float32 to 10 bits of mantissa by default.
    Provider("CUDAExecutionProvider", "cuda", "gpu", "NVIDIA", {"use_tf32": "0"}, "device_id"),
    Provider("TensorrtExecutionProvider", "tensorrt", "gpu", "NVIDIA", {}, "device_id"),
    Provider("NvTensorRTRTXExecutionProvider", "tensorrt-rtx", "gpu", "NVIDIA", {}, "device_id"),
    Provider("MIGraphXExecutionProvider", "migraphx", "gpu", "AMD", {}, "device_id"),
    Provider("ROCMExecutionProvider", "rocm", "gpu", "AMD", {}, "device_id"),
    Provider("DmlExecutionProvider", "dml", "gpu", "", {}, "device_id"),
    Provider("WebGpuExecutionProvider", "webgpu", "gpu"),
    Provider(_OPENVINO, "openvino", "cpu", "Intel", {"device_type": "CPU"}),
    Provider(_OPENVINO, "openvino-gpu", "gpu", "Intel", {"device_type": "GPU"}, extra=True),
    Provider(_OPENVINO, "openvino-npu", "npu", "Intel", {"device_type": "NPU"}, extra=True),
    Provider("DnnlExecutionProvider", "dnnl", "cpu", "Intel"),
    Provider("XnnpackExecutionProvider", "xnnpack", "cpu"),
    Provider("ACLExecutionProvider", "acl", "cpu", "Arm"),
    Provider("CoreMLExecutionProvider", "coreml", "npu", "Apple"),
    Provider("CANNExecutionProvider", "cann", "npu", "Huawei", {}, "device_id"),
    Provider("QNNExecutionProvider", "qnn", "npu", "Qualcomm", {"backend_type": "htp"}),
    Provider("SNPEExecutionProvider", "snpe", "npu", "Qualcomm"),
    Provider("VitisAIExecutionProvider", "vitisai", "npu", "AMD"),
    Provider("NnapiExecutionProvider", "nnapi", "npu"),
    Provider("VSINPUExecutionProvider", "vsinpu", "npu", "VeriSilicon"),
    Provider("RknpuExecutionProvider", "rknpu", "npu", "Rockchip"),
)
"""In the order in which they are listed."""

NO_DEVICE: Mapping[str, str] = {
    "AzureExecutionProvider": "it calls a service over the network",
    "JsExecutionProvider": "it runs in a browser",
    "WebNNExecutionProvider": "it runs in a browser",
}
"""Providers that are no hardware of this machine, and why."""


def of_provider(provider: str) -> tuple[Provider, ...]:
    """The rows of an execution provider; one made up from its name if the table has none."""
    rows = tuple(row for row in PROVIDERS if row.provider == provider)
    name = provider.removesuffix("ExecutionProvider").lower()
    return rows or (Provider(provider, name, "npu"),)


def of_name(device: str, available: tuple[str, ...]) -> Provider | None:
    """The row of a device name such as "cuda", among the `available` providers and the table."""
    rows = [row for name in available for row in of_provider(name)] + list(PROVIDERS)
    return next((row for row in rows if row.device == device), None)
