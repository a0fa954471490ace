"""The reference run: what a model should give, from another engine and as exactly as there is one.

An engine is never compared with itself where that can be avoided, and a float64 run goes before a
float32 one. Backends say in their BackendSpec how they serve as a reference; this module names
none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hal.backend import Option, ReferenceUse
from hal.compare import relative_l2
from hal.device import backend_of
from hal.errors import HalError, UnsupportedError
from hal.graph import ModelGraph, read_model, with_outputs
from hal.model import Model
from hal.tensor import Tensor, Value
from hal.types import ElementType

if TYPE_CHECKING:
    from hal.host import Host, HostedExecutable
    from hal.plugins import Registry

__all__ = ["TOLERANCE_FACTOR", "Reference", "ReferenceRun"]

TOLERANCE_FACTOR = 16.0
"""How many times a model's own conditioning an engine may be off. The unit is the error of a
correct float32 run. Over the 22 models of suite `models`, onnxruntime, OpenVINO and PyTorch, which
sum in other orders, fuse, and convolve by other algorithms, are off by 0.25 to 3.2 of it
(docs/check.md)."""

_UNITS = {
    ElementType.FLOAT: 2.0**-24,
    ElementType.DOUBLE: 2.0**-24,  # engines that have no double compute it in float32
    ElementType.FLOAT16: 2.0**-11,
    ElementType.BFLOAT16: 2.0**-8,
}
"""The unit roundoff of each type: half of its epsilon."""
_QUANTIZED = 2.0**-9
"""Half a step of eight bits: a value near a rounding boundary may fall on either side."""


@dataclasses.dataclass(frozen=True)
class ReferenceRun:
    """What a reference engine gave for one set of inputs.

    `outputs` holds every graph output, and the values in the middle of the graph that were asked
    for, by name. `engine` is the device id, `precision` the type that it computed float32 in,
    `independent` whether it is another backend than the one under test. `conditioning` has for each
    output the relative L2 distance that a correct float32 run may be expected at, from the source
    in `conditioned_by`. `refused` has, for each engine asked in vain before, its reason.
    """

    outputs: Mapping[str, Value]
    engine: str
    precision: str
    independent: bool
    conditioning: Mapping[str, float]
    conditioned_by: str
    refused: Mapping[str, str]

    def tolerance(self, name: str) -> float:
        """The relative L2 error that an output may have: TOLERANCE_FACTOR times its conditioning
        for numbers that are not whole, 0 for all others."""
        value = self.outputs[name]
        exact = isinstance(value, Tensor) and value.element_type.is_native and (
            value.element_type.storage.kind in "iubO"
        )  # fmt: skip
        return 0.0 if exact else TOLERANCE_FACTOR * self.conditioning[name]


@dataclasses.dataclass(frozen=True)
class _Engine:
    backend: str
    use: ReferenceUse

    @property
    def exact(self) -> bool:
        return self.use.precision == "float64"


class Reference:
    """The reference of one model, for a candidate device. Engines run in host processes, which are
    kept from run to run; a context manager, not for several threads at once.

    `candidate` is a device id: its backend is asked last. `timeout` is in seconds, for each call of
    an engine; `memory` in bytes, how far its process may grow.
    """

    def __init__(
        self,
        registry: Registry,
        model: Model,
        *,
        candidate: str = "",
        timeout: float = 300.0,
        memory: int = 8 << 30,
    ) -> None:
        self._registry = registry
        self._model = model
        self._graph = read_model(model)
        self._candidate = backend_of(candidate) if candidate else ""
        self._limits = {"timeout": timeout, "memory": memory}
        self._hosts: dict[str, Host] = {}
        self._compiled: dict[tuple[str, bool, tuple[str, ...]], HostedExecutable] = {}
        self._refused: dict[str, str] = {}

    @property
    def engines(self) -> list[str]:
        """The devices that can be asked, in the order in which they are."""
        return [engine.use.device for engine in self._engines()]

    def run(
        self, inputs: Mapping[str, Value], values: Sequence[str] = (), *, conditioning: bool = True
    ) -> ReferenceRun:
        """Run the model on the first engine that can. `values` names values of the main graph that
        are wanted beside its outputs. Without `conditioning` that is not measured, and the unit
        roundoff stands for it.

        Raises ModelError for a model that is not valid, UnsupportedError, with every engine's
        reason, when none can run it.
        """
        wanted = tuple(dict.fromkeys(values))
        for engine in self._engines():
            if engine.use.device in self._refused:
                continue
            try:
                outputs = self._outputs(engine, inputs, wanted, plain=False)
            except HalError as error:
                self._refused[engine.use.device] = f"{type(error).__name__}: {error}"
                continue
            spread, source = self._conditioning(inputs, wanted, engine, outputs, conditioning)
            return ReferenceRun(
                outputs,
                engine.use.device,
                engine.use.precision,
                engine.backend != self._candidate,
                spread,
                source,
                dict(self._refused),
            )
        reasons = "; ".join(f"{name}: {why}" for name, why in self._refused.items())
        raise UnsupportedError(
            f"no engine here can be the reference of this model: {reasons or 'there is none'}",
            next_step="pip install hal-torch hal-onnxruntime, or hal devices",
        )

    def runs(
        self, inputs: Mapping[str, Value], values: Sequence[str] = ()
    ) -> Iterator[tuple[str, Mapping[str, Value]]]:
        """What each engine that can run the model gives, the candidate's backend left out: for a
        vote where one of them is doubtful. Yields (device id, outputs)."""
        for engine in self._engines():
            if engine.backend == self._candidate or engine.use.device in self._refused:
                continue
            try:
                yield engine.use.device, self._outputs(engine, inputs, tuple(values), plain=False)
            except HalError as error:
                self._refused[engine.use.device] = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """End the engines' processes."""
        self._compiled.clear()
        while self._hosts:
            self._hosts.popitem()[1].close()

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _engines(self) -> list[_Engine]:
        found = [
            _Engine(name, backend.spec.reference)
            for name, backend in self._registry.backends.items()
            if backend.spec.reference is not None
        ]
        return sorted(
            found, key=lambda e: (e.backend == self._candidate, not e.exact, e.use.rank, e.backend)
        )

    def _outputs(
        self, engine: _Engine, inputs: Mapping[str, Value], values: tuple[str, ...], *, plain: bool
    ) -> Mapping[str, Value]:
        """One run. `plain`: in float32, even where the engine could do better."""
        key = (engine.use.device, plain, values)
        host = self._host(engine)
        executable = self._compiled.get(key)
        if executable is None:
            model = with_outputs(self._model, values) if values else self._model
            options: Mapping[str, Option] = {} if plain else engine.use.options
            executable = host.compile(engine.use.device, model, options)
            self._compiled = {k: v for k, v in self._compiled.items() if k[2] in ((), values)}
            self._compiled[key] = executable
        try:
            return executable.run(inputs)
        except HalError:
            self._compiled = {k: v for k, v in self._compiled.items() if k[0] != engine.use.device}
            raise

    def _host(self, engine: _Engine) -> Host:
        if engine.backend not in self._hosts:
            self._registry.find_device(engine.use.device)  # says why if it cannot be used
            self._hosts[engine.backend] = self._registry.host(engine.backend, **self._limits)
        return self._hosts[engine.backend]

    def _conditioning(
        self,
        inputs: Mapping[str, Value],
        values: tuple[str, ...],
        engine: _Engine,
        outputs: Mapping[str, Value],
        measured: bool,
    ) -> tuple[dict[str, float], str]:
        floor = _floor(self._graph)
        least = dict.fromkeys(outputs, floor)
        if not measured:
            return least, f"not measured: the unit roundoff {floor:.2g}"
        for other in self._engines():
            if not other.exact or other.use.device in self._refused:
                continue
            try:
                exact = outputs
                if other.use.device != engine.use.device:
                    exact = self._outputs(other, inputs, values, plain=False)
                plain = self._outputs(other, inputs, values, plain=True)
            except HalError:
                continue
            spread = _spread(exact, plain, floor)
            return spread, f"{other.use.device} in float32 against itself in float64"
        shaken = _shaken(inputs)
        if shaken is not None:
            try:
                plain = self._outputs(engine, shaken, values, plain=False)
            except HalError:
                return least, f"not measured: the unit roundoff {floor:.2g}"
            spread = _spread(outputs, plain, 8 * floor)
            return spread, f"{engine.use.device} with its inputs changed by one ULP"
        return dict.fromkeys(outputs, 8 * floor), f"assumed: 8 times the unit roundoff {floor:.2g}"


