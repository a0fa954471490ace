"""The backend and the executable that a table of kernels makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Union

from hal.arrays import run_by_values
from hal.backend import Ability, Option, Support
from hal.device import Device
from hal.errors import (
    ExecutionError,
    HalError,
    UnsupportedError,
    UsageError,
    did_you_mean,
)
from hal.graph import ModelGraph, Signature, read_model
from hal.kernels._arrays import Arrays
from hal.kernels._bound import Bound, bound_values
from hal.kernels._codegen import Generated, generate, move_shape_arithmetic
from hal.kernels._direct import direct
from hal.kernels._feeds import InputSpec, from_value, to_value
from hal.kernels._graphs import node_names
from hal.kernels._lower import Lowering
from hal.kernels._precision import PrecisionPolicy
from hal.kernels._program import Block, Constants
from hal.kernels._table import KernelTable
from hal.model import Model
from hal.placement import Evidence, NodePlacement, Placement
from hal.tensor import Value

__all__ = ["KernelBackend", "KernelExecutable"]

FOLD_LIMIT = 64 << 20
Devices = Union[Sequence[Device], Callable[[], Sequence[Device]]]
ArraysFor = Union[Arrays, Callable[[Device, Mapping[str, Option]], Arrays]]


class KernelBackend:
    """A backend made of a kernel table and an array adapter; see the package's docstring.

    `host_table` holds NumPy kernels for shape arithmetic beside a device's own; `host_device` is
    the id of the CPU that `host_only` kernels run on. `options` names the options that `compile`
    takes and hands to `arrays`. `evidence` grades the placement.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {
            Ability.PLACEMENT,
            Ability.CLOSE,
            Ability.THREAD_SAFE_RUN,
            Ability.BIND,
            Ability.NUMPY,
        }
    )
    """What the BackendSpec of a kernel backend declares."""

    def __init__(
        self,
        devices: Devices,
        table: KernelTable,
        arrays: ArraysFor,
        *,
        host_table: KernelTable | None = None,
        host_device: str = "host:cpu",
        evidence: Evidence = Evidence.SOLE,
        options: Sequence[str] = (),
        fold_limit: int = FOLD_LIMIT,
    ) -> None:
        self.table = table
        self.host_table = host_table
        self.host_device = host_device
        self.evidence = evidence
        self.options = tuple(options)
        self.fold_limit = fold_limit
        self._devices = devices
        self._arrays = arrays

    def devices(self) -> Sequence[Device]:
        """The devices as given."""
        return tuple(self._devices() if callable(self._devices) else self._devices)

    def supports(self, device: Device, model: Model) -> Support:
        """Every node that has no kernel and no function body made of kernels.

        Raises ModelError for a model that is not valid and SkewError for one that is too new."""
        lowering = self._lowering(device, read_model(model), {})
        lowering.run()
        return Support(tuple(lowering.problems))

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> KernelExecutable:
        """Compile a model. Raises UnsupportedError naming every node at fault, ModelError,
        SkewError, or UsageError for an option that does not exist."""
        for name in options:
            if name not in self.options:
                raise UsageError(
                    f"{device.id} has no option {name!r}.{did_you_mean(name, self.options)}"
                )
        return KernelExecutable(self, device, read_model(model), options)

    def precision(self, device: Device, options: Mapping[str, Option]) -> PrecisionPolicy | None:
        """Which nodes compute float32 in another type; None: none does."""
        return None

    def rewrite(
        self, block: Block, constants: Constants, device: Device, options: Mapping[str, Option]
    ) -> None:
        """Called before code is made of a program: may replace steps by faster ones, in place."""

    def finish(
        self,
        function: Callable[[list[Any]], tuple[Any, ...]],
        device: Device,
        options: Mapping[str, Option],
    ) -> Callable[[list[Any]], tuple[Any, ...]]:
        """Called once for each compiled program; what it returns is run instead of `function`."""
        return function

    def _lowering(
        self, device: Device, graph: ModelGraph, options: Mapping[str, Option]
    ) -> Lowering:
        arrays = self._arrays
        adapter = arrays if isinstance(arrays, Arrays) else arrays(device, options)
        policy = self.precision(device, options)
        return Lowering(graph, self.table, self.host_table, adapter, self.fold_limit, policy)


