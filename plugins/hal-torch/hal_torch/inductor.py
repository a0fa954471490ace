"""`mode="compile"`: the program traced to a graph of PyTorch's operators, and made into code.

A trace runs the program once over tensors without values, one set of input shapes at a time, so
that the shape arithmetic is done and gone before TorchInductor sees the graph; the weights are its
constants, which it folds into each other and lays out anew ("freezing"). TorchInductor is called
without TorchDynamo, which would make arguments of the weights and guard every call. What the values
decide (NonZero, a Loop's condition, strings) cannot be traced, and such a program runs as in eager
mode.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["LIMIT", "CompiledProgram"]

Program = Callable[[list[Any]], tuple[Any, ...]]
_log = logging.getLogger(__name__)

LIMIT = 16
"""Sets of input shapes that a program is compiled for; further ones run as in eager mode."""


_SETTINGS = {"freezing": True, "size_asserts": False, "alignment_asserts": False}
"""TorchInductor's, for one compilation. Its checks of its own buffers cost microseconds a call."""


class CompiledProgram:
    """A program that is compiled for each set of input shapes, when they are first met."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._compiled: dict[Hashable, Program] = {}
        self._lock = threading.Lock()
        self.reason = ""
        """Why the program runs as in eager mode, if it does."""

    def __call__(self, values: list[Any]) -> tuple[Any, ...]:
        if self.reason:
            return self._program(values)
        # The code is made for a number of threads, too.
        key = (torch.get_num_threads(), *[_key(v) for v in values])
        found = self._compiled.get(key)
        if found is None:
            found = self._compile(key, values)
        return found(values)

    def _compile(self, key: Hashable, values: list[Any]) -> Program:
        with self._lock:
            if key in self._compiled:
                return self._compiled[key]
            if len(self._compiled) >= LIMIT:
                return self._program
            graph = self._traced(values)
            made = None if graph is None else self._made(graph, values)
            if made is None:
                _log.warning("mode 'compile' runs this model as in eager mode: %s", self.reason)
                return self._program
            self._compiled[key] = made
            return made

    def _traced(self, values: list[Any]) -> torch.fx.GraphModule | None:
        if not all(v is None or isinstance(v, torch.Tensor) for v in values):
            self.reason = "it takes sequences, maps or strings"
        else:
            try:
                # Constants are real tensors, and stay so: they are what is frozen.
                trace = make_fx(
                    lambda *xs: self._program(list(xs)),
                    tracing_mode="fake",
                    _allow_non_fake_inputs=True,
                )
                with torch.inference_mode(False), torch.no_grad():
                    graph = trace(*(_plain(v) for v in values))
                outputs: Any = graph.graph.output_node().args[0]
                if all(isinstance(o, torch.fx.Node) for o in outputs):
                    return graph
                self.reason = "it gives sequences, strings or constants"
            except Exception as error:  # noqa: BLE001 (a trace fails in as many ways as kernels do)
                self.reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return None

    def _made(self, graph: torch.fx.GraphModule, values: list[Any]) -> Program | None:
        try:
            # What torch deprecates in itself is not the user's.
            with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
                warnings.simplefilter("ignore")
                made: Any = torch._inductor.compile(
                    graph, [_plain(v) for v in values], options=dict(_SETTINGS)
                )
        except Exception as error:  # noqa: BLE001 (no C++ compiler, or a bug of TorchInductor)
            self.reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            return None
        return lambda values: tuple(made(*values))


def _key(value: Any) -> Hashable:
    if isinstance(value, torch.Tensor):
        return (value.shape, value.dtype, value.stride())
    return None  # absent: sequences, maps and strings are not compiled for


def _plain(value: Any) -> Any:
    """A tensor that a trace may take: not one of inference mode."""
    return value.clone() if isinstance(value, torch.Tensor) and value.is_inference() else value
