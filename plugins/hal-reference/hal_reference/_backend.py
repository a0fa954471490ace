"""The seam: what the evaluator has kernels for, and a model as an evaluator."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hal import Device, Evidence, Model, Placement, Support, UnsupportedNode, Value
from hal.errors import (
    ExecutionError,
    ModelError,
    SkewError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from hal_reference._values import to_python, to_value

if TYPE_CHECKING:
    from hal.backend import Option

__all__ = ["ReferenceBackend", "ReferenceExecutable"]

_KERNELS = {
    "": "onnx.reference.ops",
    "ai.onnx.ml": "onnx.reference.ops.aionnxml",
    "ai.onnx.preview": "onnx.reference.ops.aionnx_preview",
    "ai.onnx.preview.training": "onnx.reference.ops.aionnx_preview_training",
    "experimental": "onnx.reference.ops.experimental",
}
"""The module of each domain's kernels; onnx before 1.23 has none for ai.onnx.preview."""

_NEEDS = {"ImageDecoder": ("PIL", "Pillow")}
"""Operators whose kernels import a module that onnx does not depend on, and what brings it."""


class ReferenceBackend:
    """See `hal.Backend`. Raises UnavailableError when the installed onnx cannot be imported."""

    def __init__(self) -> None:
        try:
            self._onnx = importlib.import_module("onnx")
            self._reference = importlib.import_module("onnx.reference")
        except ImportError as error:
            raise UnavailableError(
                f"onnx is installed, but cannot be imported: {error}",
                next_step="pip install --force-reinstall onnx",
            ) from error

    def devices(self) -> Sequence[Device]:
        """The one device, `reference:cpu`."""
        return (
            Device(
                id="reference:cpu",
                kind="cpu",
                name="ONNX reference evaluator",
                versions={"onnx": self._onnx.__version__, "numpy": np.__version__},
            ),
        )

    def supports(self, device: Device, model: Model) -> Support:
        """Which nodes have no kernel, those of subgraphs and local functions included. Raises
        SkewError for an opset or IR version that the installed onnx does not know, ModelError for
        bytes that are no model."""
        return Support(tuple(self._unsupported(self._parse(model))))

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> ReferenceExecutable:
        """An evaluator of the model. Raises what `supports` raises, UnsupportedError with every
        node that has no kernel, and UsageError for an option, because there are none."""
        for option in options:
            raise UsageError(f"{device.id} has no option {option!r}: it has none at all")
        proto = self._parse(model)
        if missing := list(self._unsupported(proto)):
            reasons = dict.fromkeys(f"{n.operator}: {n.reason}" for n in missing)
            raise UnsupportedError(", ".join(reasons), nodes=[n.node for n in missing])
        self._load_external_data(proto, model)
        with _not_implemented_is_unsupported():
            evaluator = self._reference.ReferenceEvaluator(proto)
        return ReferenceExecutable(
            evaluator,
            {i.name: i.type for i in proto.graph.input},
            {o.name: o.type for o in proto.graph.output},
            Placement.everywhere(
                [n.name for n, _ in _nodes_of_model(proto)], device.id, Evidence.SOLE
            ),
        )

    def _parse(self, model: Model) -> Any:
        proto = self._onnx.ModelProto()
        try:
            proto.ParseFromString(model.data)
        except Exception as error:  # noqa: BLE001 (protobuf's DecodeError is not onnx's to import)
            raise ModelError(f"not an ONNX model: {error}") from None
        if not proto.HasField("graph"):
            raise ModelError("not an ONNX model: it has no graph")
        for imported in proto.opset_import:
            imported.domain = _domain(imported.domain)
        for node, _ in _nodes_of_model(proto):
            node.domain = _domain(node.domain)
        self._refuse_skew(proto)
        return proto

    def _refuse_skew(self, proto: Any) -> None:
        version = self._onnx.__version__
        if proto.ir_version > self._onnx.IR_VERSION:
            raise SkewError(
                f"IR version {proto.ir_version}, onnx {version} goes up to {self._onnx.IR_VERSION}",
                next_step="pip install --upgrade onnx",
            )
        newest = {
            "": self._onnx.defs.onnx_opset_version(),
            "ai.onnx.ml": self._onnx.defs.onnx_ml_opset_version(),
        }
        for domain, opset in _opsets(proto).items():
            if opset > newest.get(domain, opset):
                raise SkewError(
                    f"opset {opset} of {domain or 'ai.onnx'}, onnx {version} goes up to "
                    f"{newest[domain]}",
                    next_step="pip install --upgrade onnx",
                )

    def _unsupported(self, proto: Any) -> Iterator[UnsupportedNode]:
        local = {(f.domain, f.name) for f in proto.functions}
        for node, opsets in _nodes_of_model(proto):
            domain = node.domain
            if (domain, node.op_type) in local:
                continue
            version, reason = self._missing_kernel(domain, node.op_type, opsets.get(domain))
            if reason:
                name = f"{domain}::{node.op_type}" if domain else node.op_type
                yield UnsupportedNode(node.name, f"{name}-{version}" if version else name, reason)

    def _missing_kernel(self, domain: str, op_type: str, opset: int | None) -> tuple[int, str]:
        """The operator's version, 0 if unknown, and why it has no kernel, "" if it has one."""
        if opset is None:
            return 0, f"the model imports no opset of {domain or 'ai.onnx'}"
        if domain not in _KERNELS:
            return 0, f"onnx knows no domain {domain!r}"
        try:
            version = self._onnx.defs.get_schema(op_type, opset, domain).since_version
        except self._onnx.defs.SchemaError:
            if domain != "experimental":  # whose kernels have no schema
                return 0, f"no such operator in opset {opset} of {domain or 'ai.onnx'}"
            version = opset
        try:
            kernels = importlib.import_module(_KERNELS[domain])
            evaluator = {} if domain else {"evaluator_cls": self._reference.ReferenceEvaluator}
            kernels.load_op(domain, op_type, opset, **evaluator)
        except self._reference.op_run.RuntimeContextError:
            return version, ""  # a function whose body depends on the types that the node is given
        except (ImportError, NotImplementedError, RuntimeError):
            return version, "the reference evaluator has no kernel for it"
        module, distribution = _NEEDS.get(op_type, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            return version, f"its kernel needs {distribution} (pip install {distribution})"
        return version, ""

    def _load_external_data(self, proto: Any, model: Model) -> None:
        external = importlib.import_module("onnx.external_data_helper")
        if not any(external.uses_external_data(tensor) for tensor in _tensors(proto)):
            return
        if model.folder is None:
            raise ModelError("the model has external data, and no folder is known to hold it")
        try:
            external.load_external_data_for_model(proto, str(model.folder))
        except (OSError, ValueError, self._onnx.checker.ValidationError) as error:
            raise ModelError(f"external data: {error}") from None


class ReferenceExecutable:
    """See `hal.PlacedExecutable`. Not thread-safe: it silences warnings process-wide."""

    def __init__(
        self,
        evaluator: Any,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        placement: Placement,
    ) -> None:
        self._evaluator = evaluator
        self._inputs = inputs
        self._outputs = outputs
        self._placement = placement

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        """See `hal.Executable.run`. Raises ExecutionError for an output that is no ONNX value."""
        if self._evaluator is None:
            raise ExecutionError("the executable is closed")
        feeds = {name: to_python(value) for name, value in inputs.items()}
        for name, proto in self._inputs.items():
            if proto.HasField("optional_type"):
                feeds.setdefault(name, None)
        # Overflow, 0/0 and the like have results that the specification asks for.
        with (
            _not_implemented_is_unsupported(),
            np.errstate(all="ignore"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            results = self._evaluator.run(None, feeds)
        return {
            name: to_value(result, proto, name)
            for (name, proto), result in zip(self._outputs.items(), results, strict=True)
        }

    def placement(self) -> Placement:
        """Every node on `reference:cpu`: the evaluator has nothing else to run it on."""
        return self._placement

    def close(self) -> None:
        """Drop the evaluator and its weights."""
        self._evaluator = None


@contextlib.contextmanager
def _not_implemented_is_unsupported() -> Iterator[None]:
    """A kernel may lack a part of its operator, or a function's body an operator."""
    try:
        yield
    except NotImplementedError as error:
        raise UnsupportedError(str(error).partition("\n")[0]) from error


def _domain(name: str) -> str:
    """The evaluator knows the default domain by its short name only."""
    return "" if name == "ai.onnx" else name


def _opsets(proto: Any) -> dict[str, int]:
    """The versions that a model or a function imports, by domain; "" is ai.onnx."""
    return {_domain(o.domain): o.version for o in proto.opset_import}


def _nodes_of_model(proto: Any) -> Iterator[tuple[Any, dict[str, int]]]:
    """Every node with the opsets it is read in: the graph's, then those of local functions."""
    for node in _nodes(proto.graph):
        yield node, _opsets(proto)
    for function in proto.functions:
        for node in _nodes(function):
            yield node, _opsets(function)


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph or a function, each followed by those of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for subgraph in attribute.graphs:
                yield from _nodes(subgraph)


def _tensors(proto: Any) -> Iterator[Any]:
    """Every tensor that may hold external data: initializers and attributes, subgraphs included."""
    yield from proto.graph.initializer
    for node, _ in _nodes_of_model(proto):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer
