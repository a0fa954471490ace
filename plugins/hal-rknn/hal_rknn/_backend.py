"""The backend `rknn`: its devices, what they support, and how a model is compiled for one."""

from __future__ import annotations

import importlib.metadata
import mmap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_model

from hal.backend import Option, Support, UnsupportedNode
from hal.device import Device
from hal.errors import (
    ExecutionError,
    FallbackError,
    UnavailableError,
    UnfedError,
    UsageError,
    did_you_mean,
)
from hal.graph import ModelGraph, read_model
from hal.model import Model
from hal.placement import Placement
from hal.tensor import Tensor, Value
from hal.types import ElementType
from hal_rknn._boards import find_boards
from hal_rknn._layers import placed
from hal_rknn._toolkit import Session, open_session

__all__ = ["CHIPS", "RknnBackend", "RknnExecutable"]

CHIPS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562", "rv1126b", "rk2118")
"""The targets that compute in half precision; the others of the toolkit take quantized models
alone."""
_OPTIONS = ("optimization_level", "cpu_layers")
_SIMULATED = "-sim"


class RknnBackend:
    """The simulator of each chip, and the boards that adb reaches."""

    def devices(self) -> Sequence[Device]:
        """A simulator for each chip, and the boards."""
        return (
            *(_device(f"rknn:{chip}{_SIMULATED}", chip) for chip in CHIPS),
            *(_device(id_, id_.split(":")[1]) for id_ in _boards()),
        )

    def supports(self, device: Device, model: Model) -> Support:
        """Every node that the compiler leaves to the chip's CPU: the model is built to learn it.
        Raises the errors of `compile` that are about no node."""
        graph = read_model(model)
        session = _open(device, model, graph, {})
        try:
            placement = placed(graph, session.layers, device.id)
        finally:
            session.close()
        operators = {node.name: node.operator for node in graph.graph.nodes}
        return Support(
            tuple(
                UnsupportedNode(
                    node.node,
                    f"{operators[node.node]}-{graph.opset_import.get('', 0)}",
                    f"the compiler leaves it to the chip's {node.device}",
                )
                for node in placement.elsewhere(device.id)
            )
        )

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> RknnExecutable:
        """Build a model in half precision.

        Options: optimization_level (0 to 3, the toolkit's), and cpu_layers (true: what the NPU does
        not take may run on the chip's CPU). Raises UsageError for others, FallbackError where
        nodes would be left to the CPU.
        """
        for name in options:
            if name not in _OPTIONS:
                raise UsageError(
                    f"rknn has no option {name!r}.{did_you_mean(name, _OPTIONS)}",
                    next_step=f"use one of {', '.join(_OPTIONS)}",
                )
        allowed = options.get("cpu_layers", False)
        if not isinstance(allowed, bool):
            raise UsageError(f"option cpu_layers takes true or false, got {allowed!r}")
        level = options.get("optimization_level", 3)
        if isinstance(level, bool) or level not in (0, 1, 2, 3):
            raise UsageError(f"option optimization_level takes 0 to 3, got {level!r}")
        graph = read_model(model)
        session = _open(device, model, graph, {"optimization_level": level})
        placement = placed(graph, session.layers, device.id)
        if not allowed and placement.fell_back(device.id, accelerator=True):
            session.close()
            raise _refusal(device, placement)
        return RknnExecutable(session, graph, placement)


class RknnExecutable:
    """A model that was built for a chip, in its simulator or on a board."""

    def __init__(self, session: Session, graph: ModelGraph, placement: Placement) -> None:
        self._session = session
        self._placement = placement
        initializers = graph.graph.initializers
        self._inputs = [i.name for i in graph.graph.inputs if i.name not in initializers]
        self._outputs = [(o.name, o.type, o.shape) for o in graph.graph.outputs]

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once. Raises UnfedError for values that are no tensors of numbers, and for an
        optional input: the toolkit knows none."""
        arrays = []
        for name in self._inputs:
            value = inputs.get(name)
            if not isinstance(value, Tensor) or not _feedable(value.element_type):
                what = "left out" if value is None else f"a {value.type}"
                raise UnfedError(f"input {name!r}: rknn-toolkit2 takes no {what}")
            arrays.append(np.ascontiguousarray(value.numpy()).reshape(value.shape))
        outputs = self._session.run(arrays)
        if len(outputs) != len(self._outputs):
            raise ExecutionError(f"{len(outputs)} outputs for {len(self._outputs)}")
        return {
            name: _value(array, type_)
            for (name, type_, _), array in zip(self._outputs, outputs, strict=True)
        }

    def placement(self) -> Placement:
        """Where each node runs, by the compiler's table of layers."""
        return self._placement

    def close(self) -> None:
        self._session.close()


def _feedable(element_type: ElementType) -> bool:
    return element_type.is_native and element_type is not ElementType.STRING


def _value(array: Any, declared: str) -> Value:
    array = np.asarray(array)
    if declared == "tensor(float16)" and array.dtype == np.float32:
        array = array.astype(np.float16)  # it gives half precision as float32, without loss
    return Tensor.from_numpy(array)


def _open(device: Device, model: Model, graph: ModelGraph, config: dict[str, Any]) -> Session:
    chip = device.id.split(":")[1]
    if chip.endswith(_SIMULATED):
        return open_session(_inlined(model, graph), chip[: -len(_SIMULATED)], config=config)
    board = _boards().get(device.id)
    if board is None:
        raise UnavailableError(f"{device.id} is not attached any more", next_step="adb devices")
    return open_session(_inlined(model, graph), chip, board=board, config=config)


def _inlined(model: Model, graph: ModelGraph) -> bytes:
    """The model in one piece; `read_model` has checked where its external data lies."""
    tensors = graph.graph.initializers.values()
    if not any(isinstance(memoryview(tensor.data).obj, mmap.mmap) for tensor in tensors):
        return model.data
    proto = onnx.load_model_from_string(model.data)
    load_external_data_for_model(proto, str(model.folder))
    data: bytes = proto.SerializeToString()
    return data


def _boards() -> dict[str, str]:
    """adb's serial numbers of the boards, by device id."""
    found: dict[str, str] = {}
    for board in find_boards(CHIPS):
        id_ = f"rknn:{board.chip}"
        number = sum(known.split(":")[1] == board.chip for known in found)
        found[f"{id_}:{number}" if number else id_] = board.serial
    return found


def _device(id_: str, chip: str) -> Device:
    chip = chip.removesuffix(_SIMULATED)
    simulated = id_.endswith(_SIMULATED)
    return Device(
        id=id_,
        kind="npu",
        name=f"{chip.upper()} NPU" + (" simulator" if simulated else ""),
        vendor="Rockchip",
        emulated=simulated,
        slow=simulated,
        precision="float16",
        versions={"rknn-toolkit2": importlib.metadata.version("rknn-toolkit2")},
    )


def _refusal(device: Device, placement: Placement) -> FallbackError:
    elsewhere = placement.elsewhere(device.id)
    nodes = [node.node for node in elsewhere]
    if not nodes:
        return FallbackError(f"no node is left to run on {device.id}")
    named = ", ".join(map(repr, nodes[:3])) + (" ..." if len(nodes) > 3 else "")
    return FallbackError(
        f"the compiler leaves {named} to the chip's {elsewhere[0].device}",
        nodes=nodes,
        next_step="cpu_layers=true lets it",
    )
