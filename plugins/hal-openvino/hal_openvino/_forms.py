"""Compiled models of one model: the usual one, and those for shapes that come again and again.

OpenVINO plans memory and picks kernels at compile time only for shapes that it knows; a model with
open dimensions does that in every call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from hal.errors import HalError
from hal.graph import Graph
from hal_openvino._ports import input_ports, output_ports

__all__ = ["Form", "Forms"]

_USES = 3
"""Calls with the same shapes before they get a compiled model."""
_GROWTH = 4
"""How many times as many the next shapes need: compiling stays a small part of running."""
_KEPT = 4
"""Compiled models beside the usual one; each holds the weights once more."""
_COUNTED = 1024
"""Shapes that are counted at once."""

Shapes = tuple[tuple[int, ...], ...]


class Form:
    """One compiled model, with its ports by ONNX's names and the infer requests that are free."""

    def __init__(self, compiled: Any, graph: Graph) -> None:
        self.compiled = compiled
        self.inputs = input_ports(compiled, graph)
        self.outputs = output_ports(compiled, graph)
        self.idle: list[Any] = []

    def request(self) -> Any:
        """An infer request of the caller's own, until it is put back into `idle`."""
        try:
            return self.idle.pop()  # atomic, as append is
        except IndexError:
            return self.compiled.create_infer_request()


class Forms:
    """The compiled models for shapes that came often. `make` compiles one for given shapes of the
    inputs `names`, which are those with open dimensions."""

    def __init__(self, names: tuple[str, ...], make: Callable[[Mapping[str, Any]], Form]) -> None:
        self._names, self._make = names, make
        self._forms: dict[Shapes, Form | None] = {}
        self._uses: dict[Shapes, int] = {}
        self._needed = _USES
        self._lock = threading.Lock()

    def of(self, given: Mapping[str, Any]) -> Form | None:
        """The compiled model for values or arrays of these shapes; None: the usual one."""
        try:
            shapes = tuple([given[name].shape for name in self._names])
        except (KeyError, AttributeError):
            return None  # whoever runs says what is wrong with them
        try:
            return self._forms[shapes]
        except KeyError:
            return self._counted(shapes)

    def _counted(self, shapes: Shapes) -> Form | None:
        if len(self._uses) >= _COUNTED:
            self._uses.clear()
        uses = self._uses[shapes] = self._uses.get(shapes, 0) + 1
        if uses < self._needed or not self._lock.acquire(blocking=False):
            return None
        try:
            if shapes not in self._forms:
                self._needed *= _GROWTH
                self._uses.clear()
                while len(self._forms) >= _KEPT:
                    del self._forms[next(iter(self._forms))]
                try:
                    self._forms[shapes] = self._make(dict(zip(self._names, shapes, strict=True)))
                except (RuntimeError, HalError):  # the usual one goes on, or says what is wrong
                    self._forms[shapes] = None
            return self._forms[shapes]
        finally:
            self._lock.release()