class KernelExecutable:
    """A compiled model. `run` may be called from several threads at once."""

    def __init__(
        self,
        backend: KernelBackend,
        device: Device,
        graph: ModelGraph,
        options: Mapping[str, Option],
    ) -> None:
        self._backend = backend
        self._device = device
        self._graph = graph
        self._options = dict(options)
        self._lock = threading.Lock()
        self._closed = False
        self._programs: dict[frozenset[str], _Program] = {}
        main = graph.graph
        defaults = set(main.initializers) | set(main.sparse_initializers)
        self._defaults = frozenset(i.name for i in main.inputs if i.name in defaults)
        self._program = self._compiled(frozenset())

    @property
    def source(self) -> str:
        """The Python source that runs the model."""
        return self._program.generated.source

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs that a run must be given, in order."""
        return self._program.inputs

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once. Raises UsageError for an input that is missing, unknown, or of another type or
        shape than the model declares; ExecutionError, naming the node, for what a kernel raises."""
        program = self._for(inputs)
        for spec in program.inputs:
            spec.check(inputs.get(spec.name))
        arrays = program.arrays
        values = [from_value(arrays, inputs.get(spec.name)) for spec in program.inputs]
        results = program.call(values)
        found: dict[str, Value] = {}
        for (name, type_), result in zip(program.outputs, results, strict=False):
            try:
                found[name] = to_value(arrays, result, type_)
            except (TypeError, ValueError, AttributeError) as error:
                raise ExecutionError(
                    f"output {name!r} is no {type_ or 'value'}: {error}"
                ) from error
        return found

    def run_numpy(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run over NumPy arrays; see `hal.NumpyExecutable`. Raises as `run`."""
        if not isinstance(feeds, Mapping):
            raise UsageError(f"feeds are a dict of arrays, got a {type(feeds).__name__}")
        short = self._for(feeds).direct
        if short is None:
            return run_by_values(self.run, Signature.of(self._graph.graph), names, feeds)
        return short.run(names, feeds)

    def run_arrays(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run over the adapter's own arrays, unchecked but for their names; gives such arrays."""
        program = self._for(inputs)
        results = program.call([inputs.get(spec.name) for spec in program.inputs])
        return {name: result for (name, _), result in zip(program.outputs, results, strict=False)}

    def bind(self, inputs: Mapping[str, Any]) -> Bound:
        """The program with its inputs in place, each a Value or anything that exports DLPack.
        Raises UsageError for an input that is missing, unknown, or not what the model declares."""
        program = self._for(inputs)
        values = bound_values(program.arrays, program.inputs, inputs)
        return Bound(program.call, values, [name for name, _ in program.outputs])

    def placement(self) -> Placement:
        """Every node of the model: on the device, on the host (`host_only` kernels), or folded."""
        return self._program.placement

    def close(self) -> None:
        """Drop the program and its constants."""
        self._programs.clear()
        self._closed = True
        del self._program

    def _for(self, inputs: Mapping[str, Any]) -> _Program:
        if self._closed:
            raise ExecutionError("the executable is closed")
        if not self._defaults or self._defaults.isdisjoint(inputs):
            program = self._program
        else:
            program = self._compiled(self._defaults.intersection(inputs))
        known = program.names
        if not known.issuperset(inputs):
            name = next(n for n in inputs if n not in known)
            raise UsageError(
                f"the model has no input {name!r}, it has {_listed(sorted(known))}."
                f"{did_you_mean(name, known)}"
            )
        if len(inputs) < len(known):
            for spec in program.inputs:
                if spec.name not in inputs and not spec.optional:
                    raise UsageError(f"input {spec.name!r} ({spec.described}) is missing")
        return program

    def _compiled(self, overridden: frozenset[str]) -> _Program:
        with self._lock:
            if overridden not in self._programs:
                self._programs[overridden] = _Program(
                    self._backend, self._device, self._graph, self._options, overridden
                )
            return self._programs[overridden]


class _Program:
    """The generated code for one set of fed initializers, mostly none."""

    def __init__(
        self,
        backend: KernelBackend,
        device: Device,
        graph: ModelGraph,
        options: Mapping[str, Option],
        overridden: frozenset[str],
    ) -> None:
        lowering = backend._lowering(device, graph, options)
        block, names = lowering.run(overridden)
        if lowering.problems:
            raise _unsupported(device, lowering)
        self.arrays = lowering.arrays
        move_shape_arithmetic(block, self.arrays)
        placement = _placement(backend, device, graph, lowering, block)
        backend.rewrite(block, lowering.constants, device, options)
        self.generated: Generated = generate(block, self.arrays, lowering.constants)
        declared = {info.name: info for info in graph.graph.inputs}
        self.inputs = tuple(
            InputSpec(name, declared[name].type, declared[name].shape) for name in names
        )
        self.names = frozenset(names)
        self.outputs = tuple(
            (info.name, (value.type if value is not None else "") or info.type)
            for info, value in zip(graph.graph.outputs, block.results, strict=False)
        )
        self.function = backend.finish(self.generated.function, device, options)
        self.placement = placement
        self.direct = direct(self.arrays, self.call, self.inputs, self.outputs)

    def call(self, values: list[Any]) -> tuple[Any, ...]:
        try:
            return self.function(values)
        except HalError:
            raise
        except Exception as error:
            where = self.generated.node_at(error.__traceback__)
            what = f"{type(error).__name__}: {error}"
            raise ExecutionError(f"{where}: {what}" if where else what) from error


def _unsupported(device: Device, lowering: Lowering) -> UnsupportedError:
    lines = [f"{p.node} ({p.operator}): {p.reason}" for p in lowering.problems]
    count = "1 node" if len(lines) == 1 else f"{len(lines)} nodes"
    return UnsupportedError(
        f"{device.id} does not take {count}: {'; '.join(lines)}",
        nodes=[p.node for p in lowering.problems],
    )


def _placement(
    backend: KernelBackend, device: Device, graph: ModelGraph, lowering: Lowering, block: Any
) -> Placement:
    places: dict[str, str] = dict.fromkeys(lowering.kept, device.id)
    for step in block.walk():
        if step.host_only:
            places[step.origin] = backend.host_device
        elif not step.folded:
            places.setdefault(step.origin, device.id)
    names = dict.fromkeys(node_names(graph.graph))
    return Placement(
        tuple(NodePlacement(name, places.get(name, ""), backend.evidence) for name in names)
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:8])
    return (shown or "none") + (f" and {len(names) - 8} more" if len(names) > 8 else "")
