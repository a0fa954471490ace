"""A compiled model with its inputs in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hal_openvino._errors import explain

__all__ = ["BoundRequest"]


class BoundRequest:
    """See `hal.backend.BoundExecutable`: an infer request of its own."""

    def __init__(self, request: Any, inputs: Mapping[Any, Any], outputs: Mapping[str, Any]) -> None:
        self.names: Sequence[str] = tuple(outputs)
        self._request = request
        self._held = dict(inputs)  # the request keeps no hold of their memory
        self._ports = tuple(outputs.values())
        try:
            for port, tensor in inputs.items():
                request.set_tensor(port, tensor)
        except RuntimeError as error:
            raise explain(error) from error

    def run(self) -> list[Any]:
        """Views of the request's outputs."""
        try:
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            raise explain(error) from error
        return [self._request.get_tensor(port).data for port in self._ports]