def _spread(
    exact: Mapping[str, Value], plain: Mapping[str, Value], floor: float
) -> dict[str, float]:
    found = {}
    for name, value in exact.items():
        distance = relative_l2(value, plain[name]) if name in plain else floor
        # An output that is all zero, or where float32 overflows, says nothing of the rest.
        found[name] = max(distance if np.isfinite(distance) else floor, floor)
    return found


def _floor(graph: ModelGraph) -> float:
    """The unit roundoff of the coarsest floating-point type that the graph states."""
    main = graph.graph
    types = {t.type for t in main.initializers.values()}
    for infos in (main.inputs, main.outputs, main.value_info.values()):
        types |= {info.type for info in infos}
    units = [u for e, u in _UNITS.items() if f"tensor({e.onnx_name})" in types]
    rounds = any("QuantizeLinear" in node.op_type for node in main.nodes)
    return max([*units, *([_QUANTIZED] if rounds else [])], default=2.0**-24)


def _shaken(inputs: Mapping[str, Value]) -> dict[str, Value] | None:
    """The inputs with every float32 one ULP up or down; None where there is none."""
    rng = np.random.default_rng(0)
    found: dict[str, Value] = dict(inputs)
    changed = False
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.element_type is ElementType.FLOAT and value.size:
            array = value.numpy()
            away = np.where(rng.integers(0, 2, array.shape), np.inf, -np.inf).astype(np.float32)
            found[name] = Tensor.from_numpy(np.nextafter(array, away))
            changed = True
    return found if changed else None
