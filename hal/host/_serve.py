"""The served side: requests in, answers out, one at a time.

It imports the standard library, NumPy and what plugins may import of `hal`, and nothing else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hal import __version__
from hal.arrays import array_of
from hal.backend import Ability, Backend, BackendSpec, Support
from hal.device import Device
from hal.errors import (
    AbsentError,
    BackendError,
    BrokenError,
    ExecutionError,
    HalError,
    ProtocolError,
    UsageError,
    did_you_mean,
)
from hal.host import _codec as codec
from hal.host import _lifeline as lifeline
from hal.host._parts import describe, large, locate
from hal.host._shared import Attached, needed
from hal.host._wire import PROTOCOL, Channel
from hal.model import Model
from hal.placement import Placement
from hal.suite import CaseRunner, SuiteSpec, Verdict
from hal.tensor import Tensor, Value
from hal.types import ElementType

__all__ = ["Server", "broken", "find_spec", "find_suite", "load", "main"]

_USAGE = "usage: python -m hal.host --plugin MODULE --backend NAME"
Reply = tuple[dict[str, Any], list[memoryview]]


def main(arguments: Sequence[str]) -> int:
    """Serve until the input ends. Returns the exit status: 2 for wrong arguments."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) != 4 or set(options) != {"--plugin", "--backend"}:
        print(_USAGE, file=sys.stderr)
        return 2
    if sys.version_info < (3, 11) and os.environ.get("PYTHONSAFEPATH"):
        del sys.path[0]  # the working directory, which `-m` puts there
    source, sink = lifeline.take_streams()
    lifeline.prepare()
    lifeline.end_orphan(source)
    Server(Channel(source, sink), options["--plugin"], options["--backend"]).serve()
    return 0


