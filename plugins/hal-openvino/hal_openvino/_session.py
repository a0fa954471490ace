"""A model compiled by OpenVINO for one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hal.arrays import BoundRun, bound_values, check_feeds, run_by_values
from hal.errors import ExecutionError, UnfedError, UsageError
from hal.graph import Graph, Signature
from hal.placement import Placement
from hal.tensor import Value
from hal_openvino._bound import BoundRequest
from hal_openvino._errors import explain
from hal_openvino._forms import Form, Forms
from hal_openvino._placement import layers, placed
from hal_openvino._values import copied, feed, over, plain_dtype, taken

__all__ = ["OpenVinoExecutable"]


class OpenVinoExecutable:
    """Runs one compiled model; every thread that is in `run` has an infer request of its own.

    `forms` has a compiled model for shapes that come again and again, where dimensions are open.
    """

    def __init__(self, usual: Form, graph: Graph, device: str, forms: Forms | None = None) -> None:
        self._usual: Form | None = usual
        self._forms = forms
        self._graph = graph
        self._device = device
        self._signature = Signature.of(graph)
        inputs = [(info.name, plain_dtype(info.type)) for info in self._signature.inputs]
        plain = all(dtype is not None for _, dtype in inputs)
        plain &= all(plain_dtype(info.type) is not None for info in graph.outputs)
        # What `run_numpy` feeds; None where a value is no array that both sides have.
        self._feeds = inputs if plain and not self._signature.defaults else None

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once. Raises UnfedError for a value that OpenVINO's API cannot take."""
        form = self._form(inputs)
        missing = [name for name in form.inputs if name not in inputs]
        if missing:
            # The request would run on what its memory happens to hold.
            raise ExecutionError(f"no value for input {', '.join(missing)}")
        given = {name: feed(name, value) for name, value in inputs.items()}
        request = form.request()
        try:
            for name, tensor in given.items():
                port = form.inputs.get(name)
                if port is not None:
                    request.set_tensor(port, tensor)
                elif name in self._graph.initializers:
                    raise UnfedError(
                        f"input {name!r}: OpenVINO has made its initializer a constant"
                    )
            request.infer(share_outputs=True)  # or it copies every output
            results: dict[str, Value] = {
                n: taken(n, request.get_tensor(p)) for n, p in form.outputs.items()
            }
        except RuntimeError as error:
            raise explain(error) from error
        form.idle.append(request)
        return results

    def run_numpy(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """See `hal.NumpyExecutable`."""
        form = self._form(feeds)
        if self._feeds is None:
            return run_by_values(self.run, self._signature, names, feeds, shared=False)
        request = form.request()
        try:
            held = []  # the request keeps no hold of an array's memory
            ports = form.inputs
            for name, dtype in self._feeds:
                array = feeds[name]
                if array.dtype != dtype:
                    raise UsageError(f"input {name!r}: expected {dtype}, got {array.dtype}")
                port = ports.get(name)
                if port is not None:
                    tensor = over(array, port)
                    held.append(tensor)
                    request.set_tensor(port, tensor)
            if len(feeds) != len(self._feeds):
                check_feeds(self._signature, names, feeds)
            request.infer(share_outputs=True)
            results = [
                copied(request.get_tensor(form.outputs[name])) for name in names or form.outputs
            ]
        except RuntimeError as error:
            raise explain(error) from error
        except (KeyError, AttributeError, TypeError) as error:
            check_feeds(self._signature, names, feeds)  # which says what is wrong with them
            raise ExecutionError(f"{type(error).__name__}: {error}") from error
        form.idle.append(request)
        return results

    def bind(self, inputs: Mapping[str, Any]) -> BoundRequest | BoundRun:
        """See `hal.BindableExecutable`. Outputs are the request's own memory, which every run
        writes over."""
        if self._usual is None:
            raise ExecutionError("the executable is closed")
        values = bound_values(self._signature, inputs)
        form = self._form(values)
        if self._feeds is None:
            return BoundRun(tuple(form.outputs), lambda: self.run_numpy(None, values))
        given = {p: feed(n, v) for n, v in values.items() if (p := form.inputs.get(n)) is not None}
        return BoundRequest(form.request(), given, form.outputs)

    def placement(self) -> Placement:
        """Where each node ran, by the names in the compiled model's layers."""
        if self._usual is None:
            raise ExecutionError("the executable is closed")
        return placed(self._graph, layers(self._usual.compiled.get_runtime_model()), self._device)

    def close(self) -> None:
        """Let the compiled models and their requests go; their memory is freed with them."""
        self._usual = self._forms = None

    def _form(self, given: Mapping[str, Any]) -> Form:
        usual, forms = self._usual, self._forms
        if usual is None:
            raise ExecutionError("the executable is closed")
        if forms is None:
            return usual
        return forms.of(given) or usual
