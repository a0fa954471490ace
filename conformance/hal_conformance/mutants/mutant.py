"""A mutant: the correct engine with one fault in one operator's kernel, as a backend to judge."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

import onnx

from hal import Device, Model, Tensor, Value
from hal.backend import Option
from hal.errors import HalError, ModelError, SkewError, UnfedError, UnsupportedError, UsageError
from hal.graph import read_model
from hal_conformance.mutants.call import Call, Outputs, Step, steps_of
from hal_conformance.mutants.engine import Engine
from hal_conformance.mutants.fault import Fault, State

__all__ = ["Mutant", "MutantBackend", "Prepared", "prepare"]

_NOT_MADE = (UnsupportedError, ModelError, SkewError, UnfedError, UsageError)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One wrong kernel. `type` is the one type whose kernel is wrong; "" for all that can have the
    fault, and then `only` is the type if that is one alone."""

    operator: str
    kind: str
    fault: Fault
    type: str = ""
    only: str = ""

    @property
    def id(self) -> str:
        """E.g. "Softmax/attribute ignored/axis" or "Softmax/attribute ignored/axis@float16"."""
        end = f"@{self.type.removeprefix('tensor(').rstrip(')')}" if self.type else ""
        return f"{self.operator}/{self.kind}/{self.fault.name}{end}"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model, read once for all mutants. `steps` is None where it can only be run whole."""

    steps: tuple[Step, ...] | None
    constants: Mapping[str, Value]
    outputs: tuple[str, ...]


class MutantBackend:
    """The backend of a mutant, as `hal_conformance.judge.run_case` takes it. Without a mutant it is
    the correct engine; `widened`: computing in float64 wherever the operators take it."""

    def __init__(
        self,
        mutant: Mutant | None,
        engine: Engine,
        prepared: dict[str, Prepared],
        *,
        widened: bool = False,
    ) -> None:
        self.mutant, self.engine, self.prepared = mutant, engine, prepared
        self.widened = widened
        self.calls = 0
        """How often the faulty kernel was called."""
        self.changed = 0
        """How often its result was another than the correct one."""
        self.made = 0
        """How often the fault could be put into the kernel, or did not apply to the call."""
        self.refused = ""
        """Why the engine could not be made wrong in this way, from the last call that showed it."""
        self.kernels: set[tuple[str, str]] = set()
        """The kernels that were called, as operators and types."""
        self._shared: dict[object, object] = {}

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> _Executable:
        """See `hal.backend.Backend.compile`."""
        return _Executable(self, self.prepared[model.fingerprint])

    def kernel(self, call: Call, state: State) -> Outputs:
        """The results of the mutated operator's kernel."""
        mutant = self.mutant
        if mutant is None or (mutant.type and call.type != mutant.type):
            return self.engine.run(call)
        if not mutant.fault.types(call.type):
            return self.engine.run(call)
        right = self.engine.run(call)
        self.calls += 1
        try:
            wrong = mutant.fault.kernel(call, self.engine.run, state)
        except _NOT_MADE as error:
            self.refused = f"{type(error).__name__}: {error}"
            return right
        except HalError:
            self.made += 1
            self.changed += 1
            raise
        except Exception as error:  # noqa: BLE001 (the fault does not fit this call)
            self.refused = f"{type(error).__name__}: {error}"
            return right
        self.made += 1
        if wrong is None:
            return right
        self.changed += any(not _same(a, b) for a, b in zip(right, wrong, strict=True))
        return wrong

    def correct(self, call: Call) -> Outputs:
        """The results of the correct engine."""
        if self.widened:
            with contextlib.suppress(UnsupportedError):
                wide = self.engine.run_widened(call)
                if wide is not None:
                    self.calls += 1
                    return wide
        return self.engine.run(call)

    def state(self) -> State:
        """The memory of a kernel in a new executable."""
        return State(self._shared)


class _Executable:
    def __init__(self, backend: MutantBackend, prepared: Prepared) -> None:
        self._backend, self._prepared = backend, prepared
        self._constants = dict(prepared.constants)
        self._states = [backend.state() for _ in prepared.steps or ()]

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        backend, prepared = self._backend, self._prepared
        values = {**self._constants, **inputs}
        constants = frozenset(self._constants) - frozenset(inputs)
        mutated = backend.mutant.operator if backend.mutant else ""
        for step, state in zip(prepared.steps or (), self._states, strict=True):
            call = step.call(values, constants)
            backend.kernels.add((step.operator.key, call.type))
            if step.operator.key == mutated:
                results = backend.kernel(call, state)
            else:
                results = backend.correct(call)
            for position, value in state.overwritten.items():
                name = step.node.input[position]
                values[name] = value
                if name in constants:
                    self._constants[name] = value
            state.overwritten.clear()
            for name, result in zip(step.node.output, results, strict=True):
                if name and result is not None:
                    values[name] = result
        return {name: values[name] for name in prepared.outputs if name in values}


def prepare(model: Model) -> Prepared:
    """Read a model. Raises ModelError for one that onnx cannot decode."""
    proto = onnx.ModelProto.FromString(model.data)
    constants: dict[str, Value] = dict(read_model(model).graph.initializers)
    return Prepared(steps_of(proto), constants, tuple(o.name for o in proto.graph.output))


def _same(a: Value | None, b: Value | None) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = (a.element_type, a.shape) == (b.element_type, b.shape)
        return same and a.data.tobytes() == b.data.tobytes()
    return a is b
