"""The seam between HAL and a backend: what a plugin provides and what the core may call.

The core calls `devices`, `supports` and `compile` of a backend and `run` of an executable, and
nothing else unless the plugin declares the ability in its BackendSpec.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, Union, runtime_checkable

from hal.device import Device, DeviceKind
from hal.model import Model
from hal.placement import Placement
from hal.tensor import Value

__all__ = [
    "Ability",
    "Backend",
    "BackendSpec",
    "BindableExecutable",
    "BoundExecutable",
    "Choice",
    "EnvironmentSpec",
    "Executable",
    "NumpyExecutable",
    "Option",
    "PlacedExecutable",
    "ReferenceUse",
    "Support",
    "UnsupportedNode",
]

Option = Union[str, int, float, bool]


class Ability(enum.Enum):
    """What a backend can do beyond the seam's four calls. Declared, never guessed."""

    PLACEMENT = "placement"
    """Its executables have `placement()`."""
    CLOSE = "close"
    """Its executables have `close()`, which frees what they hold at once."""
    THREAD_SAFE_RUN = "thread-safe-run"
    """`run` may be called from several threads at once."""
    BIND = "bind"
    """Its executables are `BindableExecutable`s in the process that compiled them."""
    NUMPY = "numpy"
    """Its executables are `NumpyExecutable`s in the process that compiled them."""


class Executable(Protocol):
    """A model compiled for a device."""

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run once. `inputs` by graph input name, absent optional ones left out. Returns every
        graph output by name. Raises UnfedError if a value's type cannot be handed over."""
        ...


@runtime_checkable
class PlacedExecutable(Executable, Protocol):
    """An executable of a backend that declares PLACEMENT and CLOSE."""

    def placement(self) -> Placement:
        """Where each named node of the model runs (asked after the first run)."""
        ...

    def close(self) -> None:
        """Free what the executable holds; it is not run again."""
        ...


class BoundExecutable(Protocol):
    """An executable with its inputs in place. Not to be run from two threads at once."""

    names: Sequence[str]
    """The graph outputs, in the order in which `run` gives them."""

    def run(self) -> Sequence[Any]:
        """Run over what the inputs' memory holds now. The outputs stay on the device, as the
        runtime's own arrays, which export DLPack; sequences, maps and strings come as lists, dicts
        and NumPy arrays of them. The next run may write over them."""
        ...


@runtime_checkable
class BindableExecutable(Executable, Protocol):
    """An executable of a backend that declares BIND."""

    def bind(self, inputs: Mapping[str, Any]) -> BoundExecutable:
        """Check the inputs once, and take them over. Each is a Value or exports DLPack; what is on
        the device already is not copied, so that a change in place is seen by the next run. What
        is elsewhere may be copied there now."""
        ...


@runtime_checkable
class NumpyExecutable(Executable, Protocol):
    """An executable of a backend that declares NUMPY: it takes and gives NumPy arrays itself, for
    models so small that HAL's own values would cost more than their work."""

    def run_numpy(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run once, as `hal.Session.run` does: the outputs `names` in that order, all for None or
        an empty list. The arrays given back are the caller's, to write to. Raises a HalError for
        feeds that are not what the model declares (names, element types, shapes)."""
        ...


@dataclasses.dataclass(frozen=True)
class UnsupportedNode:
    """A node that a device does not take, and why."""

    node: str
    operator: str
    """`domain::op_type-version`, the domain left out for ai.onnx, e.g. "Softmax-13"."""
    reason: str


@dataclasses.dataclass(frozen=True)
class Support:
    """What a backend says of a model on a device before it compiles it. No nodes: it takes all."""

    unsupported: tuple[UnsupportedNode, ...] = ()

    @property
    def supported(self) -> bool:
        return not self.unsupported


class Backend(Protocol):
    """What a plugin provides. All three raise BackendError subclasses for what they know;
    anything else counts as an error of the backend."""

    def devices(self) -> Sequence[Device]:
        """The devices that can be used now, and those that are there but cannot start, with
        `Device.unavailable` saying why. Raises AbsentError or UnavailableError, with the reason and
        the next step, when there is none to use."""
        ...

    def supports(self, device: Device, model: Model) -> Support:
        """Which nodes of the model the device does not take, all at once, without compiling it."""
        ...

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> Executable:
        """Compile a model for a device. Raises UnsupportedError, SkewError or
        FallbackError when it cannot."""
        ...


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """A Python environment of its own, for an SDK whose pins clash with everyone else's.

    `hal env create NAME` builds it. `lock` is a file beside the plugin's module, with one
    "distribution==version" a line (markers and comments as in requirements files): each is
    installed as it stands, without its dependencies. hal and the plugin come from where they are
    installed, so that the file does not name them; it does name NumPy. `python` is the version
    specifier of the interpreters that the file is for.
    """

    name: str
    lock: str
    python: str = ">=3.10"


@dataclasses.dataclass(frozen=True)
class ReferenceUse:
    """How a backend can serve as the reference that other devices are compared with.

    `options` make `device` compute as exactly as it can: `precision` says in what type it then
    computes a model's float32. Those with "float64" are asked first, then by `rank`, lowest first.
    """

    device: str
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    precision: Literal["float64", "float32"] = "float32"
    rank: int = 50


@dataclasses.dataclass(frozen=True)
class Choice:
    """Compile options that are worth trying when a model is routed.

    `precision` is the type in which a model's float32 is computed: another than "float32" takes
    part only where the user has given a budget of error. `kinds` are the kinds of device that the
    choice is for, none meaning all. `variant` names a model derived of the user's (docs/routing.md)
    that is compiled in its place. `speed` is a guess for models like which nothing has been
    measured yet: how fast it is, beside the fastest engine on such a device (1.0). `seconds` is
    what compiling takes beyond a moment. `goal` is the policy that the choice is for, such as
    "throughput"; "" means any.
    """

    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    precision: str = "float32"
    kinds: tuple[DeviceKind, ...] = ()
    variant: str = ""
    speed: float = 0.3
    seconds: float = 0.0
    goal: str = ""


@dataclasses.dataclass(frozen=True)
class BackendSpec:
    """What a plugin's `hal_backends` hook returns: a backend's name, and how to get it.

    `factory` imports the vendor's SDK, so it is called only when the backend is probed or used.
    `requires` names the distributions that the SDK comes in: when one is missing the backend is
    absent, and the factory is not called. `install` is the command that brings them.
    `conformance_options` are given to `compile` by `hal conformance` where the user gives no other:
    it runs small models in several hosts at once, which a pool of threads in each only slows down.
    `environment` is for an SDK that cannot share an environment with others: once the user has
    created it the backend is served from there, by host processes alone.
    `reference` says how the backend serves as a reference run of others; None: it does not.
    `choices` are the ways to compile among which routing chooses, the first being the usual one.
    `repro` is for those who reproduce a result without HAL: for a device, the Python source of a
    function `run(model, inputs)` that needs NumPy and the runtime alone, its imports before it.
    `model` is the path of an ONNX file, `inputs` a dict of NumPy arrays by graph input, and it
    returns the graph's outputs in their order. None: HAL and the plugin are needed.
    """

    name: str
    factory: Callable[[], Backend]
    summary: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""
    abilities: frozenset[Ability] = frozenset()
    conformance_options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    environment: EnvironmentSpec | None = None
    reference: ReferenceUse | None = None
    choices: tuple[Choice, ...] = (Choice(),)
    repro: Callable[[Device], str] | None = None
