"""The parent's side of an executable in a host process."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hal.backend import Ability
from hal.errors import CrashError, ProtocolError, UnsupportedError, UsageError
from hal.host import _codec as codec
from hal.host._parts import locate
from hal.host._process import HostProcess
from hal.host._shared import Region
from hal.placement import Placement
from hal.tensor import Value
from hal.timing import CALLS, DISCARDED

if TYPE_CHECKING:
    from hal.host._host import Host

__all__ = ["HostedExecutable"]


class HostedExecutable:
    """An executable in a host process. `abilities` are those that its backend declares.

    It lives as long as the process: once that has ended, every call raises CrashError.
    """

    def __init__(
        self, host: Host, process: HostProcess, number: int, abilities: frozenset[Ability]
    ) -> None:
        self.abilities = abilities
        self._host = host
        self._process = process
        self._number = number
        self._size = 0  # bytes of shared memory that the last results took
        self._forget = weakref.finalize(self, process.dropped.append, number)
        self._forget.atexit = False

    def run(self, inputs: Mapping[str, Value], timeout: float | None = None) -> dict[str, Value]:
        """Run once; see `hal.Executable.run`. Large results view shared memory, which is theirs
        until the last view of them is gone."""
        host, process = self._host, self._alive()
        limit = host.timeout if timeout is None else timeout
        parts: list[memoryview] = []
        request: dict[str, Any] = {
            "executable": self._number,
            "inputs": codec.pack_values(inputs, parts),
        }
        output = process.files.output if process.files else None
        region = output.offer(self._size) if output and self._size else None
        used = False
        try:
            if region:
                request["region"] = region
            reply, payload = host._call(process, "run", request, parts, limit)
            if "need" in reply:
                if output and region:
                    output.release(region)
                size = host._size(process, reply["need"])
                region = output.offer(size) if output else None
                take: dict[str, Any] = {"region": region, "inline": region is None}
                reply, payload = host._call(process, "take", take, (), limit)
            with host._reading(process):
                listed = reply["parts"]
                view = None
                if output and region and any(part[0] == 1 for part in listed):
                    view, used = _viewer(output.accept(region), region), True
                self._size = region[1] if used and region else 0
                return codec.unpack_values(reply["outputs"], locate(listed, payload, view))
        finally:
            if output and region and not used:
                output.release(region)

    def time(
        self,
        inputs: Mapping[str, Value],
        *,
        calls: int = CALLS,
        discarded: int = DISCARDED,
        streams: int = 1,
        bound: bool = False,
        timeout: float | None = None,
    ) -> tuple[list[float], float]:
        """The seconds of each of `calls` runs within the process, `discarded` of them before it not
        counted, and the seconds that all took; `streams` threads make as many calls each. `bound`:
        the inputs are bound first where the backend declares BIND, else it is a run as usual."""
        host, process = self._host, self._alive()
        limit = host.timeout if timeout is None else timeout
        parts: list[memoryview] = []
        request: dict[str, Any] = {
            "executable": self._number,
            "inputs": codec.pack_values(inputs, parts),
            "calls": calls,
            "discarded": discarded,
            "streams": streams,
            "bound": bound,
        }
        reply, _ = host._call(process, "time", request, parts, limit)
        with host._reading(process):
            return [float(second) for second in reply["seconds"]], float(reply["elapsed"])

    def placement(self, timeout: float | None = None) -> Placement:
        """Where each node runs. Raises UnsupportedError unless the backend declares PLACEMENT."""
        process = self._alive()
        if Ability.PLACEMENT not in self.abilities:
            raise UnsupportedError(f"{self._host.backend} does not report placement")
        limit = self._host.timeout if timeout is None else timeout
        request = {"executable": self._number}
        reply, _ = self._host._call(process, "placement", request, (), limit)
        with self._host._reading(process):
            return _abroad(codec.unpack_placement(reply["placement"]), self._host.remote)

    def close(self, timeout: float | None = None) -> None:
        """Free what the executable holds. Nothing to do when its host has ended."""
        if not self._forget.detach() or self._host._process is not self._process:
            return
        limit = self._host.timeout if timeout is None else timeout
        request = {"executable": self._number}
        self._host._call(self._process, "close", request, (), limit)

    def _alive(self) -> HostProcess:
        if self._host._process is not self._process:
            raise CrashError("its host ended; compile it again")
        if not self._forget.alive:
            raise UsageError("this executable is closed")
        return self._process


def _viewer(root: Any, region: Region) -> Callable[[int, int], memoryview]:
    whole = memoryview(root)

    def view(offset: int, size: int) -> memoryview:
        start = offset - region[0]
        if start < 0 or start + size > region[1]:
            raise ProtocolError("results outside the region that was offered")
        return whole[start : start + size]

    return view


def _abroad(placement: Placement, remote: str) -> Placement:
    """The places, all on the machine `remote` if that is another than this."""
    if not remote:
        return placement
    return Placement(
        tuple(
            n if n.folded else dataclasses.replace(n, device=f"{remote}/{n.device}")
            for n in placement.nodes
        )
    )
