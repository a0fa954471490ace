"""A model compiled for the Hexagon NPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hal_onnxruntime.session import OrtExecutable, Record, placed

from hal.graph import read_model
from hal.model import Model
from hal.placement import Placement
from hal_qnn import _compat

__all__ = ["CPU", "QnnExecutable"]

CPU = {"CPUExecutionProvider": "ort:cpu"}
"""Whose device onnxruntime's other provider in every session is."""


class QnnExecutable(OrtExecutable):
    """Runs one session, whose assignment is `records`: its own or, for a compiled context, which
    has one node, that of the session that compiled it."""

    def __init__(
        self, session: Any, model: Model, provider: str, device: str, records: Sequence[Record]
    ) -> None:
        devices = {**CPU, provider: device}
        super().__init__(session, model, device, devices)
        self._records = tuple(records)
        self._known = devices

    def placement(self) -> Placement:
        """Where each node runs, by onnxruntime's record of its assignment."""
        graph = read_model(self._model)
        names = (node.name for node in graph.graph.nodes)
        records = _compat.without_layout(self._records, names)
        return placed(self._model, records, self._device, self._known)
