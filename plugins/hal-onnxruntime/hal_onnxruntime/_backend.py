"""The backend `ort`: its devices, what they support, and how a model is compiled for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnxruntime

from hal.backend import Option, Support, UnsupportedNode
from hal.device import Device
from hal.errors import (
    BackendError,
    FallbackError,
    UnavailableError,
    UnsupportedError,
    UsageError,
    did_you_mean,
)
from hal.graph import read_model
from hal.model import Model
from hal_onnxruntime._options import provider_options, session_options
from hal_onnxruntime._placement import all_nodes, assignment
from hal_onnxruntime._providers import CPU, NO_DEVICE, PROVIDERS, Provider, of_name
from hal_onnxruntime._session import OrtExecutable, open_session
from hal_onnxruntime._start import device_id, found_devices

__all__ = ["OrtBackend"]


class OrtBackend:
    """Every execution provider of the installed onnxruntime as a device."""

    def devices(self) -> Sequence[Device]:
        """Each provider, tried with a one-node model; one that does not start says why."""
        devices = tuple(found_devices())
        if all(device.unavailable for device in devices):
            reasons = "; ".join(device.unavailable for device in devices)
            raise UnavailableError(
                reasons or "onnxruntime offers no provider", next_step="hal doctor ort"
            )
        return devices

    def supports(self, device: Device, model: Model) -> Support:
        """What the runtime says when it assigns the nodes: on a device that is not the CPU every
        node that it would leave to the CPU; of the operators without a kernel the first alone,
        because it stops there. Raises the errors of `compile` that are about no node."""
        row, index = _row(device)
        options = session_options({}, model, refuse_fallback=False)
        try:
            session = open_session(model.data, options, row.provider, _chosen(row, index, {}))
        except UnsupportedError as error:
            return Support(_unsupported(model, dict.fromkeys(error.nodes or ("",), str(error))))
        left = {
            name: f"{row.provider} leaves it to {provider}"
            for name, _, provider in assignment(session)
            if provider != row.provider
        }
        return Support(_unsupported(model, left))

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> OrtExecutable:
        """A session on the device's provider, with nothing left to the CPU's on any other device.

        Options: intra_op_threads, inter_op_threads (counts, 0: onnxruntime's choice),
        graph_optimization (all, extended, basic, disabled), execution_mode (sequential, parallel),
        and ep.KEY for the provider's own. Raises UsageError for others, FallbackError where the
        provider would leave nodes to the CPU.
        """
        row, index = _row(device)
        if model.folder is not None:
            read_model(model)  # refuses external data outside the folder, which 1.23 would read
        made = session_options(options, model, refuse_fallback=row is not CPU)
        given = provider_options(options)
        if given and row is CPU:
            raise UsageError(f"{CPU.provider} has no options of its own, got {', '.join(given)}")
        chosen = _chosen(row, index, given)
        try:
            session = open_session(model.data, made, row.provider, chosen)
        except FallbackError as error:
            raise self._fallback(device, model, error) from error
        known = {CPU.provider: device_id(CPU, 0), row.provider: device.id}
        return OrtExecutable(session, model, device.id, known)

    def _fallback(self, device: Device, model: Model, error: FallbackError) -> FallbackError:
        """The refusal again, with the nodes at fault where a second look can tell them."""
        try:
            nodes = [node.node for node in self.supports(device, model).unsupported if node.node]
        except BackendError:
            return error
        if not nodes:
            return error
        first = ", ".join(repr(node) for node in nodes[:8]) + (", ..." if len(nodes) > 8 else "")
        return FallbackError(
            f"{device.id} would leave {len(nodes)} nodes to the CPU: {first}", nodes=nodes
        )


def _row(device: Device) -> tuple[Provider, int]:
    name, _, index = device.id.rpartition("/")[2].partition(":")[2].partition(":")
    available = tuple(p for p in onnxruntime.get_available_providers() if p not in NO_DEVICE)
    row = of_name(name, available)
    if row is None:
        known = [f"ort:{known.device}" for known in PROVIDERS if known.provider in available]
        raise UsageError(
            f"ort has no device {device.id!r}.{did_you_mean(device.id, known)}",
            next_step="hal devices",
        )
    if row.provider not in available:
        raise UnavailableError(
            f"{device.id}: this onnxruntime {onnxruntime.__version__} has no {row.provider}",
            next_step="install the onnxruntime wheel that has it",
        )
    return row, int(index or 0)


def _chosen(row: Provider, index: int, given: Mapping[str, str]) -> dict[str, str]:
    indexed = {row.index_option: str(index)} if row.index_option else {}
    return {**row.options, **indexed, **given}


def _unsupported(model: Model, reasons: Mapping[str, str]) -> tuple[UnsupportedNode, ...]:
    """`reasons` by node name, as nodes with their operators; a name of none keeps its reason."""
    if not reasons:
        return ()
    graph = read_model(model)
    nodes = {node.name: node for node in all_nodes(graph.graph)}
    if len(nodes) == 1 and "" in reasons:
        reasons = {next(iter(nodes)): reasons[""]}
    found = []
    for name, reason in reasons.items():
        node = nodes.get(name)
        operator = ""
        if node is not None:
            version = _version(node.domain, node.op_type, graph.opset_import.get(node.domain, 0))
            operator = f"{node.operator}-{version}" if version else node.operator
        found.append(UnsupportedNode(name, operator, reason))
    return tuple(found)


def _version(domain: str, op_type: str, opset: int) -> int:
    """The version of an operator that an opset means, as onnxruntime knows it; 0 if it does not."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    versions = [
        schema.since_version
        for schema in get_all_operator_schema()
        if schema.name == op_type and schema.domain == domain and schema.since_version <= opset
    ]
    return max(versions, default=0)
