"""One model in a host process, timed in blocks."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Mapping

from hal import Device, Model
from hal._memory import forget_peak, resident
from hal.backend import Option
from hal.errors import HalError, HostError
from hal.host import Host, HostedExecutable
from hal.tensor import Value
from hal.timing import CALLS, DISCARDED

__all__ = ["Measured", "Timed"]

_BLOCK = 0.03
"""Seconds that the timed calls of a block take together at least, where each is short."""
_MOST = 2000
"""The most calls in a block."""


@dataclasses.dataclass
class Measured:
    """What was measured of a model on a device: the medians of the blocks in seconds, the bytes
    that it took, and why it cannot be timed, "" while it can."""

    blocks: list[float] = dataclasses.field(default_factory=list)
    memory: int | None = None
    reason: str = ""


class Timed:
    """A model on a device, from its compiling to its closing; `measured` is added to."""

    def __init__(
        self,
        host: Host,
        device: Device,
        model: Model,
        inputs: Mapping[str, Value],
        options: Mapping[str, Option],
        measured: Measured,
    ) -> None:
        self.measured = measured
        self._host, self._device, self._model = host, device, model
        self._inputs, self._options = inputs, options
        self._executable: HostedExecutable | None = None
        self._once = 0.0

    def prepare(self) -> None:
        """Compile, and run once."""
        with self._noted():
            self._host.ping()
            here = not self._host.remote and forget_peak(self._host.pid)
            before = resident(self._host.pid, "VmRSS")
            self._compile()
            if here and self.measured.memory is None:
                self.measured.memory = max(0, resident(self._host.pid, "VmHWM") - before)

    def block(self) -> float:
        """One block more; its median, also kept. 0 where it cannot be timed."""
        if self.measured.reason:
            return 0.0
        with self._noted():
            try:
                seconds = self._calls()
            except HostError:  # another model may have killed the host, so once more
                self._compile()
                seconds = self._calls()
            self.measured.blocks.append(statistics.median(seconds))
            return self.measured.blocks[-1]
        return 0.0

    def close(self) -> None:
        if self._executable is not None:
            with contextlib.suppress(HalError):
                self._executable.close()
            self._executable = None

    def _compile(self) -> None:
        self._executable = self._host.compile(self._device, self._model, self._options)
        # The first run may still compile or allocate; the second tells how long one takes.
        seconds, _ = self._executable.time(self._inputs, calls=1, discarded=1, bound=True)
        self._once = seconds[0]

    def _calls(self) -> list[float]:
        if self._executable is None:
            raise RuntimeError("not prepared")
        calls = max(CALLS, min(_MOST, round(_BLOCK / max(self._once, 1e-7))))
        return self._executable.time(self._inputs, calls=calls, discarded=DISCARDED, bound=True)[0]

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except HalError as error:
            self.measured.reason = " ".join(str(error).split())[:200]
            self.measured.blocks.clear()
