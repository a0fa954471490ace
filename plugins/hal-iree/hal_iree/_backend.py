"""The backend `iree`: a model compiled for a device, and run by IREE's virtual machine."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import iree.runtime as rt

from hal.arrays import bound_values
from hal.backend import Option, Support
from hal.device import Device
from hal.errors import UnavailableError, UnsupportedError, UsageError, did_you_mean
from hal.graph import Graph, Node, Signature, read_model
from hal.model import Model
from hal.placement import Evidence, Placement
from hal.tensor import Value
from hal_iree._compiler import compiled, imported
from hal_iree._devices import flags_of, list_devices, target_of
from hal_iree._values import OnDevice, given, taken

__all__ = ["IreeBackend", "IreeExecutable"]

_OPTIONS = ("cache", "target")


class IreeBackend:
    """The devices of IREE's drivers."""

    def devices(self) -> Sequence[Device]:
        """The devices that can be opened. Raises UnavailableError when there is none."""
        found = list_devices()
        if all(device.unavailable for device in found):
            reasons = "; ".join(f"{d.id}: {d.unavailable}" for d in found)
            raise UnavailableError(f"IREE finds no device here: {reasons}")
        return found

    def supports(self, device: Device, model: Model) -> Support:
        """All nodes: only compiling tells which ones IREE does not lower, and it takes seconds."""
        read_model(model)
        return Support()

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> IreeExecutable:
        """A module for the device. Options: cache (true: keep compiled modules in HAL's cache
        folder), target (what the compiler calls the chip). Raises UnsupportedError, ExecutionError
        or CrashError as the compiler ends."""
        for name in options:
            if name not in _OPTIONS:
                raise UsageError(
                    f"iree has no option {name!r}.{did_you_mean(name, _OPTIONS)}",
                    next_step="the options are cache and target",
                )
        cache = options.get("cache", True)
        if not isinstance(cache, bool):
            raise UsageError(f"option cache is true or false, got {cache!r}")
        target, index = target_of(device)
        chip = options.get("target", "")
        if not isinstance(chip, str) or (chip and not target.chip_flag):
            raise UsageError(f"option target names a chip, and {device.id} takes no {chip!r}")
        graph = read_model(model).graph
        strange = [o.name for o in graph.outputs if not o.type.startswith("tensor(")]
        if strange:
            raise UnsupportedError(f"IREE gives tensors alone, and {strange[0]!r} is none")
        flags = flags_of(target, device, chip)
        module = compiled(imported(model), target.backend, flags, cache=cache)
        return IreeExecutable(device, graph, module, target.driver, index)


@functools.cache
def _opened(driver: str, index: int) -> Any:
    """A driver's device, opened once: each of Vulkan's brings threads that stay and poll, and every
    model on a device of its own made the next one slower."""
    made = rt.get_driver(driver)
    ids = [d["device_id"] for d in made.query_available_devices()]
    if index >= len(ids):
        raise UnavailableError(
            f"device {index} of IREE's driver {driver} is gone", next_step="hal devices"
        )
    return made.create_device(ids[index])


class IreeExecutable:
    """A compiled model on one device. One thread at a time."""

    def __init__(self, device: Device, graph: Graph, data: bytes, driver: str, index: int) -> None:
        self._hal = _opened(driver, index)
        self._context = rt.SystemContext(config=rt.Config(device=self._hal))
        module = rt.VmModule.copy_buffer(self._context.instance, data)
        self._context.add_vm_module(module)
        name = next(n for n in module.function_names if "$" not in n and not n.startswith("__"))
        self._function: Any = self._context.modules[module.name][name]
        self._device, self._graph = device, graph
        self._nodes = [node.name for node in _all_nodes(graph)]
        self._inputs = [i.name for i in graph.inputs if i.name not in graph.initializers]

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once."""
        feeds = [given(n, inputs[n], self._hal) for n in self._inputs if n in inputs]
        results = self._function(*feeds)
        results = results if isinstance(results, (list, tuple)) else [results]
        outputs = self._graph.outputs
        return {
            o.name: taken(o.name, result, o.type, self._hal)
            for o, result in zip(outputs, results, strict=True)
        }

    def bind(self, inputs: Mapping[str, Any]) -> BoundFunction:
        """See `hal.BindableExecutable`; inputs are copied to the device, once."""
        values = bound_values(Signature.of(self._graph), inputs)
        feeds = [given(n, values[n], self._hal) for n in self._inputs if n in values]
        types = {output.name: output.type for output in self._graph.outputs}
        return BoundFunction(self._function, feeds, types, self._hal)

    def placement(self) -> Placement:
        """The module holds code for this device alone."""
        return Placement.everywhere(self._nodes, self._device.id, Evidence.SOLE)

    def close(self) -> None:
        """Let go of the module and its weights."""
        self._function = self._context = None  # not run again


class BoundFunction:
    """See `hal.backend.BoundExecutable`."""

    def __init__(
        self, function: Any, feeds: Sequence[Any], types: Mapping[str, str], hal: Any
    ) -> None:
        self.names: Sequence[str] = tuple(types)
        self._function, self._feeds = function, feeds
        self._types, self._hal = types, hal

    def run(self) -> list[OnDevice]:
        """Outputs that stay on the device until somebody asks for them."""
        results = self._function(*self._feeds)
        results = results if isinstance(results, (list, tuple)) else [results]
        return [
            OnDevice(name, result, kind, self._hal)
            for (name, kind), result in zip(self._types.items(), results, strict=True)
        ]


def _all_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of its subgraphs."""
    for node in graph.nodes:
        yield node
        for value in node.attributes.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from _all_nodes(inner)
