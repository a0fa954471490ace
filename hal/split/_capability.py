"""Which nodes of a model each device takes, by its backend's word."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from hal.backend import Support
from hal.errors import HalError
from hal.model import Model
from hal.split._source import Source

__all__ = ["Capability", "capability"]

_ROUNDS = 24
_PROBED = 100
"""Operators of which one node each is asked about."""
_PATIENCE = 3
"""Rounds after which one node of an operator stands for all: some runtimes stop at the first."""


@dataclasses.dataclass(frozen=True)
class Capability:
    """What a device says of a model: why it does not take a node, by the node's index; `out` is
    why it takes no part at all, "" if it does. `whole` says that it takes the model as it is."""

    lacks: Mapping[int, str] = dataclasses.field(default_factory=dict)
    out: str = ""

    @property
    def whole(self) -> bool:
        return not self.lacks and not self.out


def capability(source: Source, supports: Callable[[Model], Support]) -> Capability:
    """Ask about the model, and then about what is left of it without the nodes that were refused,
    until the device takes all of that. A device that does not say which nodes are at fault is asked
    about one node of each operator."""
    lacks: dict[int, str] = {}
    model = source.model
    probed = False
    for asked in range(_ROUNDS):
        try:
            support = supports(model)
        except HalError as error:
            reason = f"{type(error).__name__}: {error}"
            found: dict[int, str] = {}
        else:
            if support.supported:
                return Capability(lacks)
            reason = support.unsupported[0].reason
            found = _at_fault(source, support, whole_operators=asked >= _PATIENCE)
            if not found and {p.node for p in support.unsupported} <= set(source.dead):
                return Capability(lacks)
        if not found.keys() - lacks.keys():
            if probed:
                return Capability(lacks, reason)
            probed = True
            found = _probed(source, supports, lacks)
            if not found:
                return Capability(lacks, reason)
        lacks = {**found, **lacks}
        left = set(range(len(source.nodes))) - lacks.keys()
        if not left:
            return Capability(lacks)
        try:
            model = source.part(left)
        except HalError:  # a value whose type is not known: what was said has to do
            return Capability(lacks)
    return Capability(lacks, "its backend refused one node after another")


def _at_fault(source: Source, support: Support, *, whole_operators: bool) -> dict[int, str]:
    found: dict[int, str] = {}
    for problem in support.unsupported:
        nodes = source.owners(problem.node)
        if problem.operator and (whole_operators or not nodes):
            nodes = nodes | source.of_operator(problem.operator)
        what = f"{problem.operator}: {problem.reason}" if problem.operator else problem.reason
        found.update(dict.fromkeys(nodes, what))
    return found


def _probed(
    source: Source, supports: Callable[[Model], Support], lacks: Mapping[int, str]
) -> dict[int, str]:
    groups: dict[str, list[int]] = {}
    for index, node in enumerate(source.nodes):
        if index not in lacks:
            groups.setdefault(node.operator, []).append(index)
    found: dict[int, str] = {}
    for operator, nodes in list(groups.items())[:_PROBED]:
        try:
            support = supports(source.part(nodes[:1]))
        except HalError as error:
            found.update(dict.fromkeys(nodes, f"{operator}: {error}"))
            continue
        if not support.supported:
            reason = support.unsupported[0].reason
            found.update(dict.fromkeys(nodes, f"{operator}: {reason}"))
    return found
