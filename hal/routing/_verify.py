"""Now and then, a request is repeated on the reference, and the answers are compared."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from hal.arrays import value_of
from hal.compare import relative_l2
from hal.errors import HalError
from hal.graph import Signature
from hal.model import Model
from hal.plugins import load_plugins
from hal.reference import Reference

__all__ = ["Verifier"]

_log = logging.getLogger("hal.session")


class Verifier:
    """Compares answers with those of another engine than that of the device `candidate`.

    An output may be off by what the model's conditioning admits, as the first request shows it, or
    by `accuracy` (relative L2) where that is more.
    """

    def __init__(
        self, model: Model, signature: Signature, *, candidate: str, accuracy: float | None
    ) -> None:
        self._model, self._candidate = model, candidate
        self._infos = {i.name: i for i in (*signature.inputs, *signature.defaults)}
        self._types = {i.name: i for i in signature.outputs}
        self._accuracy = accuracy or 0.0
        self._reference: Reference | None = None
        self._tolerances: dict[str, float] = {}
        self._impossible = False
        self._lock = threading.Lock()

    def __call__(self, feeds: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
        """What is wrong with the outputs; "" if nothing is, or if nobody can tell."""
        with self._lock:
            if self._impossible:
                return ""
            try:
                return self._compared(feeds, outputs)
            except HalError as error:
                self._impossible = True
                _log.warning("answers are not verified any more: %s", error)
                return ""

    def close(self) -> None:
        """End the reference's processes."""
        with self._lock:
            self._impossible = True
            if self._reference is not None:
                self._reference.close()

    def _compared(self, feeds: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
        if self._reference is None:
            self._reference = Reference(load_plugins(), self._model, candidate=self._candidate)
        inputs = {
            name: value_of(self._infos[name], given)
            for name, given in feeds.items()
            if given is not None
        }
        run = self._reference.run(inputs, conditioning=not self._tolerances)
        if not self._tolerances:
            self._tolerances = {name: run.tolerance(name) for name in run.outputs}
        for name, given in outputs.items():
            error = relative_l2(run.outputs[name], value_of(self._types[name], given))
            allowed = max(self._tolerances[name], self._accuracy)
            if not error <= allowed:
                return (
                    f"output {name!r} is off by {error:.2g} from {run.engine}, "
                    f"allowed {allowed:.2g}"
                )
        return ""
