"""What a decision depends on: this machine, its drivers, and the versions of what was asked."""

from __future__ import annotations

from collections.abc import Iterable

from hal.device import Device
from hal.plugins import Registry
from hal.routing._environment import Environment

__all__ = ["facts_of"]


def facts_of(
    registry: Registry, devices: Iterable[Device], environment: Environment
) -> dict[str, str]:
    """The facts of a decision among the backends of this registry, by name."""
    names = {"hal-core"}
    for backend in registry.backends.values():
        names |= {backend.distribution, *backend.spec.requires}
    names |= {policy.distribution for policy in registry.policies.values()}
    runtimes = {name.replace("_", "-").lower() for d in devices for name in d.versions}
    for name in environment.packages:
        # onnxruntime comes in a dozen distributions: onnxruntime-gpu, onnxruntime-openvino, ...
        if any(name == r or name.startswith(f"{r}-") for r in runtimes):
            names.add(name)
    facts = environment.facts(tuple(filter(None, names)))
    facts["backends"] = " ".join(registry.backends)
    return facts
