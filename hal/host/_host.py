"""The parent's side: a backend in a process of its own, with the calls of the backend seam."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hal.backend import Ability, Option, Support
from hal.device import Device
from hal.errors import MemoryLimitError, ProtocolError, UnavailableError, UsageError
from hal.host import _codec as codec
from hal.host._executable import HostedExecutable
from hal.host._parts import describe, large
from hal.host._process import HostProcess
from hal.host._shared import Region
from hal.host._watchdog import amount
from hal.model import Model
from hal.suite import Verdict

__all__ = ["Host"]

_START_LIMIT = 60.0  # seconds; a busy machine or a slow network, not the backend, is waited for


class Host:
    """A backend in a process of its own, which is started when it is first needed.

    `plugin_module` and `backend` name what is served. `command` starts the process, "--plugin
    MODULE --backend NAME" being added; by default it is this interpreter. `env` is added to this
    process's environment. `timeout` (seconds) holds for each call that gives none; `memory` (bytes)
    is how far the process and its children may grow over the idle host in one call; both may be set
    at any time.
    `shared_memory=False` sends everything through the stream. `remote` names the machine that
    `command` reaches through ssh: devices then have ids of the form "<remote>/<id there>", and
    memory is limited only in what is sent back. `unreachable` says why no process could be started
    at all, "" when one could.

    A call raises what the backend raised if that is a HalError, ExecutionError for any other
    exception, and CrashError, DeadlineError, MemoryLimitError or ProtocolError when the process
    died or was stopped; the next call then starts another one. `restarts` counts these. One thread
    at a time may use a host.
    """

    def __init__(
        self,
        plugin_module: str,
        backend: str,
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        memory: int = 4 << 30,
        shared_memory: bool = True,
        remote: str = "",
    ) -> None:
        own = [sys.executable, "-m", "hal.host"]
        # A file in the working directory must not stand in for a module of the host.
        safe = {} if command else {"PYTHONSAFEPATH": "1"}
        arguments = ["--plugin", plugin_module, "--backend", backend]
        self.backend = backend
        self.timeout = timeout
        self.memory = memory
        self.restarts = 0
        self._command = [*(command or own), *arguments]
        self._env = {**os.environ, **safe, **(env or {})}
        self._shared_memory = shared_memory and not remote
        self.remote = remote
        self.unreachable = ""
        self._process: HostProcess | None = None
        self._end: weakref.finalize[[], Host] | None = None
        self._abilities: frozenset[Ability] = frozenset()
        self._died = False
        self._closed = False
        self._sequence = 0

    def devices(self, timeout: float | None = None) -> tuple[Device, ...]:
        """The backend's devices. Raises AbsentError, UnavailableError or BrokenError when it has
        none to offer."""
        reply, process = self._ask("devices", {}, timeout=timeout)
        with self._reading(process):
            found = [codec.unpack_device(d) for d in reply["devices"]]
            return tuple(
                dataclasses.replace(d, id=f"{self.remote}/{d.id}") if self.remote else d
                for d in found
            )

    def supports(self, device: Device | str, model: Model, timeout: float | None = None) -> Support:
        """Which nodes of a model the device does not take."""
        reply, process = self._ask("supports", self._subject(device, model), model, timeout)
        with self._reading(process):
            return codec.unpack_support(reply["support"])

    def compile(
        self,
        device: Device | str,
        model: Model,
        options: Mapping[str, Option] | None = None,
        timeout: float | None = None,
    ) -> HostedExecutable:
        """Compile a model for a device, given as such or by id."""
        request = {**self._subject(device, model), "options": dict(options or {})}
        reply, process = self._ask("compile", request, model, timeout)
        with self._reading(process):
            number = int(reply["executable"])
        return HostedExecutable(self, process, number, self._abilities)

    def run_case(
        self,
        module: str,
        suite: str,
        device: Device,
        case_id: str,
        timeout: float | None = None,
    ) -> Verdict:
        """Let the suite that the plugin `module` provides run and judge one of its cases."""
        request = {
            "module": module,
            "suite": suite,
            "device": codec.pack_device(self._there(device)),
            "case": case_id,
        }
        reply, process = self._ask("case", request, timeout=timeout)
        with self._reading(process):
            return codec.unpack_verdict(reply["verdict"])

    def ping(self, timeout: float | None = None) -> None:
        """Do nothing but answer; starts the process and loads the backend if need be."""
        self._ask("ping", {}, timeout=timeout)

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._process.pid if self._process else None

    @property
    def shares_memory(self) -> bool:
        """Whether the running process maps the memory of this one for large tensors."""
        return self._process is not None and self._process.files is not None

    def close(self) -> None:
        """End the process. A closed host cannot be used any more."""
        self._closed = True
        self._discard()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(
        self,
        operation: str,
        request: dict[str, Any],
        model: Model | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], HostProcess]:
        limit = self.timeout if timeout is None else timeout
        process = self._started(limit)
        parts = [memoryview(model.data)] if model else []
        reply, _ = self._call(process, operation, request, parts, limit)
        return reply, process

    def _started(self, limit: float) -> HostProcess:
        if self._closed:
            raise UsageError(f"the host of {self.backend} is closed")
        if self._process is not None and self._process.dead:  # it died between two calls
            self._fail()
        if self._process is not None:
            return self._process
        self.unreachable = ""
        try:
            process = HostProcess(
                self._command,
                self._env,
                memory=self.memory,
                shared=self._shared_memory,
                remote=self.remote,
            )
        except UnavailableError as error:
            self.unreachable = str(error)
            raise
        self._process = process
        # Also at interpreter exit, and when nobody holds the host any more.
        self._end = weakref.finalize(self, process.end)
        loaded = False
        try:
            try:
                process.greet(_START_LIMIT)
            except UnavailableError as error:
                self.unreachable = str(error)
                raise
            self.restarts += self._died
            self._died = False
            reply, _ = self._call(process, "load", {}, (), max(limit, self.timeout))
            known = {a.value: a for a in Ability}
            with self._reading(process):
                self._abilities = frozenset(known[a] for a in reply["abilities"] if a in known)
            process.watch.rest()
            loaded = True
        finally:
            if not loaded:
                self._discard()
        return process

    def _call(
        self,
        process: HostProcess,
        operation: str,
        request: dict[str, Any],
        parts: Sequence[memoryview],
        limit: float,
        region: Region | None = None,
    ) -> tuple[dict[str, Any], memoryview]:
        """One request and its answer, with the process watched. `request` is filled in."""
        self._sequence += 1
        request |= {"op": operation, "seq": self._sequence, "limit": limit}
        if process.dropped:
            request["drop"] = [process.dropped.popleft() for _ in range(len(process.dropped))]
        failure: Exception | None = None
        answered = False
        label = "run" if operation == "take" else operation
        process.limit_memory(self.memory)
        process.watch.arm(label, limit)
        try:
            self._send(process, request, parts)
            reply, payload = process.channel.receive()
            if reply.get("seq") != self._sequence:
                raise ProtocolError("an answer to another request")
            answered = True
        except (EOFError, OSError, ProtocolError) as error:
            failure = error
            answered = True
        finally:
            verdict = process.watch.disarm()
            if not answered:  # Ctrl-C: nobody will read the answer that is still to come
                process.kill()
                self._fail()
        if failure or verdict:
            cause = process.autopsy(label, failure, verdict)
            self._fail()
            raise cause
        if "error" in reply:
            with self._reading(process):
                told = codec.unpack_error(reply["error"])
            raise told
        return reply, payload

    def _send(
        self, process: HostProcess, request: dict[str, Any], parts: Sequence[memoryview]
    ) -> None:
        shared: dict[int, int] = {}
        indices = large(parts) if process.files else []
        if indices and process.files:
            offsets = process.files.input.write([parts[i] for i in indices])
            shared = dict(zip(indices, offsets or (), strict=False))
        listed, inline = describe(parts, shared)
        request["parts"] = listed
        process.channel.send(request, inline)

    def _size(self, process: HostProcess, need: Any) -> int:
        """The size of results that a process asks room for, if it may have it."""
        with self._reading(process):
            size = int(need)
            if size <= 0:
                raise ValueError(f"results of {size} bytes")
        if size <= self.memory:
            return size
        process.kill()
        self._fail()
        raise MemoryLimitError(f"grew past {amount(self.memory)} in run: its results are larger")

    @contextlib.contextmanager
    def _reading(self, process: HostProcess) -> Iterator[None]:
        """An answer that does not have the form it should have ends the process."""
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, ProtocolError) as error:
            process.kill()
            self._fail()
            raise ProtocolError(f"a malformed answer: {error}") from None

    def _subject(self, device: Device | str, model: Model) -> dict[str, Any]:
        # A folder of this machine is none over there.
        folder = None if model.folder is None or self.remote else str(model.folder)
        if isinstance(device, str):
            named: Any = self._id_there(device)
        else:
            named = codec.pack_device(self._there(device))
        return {"device": named, "folder": folder}

    def _there(self, device: Device) -> Device:
        """The device as the served side knows it."""
        return dataclasses.replace(device, id=self._id_there(device.id)) if self.remote else device

    def _id_there(self, device_id: str) -> str:
        return device_id.removeprefix(f"{self.remote}/") if self.remote else device_id

    def _fail(self) -> None:
        self._died = True
        self._discard()

    def _discard(self) -> None:
        self._process = None
        if self._end is not None:
            self._end()
            self._end = None
