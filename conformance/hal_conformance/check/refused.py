"""Every node that a device does not take, from an engine that stops at the first too."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

import onnx

from hal import Value
from hal.backend import UnsupportedNode
from hal_conformance.check.parts import Parts
from hal_conformance.check.trial import Engine

__all__ = ["all_refused"]

Types = Mapping[str, onnx.TypeProto]


def all_refused(
    engine: Engine,
    parts: Parts,
    inputs: Mapping[str, Value],
    *,
    seconds: float,
    tell: Callable[[str], None],
) -> tuple[UnsupportedNode, ...]:
    """The nodes that the device does not take, in the model's order.

    The engine is asked again without those that it named, until it names none (or for `seconds`).
    A node that is like a refused one (`Parts.alike`) is refused with it, and not asked.
    """
    new = engine.unsupported(parts.model)
    if not new:
        return ()
    types = parts.types(inputs)
    kinds = {node.name: parts.alike(i, types) for i, node in enumerate(parts.nodes)}
    positions = {name: i for i, name in enumerate(kinds)}
    found: dict[str, UnsupportedNode] = {}
    end = time.monotonic() + seconds
    while new:
        named = [n for n in new if n.node in kinds]
        for node in new:
            if node.node not in kinds:
                named += _meant(node, engine, parts, types, set(kinds) - set(found)) or [node]
        found = {**{node.node: node for node in named}, **found}
        for node in named:
            for name in _like(node.node, kinds):
                same = UnsupportedNode(name, node.operator, f"as {node.node}")
                found.setdefault(name, same)
        if not set(found) <= set(kinds) or time.monotonic() > end:
            break  # what cannot be taken out hides what comes after it
        tell(f"asking for more than the {len(found)} nodes that {engine.device.id} does not take")
        rest = parts.without({positions[name] for name in found}, types)
        new = engine.unsupported(rest) if rest is not None else ()
        new = tuple(n for n in new if n.node not in found)
    return tuple(sorted(found.values(), key=lambda n: positions.get(n.node, len(positions))))


def _like(node: str, kinds: Mapping[str, object]) -> list[str]:
    kind = kinds.get(node)
    return [name for name, other in kinds.items() if kind is not None and other == kind]


def _meant(
    said: UnsupportedNode,
    engine: Engine,
    parts: Parts,
    types: Types,
    names: Collection[str],
) -> list[UnsupportedNode]:
    """The first node that the device refuses alone in the same words: engines that expand an
    operator refuse a node that the model does not have. Empty where there is none."""
    everything = range(len(parts.nodes))
    keys = parts.operators(everything)
    for i in everything:
        if parts.nodes[i].name not in names:
            continue
        alone = parts.without(set(everything) - {i} - parts.constants, types)
        if alone is not None and any(n.reason == said.reason for n in engine.unsupported(alone)):
            return [UnsupportedNode(parts.nodes[i].name, keys[i], said.reason)]
    return []
