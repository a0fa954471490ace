"""Where the nodes of a model ran, and how well that is known."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

__all__ = ["Evidence", "NodePlacement", "Placement"]


class Evidence(enum.Enum):
    """How well a placement is known, best first."""

    TRACED = "traced"
    """The runtime recorded the execution."""
    ASSIGNED = "assigned"
    """The runtime reports its own assignment, and fallback was refused."""
    SOLE = "sole"
    """The runtime has nothing else to run it on."""
    DECLARED = "declared"
    """The plugin says so."""


@dataclasses.dataclass(frozen=True)
class NodePlacement:
    """One node of the model: `device` is the id of the device that ran it, or what the runtime
    calls the place if HAL has no such device; "" when the compiler folded or fused it away."""

    node: str
    device: str
    evidence: Evidence

    @property
    def folded(self) -> bool:
        return not self.device


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where every node of one executable ran."""

    nodes: tuple[NodePlacement, ...]

    @classmethod
    def everywhere(cls, names: Iterable[str], device: str, evidence: Evidence) -> Placement:
        """All `names` on one device."""
        return cls(tuple(NodePlacement(name, device, evidence) for name in names))

    @property
    def evidence(self) -> Evidence:
        """The weakest grade among the nodes; DECLARED when there are none."""
        order = list(Evidence)
        return max((n.evidence for n in self.nodes), key=order.index, default=Evidence.DECLARED)

    def elsewhere(self, device: str) -> tuple[NodePlacement, ...]:
        """The nodes that ran, but not on `device`."""
        return tuple(n for n in self.nodes if not n.folded and n.device != device)

    def fell_back(self, device: str, *, accelerator: bool) -> bool:
        """Whether a run counts as fallback: a node ran elsewhere or, on an accelerator, none ran on
        it at all."""
        ran = any(n.device == device for n in self.nodes)
        return bool(self.elsewhere(device)) or (accelerator and not ran)