class Server:
    """Answers the requests on a channel with one backend of one plugin module."""

    def __init__(self, channel: Channel, plugin: str, backend: str) -> None:
        self._channel = channel
        self._plugin = plugin
        self._name = backend
        self._alarm = lifeline.Alarm()
        self._attached: Attached | None = None
        self._spec: BackendSpec | None = None
        self._backend: Backend | None = None
        self._devices: dict[str, Device] = {}
        self._executables: dict[int, Any] = {}
        self._runners: dict[tuple[str, str], CaseRunner] = {}
        self._last = 0
        self._pending: tuple[dict[str, Any], list[memoryview]] = ({}, [])
        self._operations: dict[str, Callable[[dict[str, Any], list[memoryview]], Reply]] = {
            "hello": self._hello,
            "load": self._load,
            "devices": self._list_devices,
            "supports": self._supports,
            "compile": self._compile,
            "run": self._run,
            "take": self._take,
            "time": self._time,
            "placement": self._placement,
            "close": self._close,
            "case": self._case,
            "ping": lambda request, parts: ({}, []),
        }

    def serve(self) -> None:
        """Answer until the other end is gone."""
        try:
            while True:
                request, payload = self._channel.receive()
                self._answer(request, payload)
        except (EOFError, BrokenPipeError, ConnectionError):
            pass
        finally:
            self._drop_all(list(self._executables))

    def _answer(self, request: dict[str, Any], payload: memoryview) -> None:
        sequence = request.get("seq")
        try:
            limit = request.get("limit")
            if limit:
                self._alarm.set(limit)
            operation = self._operations.get(str(request.get("op")))
            if operation is None:
                raise ProtocolError(f"unknown request {request.get('op')!r}")
            self._drop_all(request.get("drop", ()))
            view = self._attached.read if self._attached else None
            reply, parts = operation(request, locate(request.get("parts", ()), payload, view))
        except BaseException as error:  # noqa: BLE001 (whatever a backend raises is an answer)
            fallback = BrokenError if request.get("op") == "load" else ExecutionError
            reply, parts = {"error": codec.pack_error(error, fallback)}, []
        finally:
            self._alarm.clear()
        try:
            self._channel.send({"seq": sequence, **reply}, parts)
        except (ProtocolError, TypeError, ValueError) as error:  # nothing has been written yet
            packed = codec.pack_error(error, ExecutionError)
            self._channel.send({"seq": sequence, "error": packed})

    def _hello(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        try:
            self._attached = (
                Attached(request["fds"], request["nonce"]) if "fds" in request else None
            )
        except OSError:
            self._attached = None
        about = {
            "protocol": PROTOCOL,
            "hal": __version__,
            "python": sys.version.split()[0],
            "pid": os.getpid(),
            "shared": self._attached is not None,
        }
        return about, []

    def _load(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        if self._backend is None:
            self._spec = find_spec(self._plugin, self._name)
            self._backend = load(self._spec)
        return {"abilities": [a.value for a in self._declared()]}, []

    def _declared(self) -> frozenset[Ability]:
        return self._spec.abilities if self._spec else frozenset()

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise ProtocolError("a request before the backend was loaded")
        return self._backend

    def _list_devices(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        devices = list(self._loaded().devices())
        for device in devices:
            if not isinstance(device, Device):
                raise BrokenError(f"{self._name}: devices() returned a {type(device).__name__}")
        self._devices = {device.id: device for device in devices}
        return {"devices": [codec.pack_device(d) for d in devices]}, []

    def _device(self, packed: Any) -> Device:
        if not isinstance(packed, str):
            return codec.unpack_device(packed)
        if packed not in self._devices:
            self._list_devices({}, [])
        if packed not in self._devices:
            hint = did_you_mean(packed, self._devices)
            raise UsageError(f"{self._name} has no device {packed!r}.{hint}")
        return self._devices[packed]

    def _model(self, request: dict[str, Any], parts: list[memoryview]) -> Model:
        folder = request.get("folder")
        return Model(bytes(parts[0]), None if folder is None else Path(folder))

    def _supports(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        device = self._device(request["device"])
        support = self._loaded().supports(device, self._model(request, parts))
        if not isinstance(support, Support):
            raise BrokenError(f"{self._name}: supports() returned a {type(support).__name__}")
        return {"support": codec.pack_support(support)}, []

    def _compile(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        device = self._device(request["device"])
        model = self._model(request, parts)
        executable = self._loaded().compile(device, model, request.get("options", {}))
        self._last += 1
        self._executables[self._last] = executable
        return {"executable": self._last}, []

    def _executable(self, request: dict[str, Any]) -> Any:
        number = request.get("executable")
        if number not in self._executables:
            raise ProtocolError(f"there is no executable {number!r}")
        return self._executables[number]

    def _run(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        executable = self._executable(request)
        outputs = executable.run(codec.unpack_values(request["inputs"], parts))
        if not isinstance(outputs, Mapping):
            raise ExecutionError(f"run returned a {type(outputs).__name__}, not a mapping")
        results: list[memoryview] = []
        self._pending = codec.pack_values(outputs, results), results
        return self._take(request, [])

    def _take(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        """Give the results of the last run. Without a region that is large enough it answers with
        the size that it needs; `inline` says that there is none."""
        packed, results = self._pending
        shared: dict[int, int] = {}
        if self._attached is not None and not request.get("inline"):
            indices = large(results)
            chosen = [results[i] for i in indices]
            size = needed(chosen)
            offset, room = request.get("region") or (0, 0)
            if size > room:
                return {"need": size}, []
            if indices:
                offsets = self._attached.write((offset, room), chosen)
                shared = dict(zip(indices, offsets, strict=True))
        self._pending = {}, []
        listed, inline = describe(results, shared)
        return {"outputs": packed, "parts": listed}, inline

    def _time(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        """Seconds of each call, made one after another in each of some threads."""
        executable = self._executable(request)
        inputs = codec.unpack_values(request["inputs"], parts)
        call: Callable[[], object] = functools.partial(executable.run, inputs)
        if request.get("bound") and Ability.BIND in self._declared():
            # Copied, so that they lie as a caller's arrays do, not where the channel has put them.
            call = executable.bind({n: _own(v) for n, v in inputs.items()}).run
        elif Ability.NUMPY in self._declared():
            feeds = {name: array_of(value) for name, value in inputs.items()}
            call = functools.partial(executable.run_numpy, None, feeds)
        streams, calls = int(request["streams"]), int(request["calls"])
        for _ in range(int(request["discarded"])):
            call()
        if streams == 1:
            start = time.perf_counter()
            seconds = timed(call, calls)
        else:
            from concurrent.futures import ThreadPoolExecutor  # 10 ms that few hosts need

            with ThreadPoolExecutor(streams) as pool:
                start = time.perf_counter()
                running = [pool.submit(timed, call, calls) for _ in range(streams)]
                seconds = [second for future in running for second in future.result()]
        return {"seconds": seconds, "elapsed": time.perf_counter() - start}, []

    def _placement(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        placement = self._executable(request).placement()
        if not isinstance(placement, Placement):
            raise BrokenError(f"{self._name}: placement() returned a {type(placement).__name__}")
        return {"placement": codec.pack_placement(placement)}, []

    def _close(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        self._executable(request)
        self._drop(int(request["executable"]))
        return {}, []

    def _case(self, request: dict[str, Any], parts: list[memoryview]) -> Reply:
        key = str(request["module"]), str(request["suite"])
        if key not in self._runners:
            self._runners[key] = find_suite(*key).runner()
        verdict = self._runners[key].run(self._device(request["device"]), str(request["case"]))
        if not isinstance(verdict, Verdict):
            raise BrokenError(f"suite {key[1]}: run() returned a {type(verdict).__name__}")
        return {"verdict": codec.pack_verdict(verdict)}, []

    def _drop_all(self, numbers: Sequence[int]) -> None:
        """Close what nobody holds any more. A failure is no business of the request that it comes
        with, so it is only told on standard error."""
        for number in numbers:
            try:
                self._drop(number)
            except BaseException as error:  # noqa: BLE001 (a backend's close may raise anything)
                packed = codec.pack_error(error, ExecutionError)
                print(f"close: {packed['message']}", file=sys.stderr)

    def _drop(self, number: int) -> None:
        executable = self._executables.pop(number, None)
        if executable is not None and Ability.CLOSE in self._declared():
            executable.close()


def _own(value: Value) -> Value:
    if not isinstance(value, Tensor) or value.element_type is ElementType.STRING:
        return value
    octets = np.frombuffer(value.data, np.uint8).copy()
    return Tensor(value.element_type, value.shape, octets.data)


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """The seconds of each of some calls, one after another."""
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def find_spec(plugin: str, name: str) -> BackendSpec:
    """The spec that a plugin module's `hal_backends` gives for a backend. Raises BrokenError with
    the traceback of what the module raised."""
    return _find(plugin, "hal_backends", "backend", name)  # type: ignore[no-any-return]


def find_suite(plugin: str, name: str) -> SuiteSpec:
    """The spec that a plugin module's `hal_suites` gives for a suite. Raises as `find_spec`."""
    return _find(plugin, "hal_suites", "suite", name)  # type: ignore[no-any-return]


def _find(plugin: str, hook: str, noun: str, name: str) -> Any:
    try:
        specs = list(getattr(importlib.import_module(plugin), hook)())
    except BaseException as error:  # a plugin may raise anything while it loads
        raise broken(f"plugin {plugin} does not load", error) from error
    for spec in specs:
        if spec.name == name:
            return spec
    raise BrokenError(
        f"plugin {plugin} has no {noun} {name!r}.{did_you_mean(name, [s.name for s in specs])}"
    )


def load(spec: BackendSpec) -> Backend:
    """Call a spec's factory. Raises AbsentError when a distribution that it requires is missing,
    BrokenError with the traceback when the factory fails in a way that it does not explain."""
    missing = [name for name in spec.requires if not _installed(name)]
    if missing:
        install = spec.install or f"pip install {' '.join(missing)}"
        raise AbsentError(f"{spec.name} needs {', '.join(missing)}", next_step=install)
    try:
        return spec.factory()
    except BackendError:
        raise
    except BaseException as error:  # a vendor's SDK may raise anything
        raise broken(f"{spec.name} does not start", error) from error


def broken(what: str, error: BaseException) -> HalError:
    """BrokenError for an exception of a plugin."""
    packed = codec.pack_error(error, BrokenError)
    return BrokenError(f"{what}: {packed['message']}", traceback=packed["traceback"])


def _installed(distribution: str) -> bool:
    from importlib import metadata  # 15 ms that a backend without requirements does not pay

    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
